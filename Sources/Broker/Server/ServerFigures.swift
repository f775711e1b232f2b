import MartletCore
import MartletJournal
import MartletNet
import MartletShard

/// The figures of the whole server: those of its loops, and what is there once.
struct ServerFigures: Sendable {
    let loops: [LoopFigures]
    let version: String
    let uptime: Duration
    /// In seconds since 1970.
    let started: Double
    let process = ProcessUse()
    let heapBytes = ProcessSetup.heapInUse
    let retainedMessages: Int
    let retainedBytes: Int
    let bindings: Int
    let journal: JournalCounters
    let files: JournalDirectory.Counters?
    /// Those that hold most, the largest first.
    let queues: [QueueSample]
    let queuesLeftOut: Int
    /// By source and name, over all loops.
    private let sums: [String: UInt64]

    /// Series of queues have their price with whoever keeps them; RabbitMQ gives none by queue unless it is asked.
    static let queuesMax = 1000

    init(_ loops: [LoopFigures], version: String, uptime: Duration, started: Double, router: Router, files: JournalDirectory.Counters?) {
        self.loops = loops
        self.version = version
        self.uptime = uptime
        self.started = started
        self.files = files
        (retainedMessages, retainedBytes, bindings) = (router.retainedCount, router.retainedBytes, router.bindingCount)
        var journal = JournalCounters(), sums: [String: UInt64] = [:]
        for loop in loops {
            journal.add(loop.journal)
            for sample in loop.samples { sums["\(sample.source).\(sample.name)", default: 0] += sample.value }
        }
        (self.journal, self.sums) = (journal, sums)
        let found = loops.flatMap(\.queues).sorted { ($1.messages, $0.namespace, $0.name) < ($0.messages, $1.namespace, $1.name) }
        queues = Array(found.prefix(Self.queuesMax))
        queuesLeftOut = loops.reduce(found.count - queues.count) { $0 + $1.queuesLeftOut }
    }

    /// Of all loops together.
    func sum(_ source: String, _ name: String) -> UInt64 { sums["\(source).\(name)"] ?? 0 }
}

extension LoopFigures {
    /// A number of this loop's own.
    func value(_ name: String) -> UInt64 { samples.first { $0.source == "loop" && $0.name == name }?.value ?? 0 }
}
