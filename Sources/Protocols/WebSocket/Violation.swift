/// How the peer broke the protocol. When a machine throws one, its output already holds the Close that says so, unless the driver holds it back
/// (`WebSocketMachine.holdsFarewell`) or one was sent before.
public enum WebSocketViolation: String, Error, CaseIterable, Sendable {
    // A frame's header.
    case reservedBits = "a reserved bit that no extension gave a meaning (RFC 6455, 5.2)"
    case reservedOpcode = "a reserved opcode (RFC 6455, 5.2)"
    case compressedControl = "a control frame that says it is deflated (RFC 7692, 6.1)"
    case compressedContinuation = "a fragment behind the first that says it is deflated (RFC 7692, 6.1)"
    case maskMissing = "a client's frame without a mask (RFC 6455, 5.1)"
    case maskUnexpected = "a server's frame with a mask (RFC 6455, 5.1)"
    case lengthNotMinimal = "a length in more bytes than it needs (RFC 6455, 5.2)"
    case lengthInvalid = "a length of 2^63 or more (RFC 6455, 5.2)"
    case controlTooLong = "a control frame of over 125 bytes (RFC 6455, 5.5)"
    case controlFragmented = "a control frame in fragments (RFC 6455, 5.5)"
    case continuationUnexpected = "a continuation of nothing (RFC 6455, 5.4)"
    case continuationMissing = "a message within another one's fragments (RFC 6455, 5.4)"

    // What is in it.
    case text = "text that is not UTF-8 (RFC 6455, 8.1)"
    case deflate = "a message that cannot be inflated (RFC 7692, 7.2.2)"
    case closePayload = "a Close of one byte (RFC 6455, 5.5.1)"
    case closeCode = "a close code that is never sent (RFC 6455, 7.4)"
    case closeReason = "a reason that is not UTF-8 (RFC 6455, 5.5.1)"

    // Limits.
    case frameTooLong = "a frame longer than the limit (RFC 6455, 10.4)"
    case messageTooLong = "a message longer than the limit (RFC 6455, 10.4)"
    case fragmentsTooMany = "a message in more fragments than the limit (RFC 6455, 10.4)"
    case inflatedTooLong = "a message that is longer than the limit when inflated (RFC 7692, 8)"
    case controlFlood = "more pings and pongs in a second than the limit (RFC 6455, 10.4)"

    // Time and ends.
    case silent = "no answer to a ping in time (RFC 6455, 5.5.2)"
    case closeTimedOut = "no Close in time after this side's (RFC 6455, 7.1.1)"
    case ended = "the connection ended without a Close (RFC 6455, 7.1.5)"

    /// What this side's Close says of it.
    public var code: WebSocketCloseCode {
        switch self {
        case .text, .deflate, .closeReason: .invalidPayload
        case .frameTooLong, .messageTooLong, .inflatedTooLong: .tooBig
        case .fragmentsTooMany, .controlFlood: .policyViolation
        case .silent: .internalError
        case .closeTimedOut, .ended: .abnormal
        default: .protocolError
        }
    }

    /// What this side's Close says of it in words, at most 123 bytes: the description without its place in the RFCs.
    var reason: String { String(rawValue.prefix { $0 != "(" }.dropLast()) }
}

extension WebSocketViolation: CustomStringConvertible {
    public var description: String { "\(code): \(rawValue)" }
}
