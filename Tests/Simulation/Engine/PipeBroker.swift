package import MartletAMQPGateway
import MartletBytes
package import MartletCore
package import MartletEventLoop
package import MartletJournal
import MartletLogging
package import MartletMQTTGateway
package import MartletPipe
import MartletServer
package import MartletShard

/// A whole broker of one or more shards in memory, on a virtual clock: the real loops, cores and gateways, no socket, one thread.
package final class PipeBroker {
    package let network: PipeNetwork
    package let router: Router
    package let loops: [EventLoop]
    package let shards: [Shard]
    package let gateways: [MQTTGateway]
    package let amqpGateways: [AMQPGateway]

    struct Silent: LogSink { func write(_ record: LogRecord) {} }

    /// What the shards write to, if it is a disk.
    package let journals: [SimulatedJournal]
    /// Why the disk cannot be used.
    package let failure: JournalError?
    /// What recovery found to be not as it should.
    package let findings: [JournalFinding]
    /// Records that were restored.
    package let restored: (definitions: Int, messages: Int)

    /// `latency`: there is a journal in memory that takes so long; `keepsRecords`: it can be read, so that queues may be paged.
    package init(
        shards count: Int = 1, on network: PipeNetwork = PipeNetwork(), latency: Duration? = nil, keepsRecords: Bool = true, disk: SimulatedDisk? = nil,
        amqp: AMQPGatewayOptions = AMQPGatewayOptions(), limits coreLimits: CoreLimits = CoreLimits(),
        _ change: (inout MQTTGatewayOptions) -> Void = { _ in }
    ) {
        var limits = EventLoopLimits(), options = MQTTGatewayOptions()
        change(&options)
        limits.connectionsMax = 1024
        limits.outputHighWater = options.outputBytesMax
        limits.outputLowWater = options.outputBytesMax / 4
        self.network = network
        let router = Router(), log = Logger(label: "test", level: .error, sink: Silent())
        self.router = router
        let loops = (0..<count).map { EventLoop(number: $0, kernel: PipeKernel(network), limits: limits) }
        self.loops = loops
        var shards: [Shard] = [], gateways: [MQTTGateway] = [], amqpGateways: [AMQPGateway] = []
        for loop in loops {
            let journal = latency.map { MemoryJournal(latency: $0, shard: UInt8(loop.number), keepsRecords: keepsRecords) }
            let shard = Shard(on: loop, of: loops, router: router, journal: journal, isJournaled: disk != nil, log: log, limits: coreLimits)
            gateways.append(shard.addGateway { MQTTGateway($0, id: $1, options: options) })
            amqpGateways.append(shard.addGateway { AMQPGateway($0, id: $1, options: amqp) })
            loop.settle(shard)
            shards.append(shard)
        }
        self.shards = shards
        self.gateways = gateways
        self.amqpGateways = amqpGateways
        let opened = disk.map { Self.open($0, shards, router, log) }
        (journals, findings, restored, failure) = opened ?? ([], [], (0, 0), nil)
    }

    /// Restores what the disk holds, and gives each shard its stream.
    private static func open(_ disk: SimulatedDisk, _ shards: [Shard], _ router: Router, _ log: Logger) -> (
        [SimulatedJournal], [JournalFinding], (definitions: Int, messages: Int), JournalError?
    ) {
        let loops = shards.map(\.loop)
        var journals: [SimulatedJournal] = [], findings: [JournalFinding] = [], restored = (definitions: 0, messages: 0)
        do throws(JournalError) {
            var recovery = try JournalRecovery(disk)
            findings = recovery.findings
            var restoration = Restoration(of: loops, router: router, log: log) { for loop in loops { loop.tick(until: loop.now) } }
            try restoration.run(&recovery)
            restored = (restoration.definitions, restoration.messages)
            let run = recovery.nextRun
            try recovery.open(shards: shards.count, options: disk.options) { journals.append(SimulatedJournal($0, on: disk, run: run)) }
        } catch { return (journals, findings, restored, error) }
        for (shard, journal) in zip(shards, journals) { shard.begin(journal) }
        return (journals, findings, restored, nil)
    }

    /// Ticks every loop, until nothing moves any more.
    package func run(_ turns: Int = 12) { for _ in 0..<turns { for loop in loops { loop.tick(until: loop.now) } } }

    /// In four steps: what one step sets going ends in the next.
    package func advance(by duration: Duration) {
        for _ in 0..<4 {
            network.advance(by: duration / 4)
            run()
        }
    }

    /// Everything in memory goes, without a word: loops and shards hold each other.
    package func throwAway() { for loop in loops { loop.settle(Nobody()) } }

    private final class Nobody: LoopTenant {
        func tickBegan(on loop: EventLoop) {}
        func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}
        func tickEnded(on loop: EventLoop) {}
    }
}
