import MartletBytes

extension JournalRecovery {
    /// Begins the next run: keeps copies of what is damaged, makes sure that what was recovered is on disk, and opens a stream for each of
    /// `shards` loops, which are given to `body` when all of that is on disk. Until then a crash leaves everything as it was.
    public consuming func open(shards: Int, options: JournalOptions, _ body: (consuming JournalMachine) -> Void) throws(JournalError) {
        let run = nextRun
        try quarantine()
        try writeTailsAgain()
        var machines: [JournalMachineBox] = []
        for shard in 0..<shards {
            let adopted = scans.values.map(\.segment).filter { !$0.isDead && JournalFormat.owner(of: $0.number, shards: shards) == shard }
            var machine = JournalMachine(
                shard: UInt8(shard), shards: shards, run: run, options: options, adopting: adopted.sorted { $0.number < $1.number },
                firstSequence: nextSequence)
            try Self.settleDown(&machine, on: store, run: run)
            machines.append(JournalMachineBox(machine))
        }
        try store.begin(run: run)
        for file in files where scans[file.segment]?.segment.isDead ?? true { _ = store.perform(.discard(segment: file.segment), run: run) }
        for box in machines { if let machine = box.take() { body(machine) } }
    }

    /// Writes all that lives to fresh segments of a new run and removes the others: an offline command. Names of entries change.
    /// Until the new run begins a crash leaves everything as it was.
    public consuming func compact(options: JournalOptions) throws(JournalError) {
        let run = nextRun
        try quarantine()
        var machine = JournalMachine(shard: 0, shards: 1, run: run, options: options, adopting: [], firstSequence: nextSequence)
        try Self.settleDown(&machine, on: store, run: run)
        var records = ByteBuffer(), next = machine.cursor, failure: JournalError?
        for kind in [JournalRecordKind.definition, .message] {
            forEachLive(kind) { record in
                guard failure == nil else { return }
                Self.append(record, at: next, to: &records)
                next.ordinal += UInt32(record.count)
                if records.count < Self.blockBytes { return }
                machine.append(&records, upTo: 0, order: record.order, at: Instant(nanoseconds: 0))
                next = machine.cursor
                do throws(JournalError) { try Self.settleDown(&machine, on: store, run: run) } catch { failure = error }
            }
            // A block without records would end the segment.
            if !records.isEmpty { machine.append(&records, upTo: 0, order: lastOrder, at: Instant(nanoseconds: 0)) }
            next = machine.cursor
        }
        if let failure { throw failure }
        machine.finish()
        try Self.settleDown(&machine, on: store, run: run)
        try store.begin(run: run)
        for file in files { _ = store.perform(.discard(segment: file.segment), run: run) }
    }

    private static var blockBytes: Int { 1 << 16 }
    private var nextSequence: UInt32 { files.reduce(0) { max($0, JournalFormat.sequence(of: $1.segment)) } + 1 }

    /// A record under a new name, and which of its entries have ended.
    private static func append(_ record: borrowing JournalLiveRecord, at place: JournalCursor, to records: inout ByteBuffer) {
        records.append(UInt32(JournalFormat.entryHeaderBytes - 4 + record.payload.count))
        records.append(record.kind)
        records.append(place.ordinal)
        records.append(UInt32(record.count))
        records.append(record.order)
        records.append(record.payload)
        for index in 0..<record.count where record.isSettled(index) {
            JournalFormat.appendSettled(place.segment, place.ordinal + UInt32(index), to: &records)
        }
    }

    /// Does all that a machine wants for now.
    private static func settleDown(_ machine: inout JournalMachine, on store: any JournalStore, run: UInt64) throws(JournalError) {
        let start = Instant(nanoseconds: 0)
        machine.hurry()
        while let effect = machine.nextEffect() {
            if let completion = store.perform(effect, run: run) { machine.completed(completion, at: start) }
            if let failure = machine.trouble { throw JournalError("\(failure)") }
        }
    }

    private func quarantine() throws(JournalError) {
        for finding in findings where finding.kind == .damagedStretch || finding.kind == .damagedHeader {
            var bytes = ByteBuffer()
            JournalReading.read(store, finding.segment, offset: Int(finding.bytes.lowerBound), count: finding.bytes.count, into: &bytes)
            try store.quarantine(finding.segment, offset: finding.bytes.lowerBound, bytes.span)
        }
    }

    /// What a crash left in the system's cache may never have been on disk, even if it can be read: after a sync that failed it never will
    /// be, unless it is written again.
    private func writeTailsAgain() throws(JournalError) {
        for scan in scans.values where scan.segment.run == store.run && !scan.isFollowed {
            guard let last = scan.stretches.last else { continue }
            let start = max(last.lowerBound, scan.synced)
            var bytes = ByteBuffer()
            JournalReading.read(store, scan.segment.number, offset: Int(start), count: Int(last.upperBound - start), into: &bytes)
            let effect = JournalEffect.write(segment: scan.segment.number, offset: start, bytes: bytes, sync: true)
            guard let completion = store.perform(effect, run: store.run) else { continue }
            if case .failed(let failure, _) = completion { throw JournalError("\(failure)") }
        }
    }
}

/// A machine in an array.
private final class JournalMachineBox {
    private var machine: JournalMachine?
    init(_ machine: consuming JournalMachine) { self.machine = consume machine }
    func take() -> JournalMachine? { machine.take() }
}
