/// What happened on a socket so far.
public struct ZMQCounters: Sendable, Equatable {
    /// Messages that were given to peers; one for each peer.
    public var sent: UInt64 = 0
    /// Messages that came, before filters.
    public var received: UInt64 = 0
    /// Messages dropped since their peer was above the high-water mark.
    public var droppedAtMark: UInt64 = 0
    /// Messages dropped since nobody wanted them, or their peer was not there.
    public var droppedUnroutable: UInt64 = 0
    /// Messages that were waiting for a peer when it went for good, or the socket closed; of what the kernel had taken nobody knows.
    public var droppedUnsent: UInt64 = 0
    /// Over udp: messages that no datagram of 8 KiB holds, and datagrams that came and were longer.
    public var droppedTooLong: UInt64 = 0
    /// Messages that came and were not for us: no subscription, no request, no envelope.
    public var droppedUnwanted: UInt64 = 0
    /// Connections made or accepted whose handshake ended well.
    public var handshakes: UInt64 = 0
    /// Connections that ended in a violation, in time, or by a refusal.
    public var failures: UInt64 = 0
    /// Connections turned away for a limit: peers, subscriptions, a routing id in use.
    public var turnedAway: UInt64 = 0

    public init() {}
}
