internal import MartletBytes
internal import MartletEventLoop
internal import MartletLogging

/// What the connections of one endpoint, or one client, on one loop share. Confined to that loop.
final class WebSocketHome {
    let loop: EventLoop
    let limits: WebSocketLimits
    let limit: Int
    let outputMax: Int
    /// Callbacks instead of tasks.
    let events: WebSocketEvents?
    let compression: WebSocketCompression?
    let logger: Logger
    /// Behind a pointer, as each message counts.
    let seen = Pinned(WebSocketCounters())
    private var number: UInt64 = 0

    init(_ options: WebSocketOptions, events: WebSocketEvents?, logger: Logger, on loop: EventLoop) {
        self.loop = loop
        self.events = events
        self.logger = logger
        limits = options.limits
        limit = options.receiveLimit
        outputMax = options.outputMax
        compression = options.deflate.map { WebSocketCompression($0) }
    }

    /// Of one of the home's connections, unlike those of all others in the process.
    func nextNumber() -> UInt64 {
        number &+= 1
        return UInt64(loop.number) << 48 | number
    }
}

/// What an endpoint's connections have seen.
public struct WebSocketCounters: Sendable, Equatable {
    /// Connections that there are.
    public var connections: UInt64 = 0
    public var opened: UInt64 = 0
    /// Handshakes that were answered with something else: no WebSocket, a wrong version, a foreign origin.
    public var refused: UInt64 = 0
    /// Messages and bytes of their content, unmasked and inflated.
    public var messagesReceived: UInt64 = 0
    public var bytesReceived: UInt64 = 0
    /// Messages, those of rooms included.
    public var messagesSent: UInt64 = 0
    /// Connections whose peer broke a rule or a limit.
    public var violations: UInt64 = 0
    /// Of these, those that answered no ping in time.
    public var silent: UInt64 = 0
    /// Connections that were lost without a Close.
    public var lost: UInt64 = 0
    /// Connections that were cut off because more than `WebSocketOptions.outputMax` waited for them, or a room's limit.
    public var tooSlow: UInt64 = 0

    public init() {}

    mutating func add(_ other: WebSocketCounters) {
        connections += other.connections
        opened += other.opened
        refused += other.refused
        messagesReceived += other.messagesReceived
        bytesReceived += other.bytesReceived
        messagesSent += other.messagesSent
        violations += other.violations
        silent += other.silent
        lost += other.lost
        tooSlow += other.tooSlow
    }
}
