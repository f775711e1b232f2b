/// The bounds of one shard's core. Other servers' values beside ours.
public struct CoreLimits: Sendable {
    /// Deliveries one pump of a queue makes before others get their turn; it goes on in the next tick.
    public var deliveriesPerPump = 1024
    /// And their bytes: what a consumer's output may grow by before the loop has tried to write it.
    public var bytesPerPump = 1 << 20
    /// Bytes that all queues of a shard keep in memory; beyond it a message is refused. (RabbitMQ: 60 % of memory; mosquitto: none.)
    public var storedBytesMax = 4 << 30

    public init() {}
}
