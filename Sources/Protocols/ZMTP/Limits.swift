/// What one peer may ask of this side. Each number has its reason and what others chose.
///
/// Not here: high-water marks, and how many subscriptions, peers and messages a socket keeps (the library's and the pattern's).
public struct ZMTPLimits: Equatable, Sendable {
    /// The longest message in bytes, all its frames together. 64 MiB: ZeroMQ carries arrays and pictures, and memory is taken only for what has come.
    /// (libzmq, pyzmq, JeroMQ none.) At most 1 GiB.
    public var messageBytesMax = 64 << 20

    /// The most frames of a message. 10,000: envelopes have two or three, and each costs a receiver some bytes of its own. (libzmq none.)
    public var messageFramesMax = 10_000

    /// The longest READY, INITIATE or HELLO in bytes beside what its mechanism needs, so the longest metadata. 8 KiB, as a request's fields in HTTP servers.
    /// (libzmq none.)
    public var metadataBytesMax = 8 << 10

    /// The longest subscription in bytes. 4 KiB: topics are names. (libzmq none.)
    public var subscriptionBytesMax = 4 << 10

    /// The longest command that is none of the above: PING, PONG, ERROR, JOIN, LEAVE, and what nobody knows. 512 bytes: a name and a reason of 255 each.
    public var commandBytesMax = 512

    /// From the first moment to the end of the handshake, however the bytes drip and whoever is waited for. 30 s, as libzmq's ZMQ_HANDSHAKE_IVL.
    public var handshakeTimeout = Duration.seconds(30)

    public init() {}
}

/// How a dead peer is noticed. RFC 37 leaves the numbers open; libzmq has heartbeats off, and a subscriber behind a dead link waits for ever.
public struct ZMTPHeartbeat: Equatable, Sendable {
    /// From one PING to the next; `nil`: none is sent. 15 s: below what NAT and firewalls forget.
    public var interval: Duration? = .seconds(15)

    /// How long after a PING nothing at all may come. 15 s: a peer that is in a long computation on its I/O thread has a bug.
    public var timeout = Duration.seconds(15)

    /// What the peer is told in PING: how long it may hear nothing from us before it gives us up; `nil`: nothing. In tenths of a second, at most 6,553 s.
    public var timeToLive: Duration? = .seconds(45)

    public init() {}

    /// None is sent; a peer's are answered all the same.
    public static var off: ZMTPHeartbeat {
        var off = ZMTPHeartbeat()
        off.interval = nil
        return off
    }
}

extension Duration {
    var nanosecondsClamped: Int64 {
        let (seconds, attoseconds) = components
        return min(max(seconds, 0), 1 << 32) &* 1_000_000_000 &+ (seconds >= 0 ? attoseconds / 1_000_000_000 : 0)
    }
}
