internal import MartletBytes

/// A whole message, as its sender meant it (RFC 6455 section 5.6).
public enum WebSocketMessage: Sendable, Hashable {
    case text(String)
    case binary([UInt8])

    /// Text as it is, bytes as UTF-8 with U+FFFD for what is none.
    public var text: String {
        switch self {
        case .text(let text): text
        case .binary(let bytes): String(decoding: bytes, as: UTF8.self)
        }
    }

    /// Bytes as they are, text in UTF-8.
    public var bytes: [UInt8] {
        switch self {
        case .text(let text): Array(text.utf8)
        case .binary(let bytes): bytes
        }
    }

    public var kind: WebSocketMessageKind {
        switch self {
        case .text: .text
        case .binary: .binary
        }
    }

    /// Bytes of its content.
    public var count: Int {
        switch self {
        case .text(let text): text.utf8.count
        case .binary(let bytes): bytes.count
        }
    }

    init(_ kind: WebSocketMessageKind, _ content: Span<UInt8>) { self = kind == .text ? .text(content.text) : .binary(content.array) }
}

extension WebSocketMessage: ExpressibleByStringLiteral {
    public init(stringLiteral text: String) { self = .text(text) }
}

/// How a connection ended.
public struct WebSocketClose: Sendable, Hashable, CustomStringConvertible {
    /// Who began.
    public enum Side: Sendable, Hashable {
        /// This side, with `WebSocketConnection.close` or because the peer broke a rule.
        case here
        case peer
        /// Nobody: the connection was lost (1006).
        case nobody
    }
    public let code: WebSocketCloseCode
    /// In the words of who began; of what broke it, if nobody did. Not to be trusted more than a message.
    public let reason: String
    public let by: Side
    /// Both sides have said Close.
    public let isClean: Bool

    init(_ code: WebSocketCloseCode, _ reason: String, by side: Side, isClean: Bool) {
        self.code = code
        self.reason = reason
        by = side
        self.isClean = isClean
    }

    /// Nothing went wrong: 1000, 1001, or a Close without a code.
    public var isNormal: Bool { by != .nobody && (code == .normal || code == .goingAway || code == .noStatusReceived) }

    public var description: String {
        let who =
            switch by {
            case .here: "closed here"
            case .peer: "the peer closed"
            case .nobody: "the connection was lost"
            }
        return "\(who) (\(code)\(reason.isEmpty ? "" : ": \(reason)"))"
    }
}
