/// What the caller of a machine got wrong. Nothing was written.
public enum WebSocketMisuse: Error, Equatable, Sendable {
    /// A Close has left, or the connection has ended.
    case closed
    /// Text that is not UTF-8: a message's, or a Close's reason.
    case textInvalid
    /// A ping or a pong of over 125 bytes.
    case controlTooLong
    /// A code that no Close carries, such as 1005 or 1006; or a reason without a code.
    case closeCodeInvalid
    /// A Close's reason of over 123 bytes.
    case reasonTooLong
    /// A `WebSocketFrame` on a client's machine: a client masks each frame with a key of its own.
    case frameUnmasked
}
