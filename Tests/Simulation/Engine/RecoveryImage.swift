import MartletBytes
import MartletJournal

/// What recovery hands out of a disk, to be compared with what it hands out when some bits of it have changed.
struct RecoveryImage {
    struct Record: Equatable {
        var kind: UInt8
        var payload: [UInt8]
        /// Entry by entry.
        var settled: [Bool]
        var segment: UInt32
        /// Where its block lies.
        var block: Range<Int>
    }
    private(set) var records: [UInt64: Record] = [:]
    private(set) var findings: [JournalFinding] = []

    init(_ disk: SimulatedDisk) throws(JournalError) {
        let recovery = try JournalRecovery(disk)
        findings = recovery.findings
        var records: [UInt64: Record] = [:]
        for kind: JournalRecordKind in [.message, .definition] {
            recovery.forEachLive(kind) { record in
                records[record.order] = Record(
                    kind: record.kind, payload: record.payload.array, settled: (0..<record.count).map { record.isSettled($0) }, segment: record.segment,
                    block: disk.block(around: Int(record.offset), in: record.segment))
            }
        }
        self.records = records
    }

    /// Whether it is the same as before these bytes changed; `fail` is told what cannot be.
    func isSame(as before: RecoveryImage, changed: [(segment: UInt32, offset: Int)], _ fail: (String) -> Void) -> Bool {
        var isSame = true
        for (order, old) in before.records {
            guard let new = records[order] else {
                isSame = false
                if !covers(old, changed) { fail("record \(order) of \(old.segment) \(old.block) is lost, but \(changed) have changed: \(findings)") }
                continue
            }
            if new.payload != old.payload || new.kind != old.kind { fail("record \(order) is another one than it was") }
            if new.settled == old.settled { continue }
            isSame = false
            if zip(old.settled, new.settled).contains(where: { !$0 && $1 }) { fail("record \(order) has lost entries") }
        }
        let isMore = records.keys.contains { before.records[$0] == nil }
        isSame = isSame && !isMore
        if !isSame, findings == before.findings, !findings.contains(where: \.isDamage) { fail("what changed with \(changed) was not found") }
        return isSame
    }

    /// Whether what has changed may have taken the record with it: a byte of its block, or the end of a stream before it.
    private func covers(_ record: Record, _ changed: [(segment: UInt32, offset: Int)]) -> Bool {
        changed.contains { change in
            change.segment == record.segment
                && (record.block.contains(change.offset)
                    || change.offset < record.block.lowerBound
                        && findings.contains { $0.kind == .tornTail && $0.segment == change.segment && $0.bytes.lowerBound <= change.offset })
        }
    }
}
