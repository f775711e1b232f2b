/// The protocol that both ends agreed on: the lower one's.
public enum ZMTPVersion: UInt8, Sendable, Comparable {
    /// RFC 15: no mechanisms, no commands.
    case v2_0
    /// RFC 23: subscriptions are messages.
    case v3_0
    /// RFC 37: subscriptions are commands, and there are heartbeats.
    case v3_1

    public static func < (a: ZMTPVersion, b: ZMTPVersion) -> Bool { a.rawValue < b.rawValue }
}
