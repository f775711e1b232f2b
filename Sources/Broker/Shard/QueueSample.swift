import MartletCollections

/// A queue of a gateway's, as metrics show it.
public struct QueueSample: Sendable, Equatable {
    /// The gateway's name.
    public let source: String
    public let namespace: String
    public let name: String
    /// Messages that wait for a consumer, and those that one has and has not settled.
    public let ready: Int, unsettled: Int
    /// Of both, in bytes.
    public let bytes: UInt64
    public let consumers: Int

    public init(_ source: String, namespace: [UInt8], name: [UInt8], depth: (ready: Int, unsettled: Int), bytes: UInt64, consumers: Int) {
        self.source = source
        self.namespace = Self.text(namespace)
        self.name = Self.text(name)
        (ready, unsettled) = depth
        self.bytes = bytes
        self.consumers = consumers
    }

    public var messages: Int { ready + unsettled }

    /// What is not UTF-8 in hexadecimal digits: two names stay two.
    private static func text(_ bytes: [UInt8]) -> String {
        String(validating: bytes, as: UTF8.self) ?? "0x" + bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}

/// Of many queues those that hold most, by numbers that mean something to whoever offers them.
public struct LargestQueues {
    private struct Candidate: Comparable {
        let messages: Int
        let number: UInt64
        static func < (a: Candidate, b: Candidate) -> Bool { (a.messages, a.number) < (b.messages, b.number) }
    }
    private var kept = MinHeap<Candidate>()
    private let max: Int
    /// Offered and not kept.
    public private(set) var leftOut = 0

    public init(max: Int) { self.max = max }

    public mutating func offer(_ number: UInt64, messages: Int) {
        let candidate = Candidate(messages: messages, number: number)
        if kept.count < max { return kept.insert(candidate) }
        leftOut += 1
        guard let least = kept.first, least < candidate else { return }
        _ = kept.removeFirst()
        kept.insert(candidate)
    }

    /// In no order.
    public var numbers: [UInt64] { kept.all.map(\.number) }
}
