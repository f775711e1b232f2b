public import MartletBytes
import MartletFiles

/// A stream of the journal on disk: the machine on its loop's thread, the writing on a thread of its own, files that come and go, and
/// reads, on the housekeeper's.
///
/// Invariant: the machine is used by one thread, the loop's; effects go to the threads, completions come back and wake the loop.
public final class ThreadedJournal: Journal {
    private var machine: JournalMachine
    private let inbox: JournalInbox
    private let writer: JournalThread
    private let housekeeper: JournalHousekeeper
    private var letters: [JournalInbox.Letter] = []

    /// `wake` is called on the threads when `completed` or `takeReads` has something new, once until `completed` is called again;
    /// `report` likewise, when something went wrong.
    public init(
        _ machine: consuming JournalMachine, shard: Int, run: UInt64, in directory: JournalDirectory, _ housekeeper: JournalHousekeeper,
        wake: @escaping @Sendable () -> Void, report: @escaping @Sendable (JournalReport) -> Void
    ) throws(JournalError) {
        self.machine = machine
        self.housekeeper = housekeeper
        inbox = JournalInbox(wake: wake)
        writer = try JournalThread("journal-\(shard)", directory: directory, run: run, inbox: inbox, report: report)
        carryOut()
    }

    public var cursor: JournalCursor { machine.cursor }

    public func append(_ records: inout ByteBuffer, upTo ticket: UInt64, order: UInt64, at now: Instant) {
        machine.append(&records, upTo: ticket, order: order, at: now)
        carryOut()
    }

    public func completed(at now: Instant) -> UInt64 {
        hear(at: now)
        if machine.deadline <= now {
            machine.wake(at: now)
            carryOut()
        }
        return machine.durableTicket
    }

    public var deadline: Instant { machine.deadline }

    public var isFull: Bool { machine.isFull }

    public var keepsRecords: Bool { true }

    public func read(_ id: UInt64, segment: UInt32, offset: UInt32) {
        machine.read(id, segment: segment, offset: offset)
        carryOut()
    }

    public func takeReads(_ body: (_ id: UInt64, _ record: Span<UInt8>) -> Void) { machine.takeReads(body) }

    /// What the stream's thread has done.
    public var counters: JournalCounters { writer.counters }

    /// Writes and syncs everything that was appended, and ends the thread; the housekeeper must still run. Once its loop has ended, by
    /// whoever is the only one to use it then. **Blocks**, until then or for `time`: false if not everything could be written, as on a
    /// full disk.
    public func finish(at now: Instant, within time: Duration) -> Bool {
        let start = ContinuousClock.now
        machine.hurry()
        carryOut()
        while machine.waitingBytes > 0, ContinuousClock.now - start < time {
            inbox.wait(atMost: .milliseconds(50))
            _ = completed(at: now + (ContinuousClock.now - start))
        }
        writer.finish()
        _ = completed(at: now)
        return machine.waitingBytes == 0
    }

    private func hear(at now: Instant) {
        while inbox.empty(into: &letters) {
            for letter in letters { hear(letter, at: now) }
            letters.removeAll(keepingCapacity: true)
            carryOut()
        }
    }

    private func hear(_ letter: JournalInbox.Letter, at now: Instant) {
        switch letter {
        case .prepared(let segment): machine.completed(.prepared(segment), at: now)
        case .written(let parcel):
            machine.reuse(parcel.take())
            machine.completed(.written, at: now)
        case .synced(let segment): machine.completed(.synced(segment), at: now)
        case .read(let id, let parcel): machine.completed(.read(id: id, bytes: parcel.take()), at: now)
        case .failed(let failure, let parcel): machine.completed(.failed(failure, bytes: parcel.take()), at: now)
        }
    }

    private func carryOut() {
        while let effect = machine.nextEffect() {
            switch consume effect {
            case .prepare(let segment): housekeeper.prepare(segment, for: inbox)
            case .write(let segment, let offset, let bytes, let isSynced): writer.write(segment, offset: offset, bytes, isSynced: isSynced)
            case .sync(let segment): writer.sync(segment)
            case .read(let id, let segment, let offset, let count): housekeeper.read(id, segment: segment, offset: offset, count: count, for: inbox)
            case .discard(let segment): housekeeper.discard(segment)
            }
        }
    }
}
