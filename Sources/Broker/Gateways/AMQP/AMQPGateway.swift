import MartletAMQPProtocol
import MartletBytes
import MartletCollections
public import MartletCore
public import MartletEventLoop
import MartletLogging
public import MartletShard

/// AMQP 0-9-1 on one shard. A virtual host is a namespace and lives on one shard; an exchange is a hub, a queue a queue of the core, a
/// consumer a consumer, a channel's prefetch a credit. Delivery tags live here, positions in the core.
///
/// Files: `AMQPServerConnection` the connection, `+Opening` who comes and goes, `+Channels` channels and exceptions, `+Exchanges` and
/// `+Queues` what is declared, `+Publishing` what clients publish, `+Consuming` what they take and acknowledge, `AMQPDeliveries` what is
/// sent to them, `+Holding` publishers that must wait.
public final class AMQPGateway: Gateway {
    let options: AMQPGatewayOptions
    let log: Logger
    /// Those that live here; numbers are those of `options.virtualHosts` divided by the number of shards, from 1.
    let virtualHosts = Pinned(Slab<AMQPVirtualHost>())
    let queues = Pinned(Slab<AMQPQueue>())
    let channels = Pinned(Slab<AMQPChannel>())
    let consumers = Pinned(Slab<AMQPConsumer>())
    let exchangeNames = Pinned(AMQPExchangeNames())
    let seen = Pinned(AMQPCounters())
    /// Channels in confirm mode with something to tell.
    let confirming = Pinned<[UInt32]>([])
    /// Where the loop keeps what each connection will be sent.
    let outputs: OutputTable
    public internal(set) var connectionCount = 0
    /// Of all connections: `AMQPServerConnection.unfinishedBytes`.
    public internal(set) var unfinishedBytes = 0
    /// Connections whose output grew too large in this tick.
    var overfull: [AMQPServerConnection] = []
    /// Publishers that wait (see `+Holding`).
    var held: [AMQPHolding] = []
    /// basic.get of queues whose next message is being read from disk.
    var waitingGets: [AMQPWaitingGet] = []
    /// Nobody is taken in any more.
    var isStopping = false
    /// Queues that end when nobody uses them.
    private(set) lazy var expirations: AMQPExpirations = {
        let expirations = AMQPExpirations(self)
        shard.loop.add(clock: expirations)
        return expirations
    }()

    public init(_ shard: Shard, id: GatewayID, options: AMQPGatewayOptions) {
        self.options = options
        log = shard.log.labelled("amqp")
        outputs = shard.loop.outputs
        super.init(shard, id: id)
        shard.router.register(AMQPHeaderReader(), for: id)
        for (index, name) in options.virtualHosts.enumerated() where index % shard.count == Int(shard.number) { open(virtualHost: name) }
    }

    /// The shard that a virtual host lives on, and its number there.
    func place(of virtualHost: [UInt8]) -> (shard: UInt8, number: UInt32)? {
        guard let index = options.virtualHosts.firstIndex(of: virtualHost) else { return nil }
        return (UInt8(index % shard.count), UInt32(index / shard.count + 1))
    }

    // MARK: Gateway

    public override func restore(kind: UInt8, _ definition: Span<UInt8>, as name: JournalName) { restoreDefinition(kind, definition, as: name) }
    public override func adopt(_ transport: Transport) { open(transport) }
    public override func stop() { sendAllAway() }
    public override func acknowledge(_ acknowledgement: Acknowledgement) { confirm(acknowledgement) }
    public override func deliver(_ range: Range<Int>, of message: borrowing Message) { deliverMessages(range, of: message) }

    public override func slowDown(_ token: UInt32, for duration: Duration) {
        guard let connection = shard.loop.channel(at: channels.value[token].slot) else { return }
        shard.holdBack(connection, for: duration)
    }

    public override func tickEnded() {
        if !waitingGets.isEmpty { answerWaitingGets() }
        if !confirming.value.isEmpty { tellConfirms() }
        if !held.isEmpty { releaseHeld() }
        if !overfull.isEmpty { blockOverfull() }
        if shard.core.value.hasForgottenHubs { shard.core.value.takeForgottenHubs { exchangeNames.value.remove($0) } }
    }

    public override var name: String { "amqp" }

    public override var samples: [(name: String, value: UInt64)] {
        seen.value.samples + [
            ("connections", UInt64(connectionCount)), ("unfinishedBytes", UInt64(unfinishedBytes)), ("channels", UInt64(channels.value.count)),
            ("consumers", UInt64(consumers.value.count)),
        ]
    }

    public override func queueSamples(max: Int) -> (queues: [QueueSample], leftOut: Int) {
        var largest = LargestQueues(max: max)
        queues.value.forEach { number, queue in
            guard !queue.id.isNone else { return }
            let depth = shard.core.value.depth(of: queue.id)
            largest.offer(UInt64(number), messages: depth.ready + depth.unsettled)
        }
        let samples = largest.numbers.map { number in
            let queue = queues.value[UInt32(number)]
            return QueueSample(
                name, namespace: virtualHosts.value[queue.virtualHost].name, name: queue.name, depth: shard.core.value.depth(of: queue.id),
                bytes: shard.core.value.bytes(of: queue.id), consumers: Int(queue.consumerCount))
        }
        return (samples, largest.leftOut)
    }

    /// Writes a method that changes no state of its connection or channel.
    func say(_ method: AMQPMethod<[UInt8]>, on channel: UInt32) {
        let slot = channels.value[channel].slot
        shard.loop.willWrite(slot)
        AMQPServerEncoder.method(method, channel: channels.value[channel].number, frameMax: channels.value[channel].frameMax, into: &outputs[slot])
    }

    /// `prefix` and 22 letters that nobody guesses, as RabbitMQ makes names.
    func makeName(_ prefix: String) -> [UInt8] {
        let letters = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        return Array(prefix.utf8) + (0..<22).map { _ in letters[Int(options.randomNumber() & 63)] }
    }
}

/// A basic.get that has not been answered.
struct AMQPWaitingGet {
    let connection: AMQPServerConnection
    let channel: UInt32
    let queue: [UInt8]
    let noAck: Bool
}

/// The names of exchanges by their hubs, also of those that are gone as long as messages name them.
struct AMQPExchangeNames: ~Copyable {
    private var names = Slab<OwnedBytes>()
    /// By hub: where its name is.
    private var places: [UInt32] = []

    mutating func insert(_ name: [UInt8], for hub: HubID) {
        while places.count <= Int(hub.number) { places.append(0) }
        places[Int(hub.number)] = names.insert(OwnedBytes(copying: name.span))
    }

    mutating func remove(_ hub: HubID) {
        names.remove(places[Int(hub.number)])
        places[Int(hub.number)] = 0
    }

    func name(of hub: HubID) -> [UInt8]? {
        let place = Int(hub.number) < places.count ? places[Int(hub.number)] : 0
        return place == 0 ? nil : names[place].span.array
    }

    @inline(__always) func withName(of hub: HubID, _ body: (Span<UInt8>) -> Void) {
        let place = Int(hub.number) < places.count ? places[Int(hub.number)] : 0
        if place == 0 { body(Span()) } else { body(names[place].span) }
    }
}
