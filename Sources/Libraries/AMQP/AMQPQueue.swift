internal import Synchronization

/// A queue as the server declared it.
public struct AMQPQueue: Sendable {
    private let label: AMQPQueueLabel
    /// Messages ready for delivery when it was declared.
    public let messageCount: Int
    /// Its consumers when it was declared.
    public let consumerCount: Int

    init(_ label: AMQPQueueLabel, messageCount: Int, consumerCount: Int) {
        self.label = label
        self.messageCount = messageCount
        self.consumerCount = consumerCount
    }

    /// Of a queue that the server named: its name of now, as it gets another one after a reconnect.
    public var name: String { label.name }
}

/// A queue's name, which changes when the server names it anew.
final class AMQPQueueLabel: Sendable {
    private let current: Mutex<String>

    init(_ name: String) { current = Mutex(name) }

    var name: String {
        get { current.withLock { $0 } }
        set { current.withLock { $0 = newValue } }
    }
}

/// The kinds of exchange (section 3.1 of the specification), and any other that a server has.
public struct AMQPExchangeKind: RawRepresentable, Sendable, Equatable, ExpressibleByStringLiteral {
    public let rawValue: String

    public init(rawValue: String) { self.rawValue = rawValue }
    public init(stringLiteral name: String) { rawValue = name }

    /// By the routing key as it is.
    public static var direct: Self { "direct" }
    /// To all that are bound.
    public static var fanout: Self { "fanout" }
    /// By patterns of words parted by dots: `*` is one word, `#` any number.
    public static var topic: Self { "topic" }
    /// By the message's headers.
    public static var headers: Self { "headers" }
}
