/// Why a connection is closed (RFC 6455 section 7.4, and the codes registered since).
public struct WebSocketCloseCode: RawRepresentable, Hashable, Sendable, BitwiseCopyable {
    public let rawValue: UInt16

    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// 1000: what it was for is done.
    public static let normal = WebSocketCloseCode(rawValue: 1000)
    /// 1001: a server is ending, or a page was left.
    public static let goingAway = WebSocketCloseCode(rawValue: 1001)
    /// 1002.
    public static let protocolError = WebSocketCloseCode(rawValue: 1002)
    /// 1003: text where only binary is taken, or the reverse.
    public static let unsupported = WebSocketCloseCode(rawValue: 1003)
    /// 1005: never sent; what is told of a Close without a code.
    public static let noStatusReceived = WebSocketCloseCode(rawValue: 1005)
    /// 1006: never sent; what is told of a connection that ended without a Close.
    public static let abnormal = WebSocketCloseCode(rawValue: 1006)
    /// 1007: bytes that are not what the message claims to be: no UTF-8, not deflated.
    public static let invalidPayload = WebSocketCloseCode(rawValue: 1007)
    /// 1008: against the receiver's rules, where no other code fits.
    public static let policyViolation = WebSocketCloseCode(rawValue: 1008)
    /// 1009.
    public static let tooBig = WebSocketCloseCode(rawValue: 1009)
    /// 1010: a client misses an extension in the server's answer.
    public static let extensionMissing = WebSocketCloseCode(rawValue: 1010)
    /// 1011: a server cannot go on.
    public static let internalError = WebSocketCloseCode(rawValue: 1011)
    /// 1012.
    public static let serviceRestart = WebSocketCloseCode(rawValue: 1012)
    /// 1013: overloaded; come again later.
    public static let tryAgainLater = WebSocketCloseCode(rawValue: 1013)
    /// 1014: a gateway got a wrong answer from behind.
    public static let badGateway = WebSocketCloseCode(rawValue: 1014)

    /// Whether a Close may carry it: 1000 to 1003, 1007 to 1014, and 3000 to 4999, which are for libraries and programs.
    public var maySend: Bool {
        switch rawValue {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

extension WebSocketCloseCode: CustomStringConvertible {
    public var description: String { "\(rawValue)" }
}
