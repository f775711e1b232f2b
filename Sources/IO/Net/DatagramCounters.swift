/// What a datagram socket has seen since it was opened.
public struct DatagramCounters: Sendable, Equatable {
    /// Datagrams received, cut ones included.
    public var received: UInt64 = 0
    /// Of them those that were longer than `DatagramOptions.datagramMax`.
    public var truncated: UInt64 = 0
    /// Datagrams that the kernel took.
    public var sent: UInt64 = 0
    /// Datagrams that the kernel refused to send.
    public var failed: UInt64 = 0
    /// Datagrams that were not sent because too many waited already.
    public var overflowed: UInt64 = 0
    /// Datagrams that the kernel threw away because nobody read its buffer in time.
    public var dropped: UInt64 = 0

    public init() {}
}
