/// What the caller of a machine got wrong. Nothing was written.
public enum ZMTPMisuse: Error, Equatable, Sendable {
    /// Not now: the handshake is not over, nothing was asked, or the machine is closed.
    case outOfTurn
    /// Not between the frames of a message.
    case insideMessage
    /// The socket type does not say this: only SUB and XSUB subscribe, only DISH joins.
    case wrongSocketType
    /// A group of over 255 bytes, or with a zero (RFC 48).
    case groupInvalid
    /// A context of over 16 bytes (RFC 37, Connection Heartbeating).
    case contextTooLong
}
