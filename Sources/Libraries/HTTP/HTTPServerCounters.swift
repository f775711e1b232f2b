/// What a server's connections on one loop have seen; plain numbers of its thread.
public struct HTTPServerCounters: Sendable {
    /// Connections that there are.
    public var connections: UInt64 = 0
    public var connectionsTaken: UInt64 = 0
    /// Closed at once: too many, or the server was ending.
    public var connectionsRefused: UInt64 = 0
    /// Connections whose TLS failed, or took too long.
    public var handshakesFailed: UInt64 = 0
    /// What clients did that the standard forbids, and limits that they exceeded: answered by the connection itself, and not among the responses.
    public var violations: UInt64 = 0
    /// Bytes of requests' content, as it was sent.
    public var contentReceived: UInt64 = 0
    /// Bytes of responses' content, as it is sent.
    public var contentSent: UInt64 = 0
    private var responses: [6 of UInt64] = .init(repeating: 0)

    public init() {}

    /// Responses whose status begins with this digit, 1 to 5.
    public func responses(ofClass digit: Int) -> UInt64 { responses[digit] }

    mutating func count(_ status: HTTPStatus) { responses[Int(status.rawValue) / 100] &+= 1 }
}
