package import MartletBytes
package import MartletJournal

/// A stream of the journal whose disk is simulated: effects take their time on the loop's virtual clock, one after the other; reads take
/// theirs, in any order. A crash in between leaves what a crash leaves.
package final class SimulatedJournal: Journal {
    private enum Step {
        case prepare(UInt32)
        case write(UInt32, UInt32, [UInt8], isSynced: Bool)
        case sync(UInt32)
        case discard(UInt32)
    }
    private struct Read {
        var id: UInt64
        var segment: UInt32
        var offset: UInt32
        var count: Int
        var due: Instant
    }
    private enum Outcome { case done, noSpace, failed }

    private var machine: JournalMachine
    private let disk: SimulatedDisk
    private let run: UInt64
    private var random: SeededRandom
    private var steps: [Step] = []
    /// The first step is under way until then.
    private var due = Instant.never
    private var outcome = Outcome.done
    private var reads: [Read] = []
    /// One step takes up to this long.
    private let latencyMax: Duration
    /// The next sync fails.
    package var failsSync = false

    package init(_ machine: consuming JournalMachine, on disk: SimulatedDisk, run: UInt64) {
        self.machine = machine
        self.disk = disk
        self.run = run
        random = SeededRandom(disk.nextSeed())
        latencyMax = disk.latencyMax
    }

    /// What ended the stream: the server stops.
    package var failure: JournalFailure? { machine.failure }

    /// Whether everything that was appended is written, and nothing is under way.
    var isComplete: Bool { machine.waitingBytes == 0 && steps.isEmpty }

    package var description: String {
        "\(steps.count) steps, \(reads.count) reads, \(machine.waitingBytes) bytes wait, full: \(isFull)"
    }

    // MARK: Journal

    package var cursor: JournalCursor { machine.cursor }

    package func append(_ records: inout ByteBuffer, upTo ticket: UInt64, order: UInt64, at now: Instant) {
        machine.append(&records, upTo: ticket, order: order, at: now)
        carryOut(now)
    }

    package func completed(at now: Instant) -> UInt64 {
        if machine.deadline <= now { machine.wake(at: now) }
        carryOut(now)
        while due <= now, failure == nil {
            finishStep(now)
            carryOut(now)
        }
        for read in reads where read.due <= now {
            guard failure == nil, let completion = disk.perform(.read(id: read.id, segment: read.segment, offset: read.offset, count: read.count), run: run)
            else { continue }
            machine.completed(completion, at: now)
        }
        reads.removeAll { $0.due <= now }
        carryOut(now)
        return machine.durableTicket
    }

    package var deadline: Instant { reads.reduce(min(due, machine.deadline)) { min($0, $1.due) } }
    package var isFull: Bool { machine.isFull }

    package var keepsRecords: Bool { true }

    package func read(_ id: UInt64, segment: UInt32, offset: UInt32) { machine.read(id, segment: segment, offset: offset) }

    package func takeReads(_ body: (_ id: UInt64, _ record: Span<UInt8>) -> Void) { machine.takeReads(body) }

    package func finish(at now: Instant, within time: Duration) -> Bool {
        let end = now + time
        machine.hurry()
        _ = completed(at: now)
        while failure == nil, deadline <= end, !isComplete { _ = completed(at: deadline) }
        guard failure == nil, isComplete else { return false }
        disk.syncStream(of: cursor.segment)
        return true
    }

    // MARK: The disk's time

    private func carryOut(_ now: Instant) {
        while let effect = machine.nextEffect() {
            switch consume effect {
            case .prepare(let segment): steps.append(.prepare(segment))
            case .write(let segment, let offset, var bytes, let isSynced):
                JournalFormat.seal(&bytes, segment: segment, run: run, offset: offset)
                steps.append(.write(segment, offset, bytes.span.array, isSynced: isSynced))
            case .sync(let segment): steps.append(.sync(segment))
            case .discard(let segment): steps.append(.discard(segment))
            case .read(let id, let segment, let offset, let count):
                reads.append(Read(id: id, segment: segment, offset: offset, count: count, due: now + duration()))
            }
        }
        if due == .never, !steps.isEmpty { beginStep(now) }
    }

    private func duration() -> Duration {
        let most = Int(latencyMax / .microseconds(1))
        return .microseconds(
            Int.random(in: 0..<10, using: &random) == 0 ? Int.random(in: 1...most * 10, using: &random) : Int.random(in: 1...most, using: &random))
    }

    private func beginStep(_ now: Instant) {
        due = now + duration()
        outcome = .done
        if case .write(let segment, let offset, let bytes, _) = steps[0], !disk.write(segment, offset: Int(offset), bytes) { outcome = .noSpace }
    }

    private func finishStep(_ now: Instant) {
        let step = steps.removeFirst()
        due = .never
        switch step {
        case .prepare(let segment): machine.completed(disk.prepare(segment, run: run), at: now)
        case .write(let segment, _, let bytes, let isSynced):
            if outcome == .noSpace {
                var back = ByteBuffer()
                back.append(bytes.span)
                machine.completed(.failed(SimulatedDisk.noSpace(.write, segment), bytes: back), at: now)
            } else if !isSynced || syncs(segment) {
                machine.completed(.written, at: now)
            } else {
                machine.completed(.failed(JournalFailure(.sync, segment: segment, code: 5, isNoSpace: false), bytes: ByteBuffer()), at: now)
            }
        case .sync(let segment):
            if syncs(segment) {
                machine.completed(.synced(segment), at: now)
            } else {
                machine.completed(.failed(JournalFailure(.sync, segment: segment, code: 5, isNoSpace: false), bytes: ByteBuffer()), at: now)
            }
        case .discard(let segment): disk.discard(segment)
        }
        if failure == nil, !steps.isEmpty { beginStep(now) }
    }

    private func syncs(_ segment: UInt32) -> Bool {
        guard failsSync else {
            disk.sync(segment)
            return true
        }
        failsSync = false
        disk.failSync(segment)
        return false
    }

    /// The process is gone: what was under way may be done in part.
    package func interrupt() {
        if due != .never, case .prepare(let segment) = steps[0] { disk.interruptPreparation(of: segment, run: run) }
        steps = []
        due = .never
    }
}
