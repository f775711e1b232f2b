import MartletBytes
import MartletCore
import MartletEventLoop
public import MartletJournal
import MartletLogging

/// A number that a part of a shard has counted, or of what is there.
public struct Sample: Sendable, Equatable {
    /// `core`, `loop`, `journal`, or the name of a gateway.
    public let source: String
    /// Of its own within the source.
    public let name: String
    public let value: UInt64

    static func list(_ source: String, _ values: [(name: String, value: UInt64)]) -> [Sample] {
        values.map { Sample(source: source, name: $0.name, value: $0.value) }
    }
}

extension Shard {
    /// Everything that was counted, and what is there: how the shard has fared. Looks at all queues.
    public var samples: [Sample] {
        let depth = core.value.depth, counters = loop.counters, journal = journalCounters
        var samples = Sample.list("core", core.value.counters.samples)
        samples += Sample.list(
            "core",
            [
                ("storedMessages", UInt64(core.value.storedCount)), ("storedBytes", UInt64(core.value.storedBytes)), ("queues", UInt64(depth.queues)),
                ("ready", UInt64(depth.ready)), ("unsettled", UInt64(depth.unsettled)), ("queuedBytes", depth.bytes),
            ])
        samples += Sample.list(
            "loop",
            [
                ("bytesRead", counters.bytesRead), ("bytesWritten", counters.bytesWritten), ("ticks", counters.ticks),
                ("ticksOver10ms", counters.ticksOver10ms), ("ticksOver100ms", counters.ticksOver100ms),
            ])
        samples += Sample.list(
            "journal",
            [
                ("journalRecords", core.value.lastTicket), ("journalBytes", UInt64(journal.bytesWritten)), ("journalWrites", UInt64(journal.writes)),
                ("journalSyncs", UInt64(journal.syncs)), ("journalFull", core.value.isJournalFull ? 1 : 0),
            ])
        for gateway in allGateways { samples += Sample.list(gateway.name, gateway.samples) }
        return samples
    }

    /// What its stream of the journal has written.
    public var journalCounters: JournalCounters { storage.value?.counters ?? JournalCounters() }

    /// One line with all of it that is not zero.
    public func logCounters() {
        let text = samples.filter { $0.value > 0 }.map { "\($0.name)=\($0.value)" }.joined(separator: " ")
        if !text.isEmpty { log.info("loop \(number): \(text)") }
    }
}
