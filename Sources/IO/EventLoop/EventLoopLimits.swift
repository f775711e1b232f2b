/// The bounds of one loop. Other servers' values beside ours.
public struct EventLoopLimits: Sendable {
    /// Rows of the connection table: address space only, memory where it is used. (nginx `worker_connections` 512, here the descriptor limit binds first.)
    public var connectionsMax = 1 << 20
    /// Output above which a connection is not read from and its channel is told. (mosquitto has none; NATS cuts at 64 MiB; RabbitMQ by credit.)
    public var outputHighWater = 1 << 20
    /// Output below which it goes on.
    public var outputLowWater = 1 << 18
    /// Whether a connection whose output is above the high-water mark is read from nevertheless: for streams whose two directions have nothing to do
    /// with each other. A broker would only make more output.
    public var readsWhileBlocked = false
    /// Connections whose output leaves before the loop goes on reading. Default: all, at the end of the tick, so that all it produces for one leaves in one write.
    /// Where nobody writes but to the connection that was read from, few keep the buffers in the cache. Where one message goes to a thousand, the next is read
    /// while it leaves, and whose turn has not come is sent both in one write.
    public var flushBatch = Int.max
    /// How long a closing connection may take to send its farewell and to see the peer's end. (nginx `lingering_time` 30 s, `lingering_timeout` 5 s.)
    public var linger = Duration.seconds(2)

    public init() {}
}
