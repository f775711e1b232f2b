public import MartletBytes

/// A journal that keeps nothing, but takes its time as a disk does: one sync runs at a time, and all that is appended while it runs
/// goes with the next one (group commit). It stands where a disk will, so that everything that waits for one is exercised.
public final class MemoryJournal: Journal {
    private let latency: Duration
    /// The sync that runs: up to which ticket, and when it is done.
    private var running: (ticket: UInt64, done: Instant)?
    private var appended: UInt64 = 0
    private var durable: UInt64 = 0
    public private(set) var bytesAppended = 0
    /// Syncs that have been started.
    public private(set) var syncs = 0

    /// `latency`: how long one sync takes.
    public init(latency: Duration) { self.latency = latency }

    public func append(_ records: inout ByteBuffer, upTo ticket: UInt64, at now: Instant) {
        bytesAppended += records.count
        records.removeAll()
        appended = ticket
        if running == nil { start(at: now) }
    }

    private func start(at now: Instant) {
        syncs += 1
        running = (appended, now + latency)
    }

    public func completed(at now: Instant) -> UInt64 {
        if let sync = running, sync.done <= now {
            durable = sync.ticket
            running = nil
            if appended > durable { start(at: now) }
        }
        return durable
    }

    public var deadline: Instant { running?.done ?? .never }
}
