/// The bounds of one shard's core. Other servers' values beside ours.
public struct CoreLimits: Sendable {
    /// What one queue gives out of its backlog in a tick, in deliveries; it goes on in the next.
    public var deliveriesPerPump = 1024
    /// And their bytes: what a consumer's output may grow by before the loop has tried to write it.
    public var bytesPerPump = 1 << 20
    /// Bytes that all queues of a shard keep in memory; beyond it a message is refused. (RabbitMQ: 60 % of memory; mosquitto: none.)
    public var storedBytesMax = 4 << 30
    /// What they take in memory before messages are left in the journal alone, where there is one that can be read. (RabbitMQ: classic queues keep 2,048
    /// messages; LavinMQ: none.)
    public var residentBytesMax = 1 << 30
    /// What the hubs of the whole server keep for whoever binds later, in messages and in bytes of address, properties and body; beyond
    /// it a retained publication is refused. (mosquitto: none; EMQX: none; VerneMQ: none.)
    public var retainedMessagesMax = 1_000_000
    public var retainedBytesMax = 1 << 30
    /// What one step of a replay takes under the router's lock, so that nobody waits long for that, and what all replays of a shard take
    /// in a tick.
    public var replayStep = ReplayBudget(messages: 256, bytes: 256 << 10, nodes: 1024)
    public var replayTick = ReplayBudget(messages: 2048, bytes: 2 << 20, nodes: 8192)
    /// Messages that wait in a queue, above which its replays wait too.
    public var replayBacklogMax = 1000

    public init() {}
}
