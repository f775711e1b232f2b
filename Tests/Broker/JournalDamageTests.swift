import MartletBytes
import MartletJournal
import Testing

/// Damage of every kind to a small journal of two runs: it is found or does no harm, costs nothing but what it covers, and nothing wrong
/// comes out.
@Suite struct JournalDamageTests {
    /// A journal, and where its records are.
    private final class Sample {
        let disk = JournalDisk(segmentBytes: 1024, seed: 1)
        /// By order: where the record's block lies, and whether it lives.
        var blocks: [UInt64: (segment: UInt32, bytes: Range<UInt32>)] = [:]
        var live: Set<UInt64> = []
        private var names: [UInt64: JournalCursor] = [:]
        private var order: UInt64 = 0

        /// `streams`: so many wrote the first run; one wrote the second, so many blocks.
        init(streams: Int = 1, blocks last: Int = 24) throws {
            try write(blocks: 20, streams: streams)
            try write(blocks: last, streams: 1)
            let recovery = try JournalRecovery(disk)
            for kind: JournalRecordKind in [.message, .definition] {
                recovery.forEachLive(kind) { blocks[$0.order] = ($0.segment, block(around: $0.offset, in: disk.files[$0.segment]?.cache ?? [])) }
            }
        }

        /// Compaction has moved some records: their blocks are found by their lengths.
        private func block(around offset: UInt32, in bytes: [UInt8]) -> Range<UInt32> {
            var start = 64, end = 64
            while end <= offset {
                start = end
                end += (28 + Int(bytes.span.uint32(at: start + 4)) + 7) & ~7
            }
            return UInt32(start)..<UInt32(end)
        }

        private func write(blocks count: Int, streams: Int) throws {
            try JournalRecovery(disk).open(shards: streams, options: JournalOptions(segmentBytes: 1024)) { machine in
                var machine = machine
                for block in 0..<count {
                    append(to: &machine, settling: streams == 1 && block % 3 == 2)
                    drive(&machine)
                }
            }
        }

        private func append(to machine: inout JournalMachine, settling: Bool) {
            var records = ByteBuffer(), place = machine.cursor
            let start = place.offset - 28
            if settling, let oldest = live.min(), let name = names[oldest] {
                live.remove(oldest)
                records.append(UInt32(9))
                records.append(UInt8(1))
                records.append(name.segment)
                records.append(name.ordinal)
            }
            for _ in 0..<2 {
                order += 1
                place.offset = start + 28 + UInt32(records.count)
                names[order] = place
                place.ordinal += 1
                live.insert(order)
                records.append(UInt32(17 + 20))
                records.append(UInt8(order % 5 == 0 ? 17 : 16))
                records.append(place.ordinal - 1)
                records.append(UInt32(1))
                records.append(order)
                for _ in 0..<20 { records.append(UInt8(truncatingIfNeeded: order)) }
            }
            machine.append(&records, upTo: order, order: order, at: Instant(nanoseconds: 0))
        }

        private func drive(_ machine: inout JournalMachine) {
            while let effect = machine.nextEffect() {
                if let completion = disk.perform(effect, run: disk.run) { machine.completed(completion, at: Instant(nanoseconds: 0)) }
            }
        }

        /// What is wrong with what is recovered now, when a part of one segment was changed.
        func complaint(_ segment: UInt32, _ changed: Range<UInt32>) -> String? {
            guard let recovery = try? JournalRecovery(disk) else { return "nothing was recovered" }
            var found: Set<UInt64> = [], isWrong = false
            for kind: JournalRecordKind in [.message, .definition] {
                recovery.forEachLive(kind) { record in
                    let bytes = record.payload.array
                    if bytes != Array(repeating: UInt8(truncatingIfNeeded: record.order), count: 20) || !found.insert(record.order).inserted { isWrong = true }
                }
            }
            if isWrong { return "a record is wrong" }
            let lost = live.subtracting(found), back = found.subtracting(live)
            if !lost.isEmpty || !back.isEmpty, recovery.findings.isEmpty { return "\(lost) lost and \(back) back without a word" }
            if !back.isEmpty, !recovery.findings.contains(where: \.isDamage), lost.isEmpty { return "\(back) back without damage" }
            for order in lost {
                guard let block = blocks[order] else { return "\(order) is not one of ours" }
                if block.segment != segment || !block.bytes.overlaps(changed) { return "\(order) lost, which was not touched" }
            }
            return nil
        }
    }

    /// Changes each file in turn as `change` does for each of its bytes; at most a few complaints.
    private func damage(_ change: (inout [UInt8], Int) -> Range<UInt32>) throws -> [String] {
        let sample = try Sample()
        #expect(sample.complaint(0, 0..<0) == nil)
        #expect(sample.live.count > 20 && sample.disk.files.count > 3, "\(sample.live.count) live in \(sample.disk.files.count) files")
        var complaints: [String] = []
        for (segment, file) in sample.disk.files.sorted(by: { $0.key < $1.key }) {
            for at in file.cache.indices {
                var bytes = file.cache
                let changed = change(&bytes, at)
                sample.disk.files[segment]?.cache = bytes
                if let complaint = sample.complaint(segment, changed) { complaints.append("\(segment) \(at): \(complaint)") }
            }
            sample.disk.files[segment] = file
        }
        return Array(complaints.prefix(10))
    }

    @Test(arguments: [0x01, 0xFF] as [UInt8]) func `each byte changed is found or does no harm`(bits: UInt8) throws {
        let complaints = try damage { bytes, at in
            bytes[at] ^= bits
            return UInt32(at)..<UInt32(at + 1)
        }
        #expect(complaints == [])
    }

    @Test(arguments: [[0x01], [0x80, 0x10, 0x04]] as [[UInt8]]) func `a block with changed bits in its mark, too, is found or does no harm`(bits: [UInt8])
        throws
    {
        let sample = try Sample()
        var complaints: [String] = []
        for (segment, block) in sample.blocks.values {
            guard let file = sample.disk.files[segment] else { continue }
            for at in Int(block.lowerBound) + 4..<Int(block.upperBound) {
                for (index, bits) in bits.enumerated() { sample.disk.files[segment]?.cache[Int(block.lowerBound) + index] ^= bits }
                sample.disk.files[segment]?.cache[at] ^= 2
                if let complaint = sample.complaint(segment, block) { complaints.append("\(segment) \(at): \(complaint)") }
                sample.disk.files[segment] = file
            }
        }
        #expect(complaints.prefix(10) == [])
    }

    @Test func `each length that a file is cut to is found or does no harm`() throws {
        let complaints = try damage { bytes, at in
            bytes.removeLast(bytes.count - at)
            return UInt32(at)..<UInt32.max
        }
        #expect(complaints == [])
    }

    /// Of some lengths a stream's last segment holds one block only: nothing is behind it that would tell.
    @Test(arguments: 18...28) func `a file that is cut to its header is found or does no harm`(blocks: Int) throws {
        let sample = try Sample(blocks: blocks)
        for (segment, file) in sample.disk.files {
            sample.disk.files[segment]?.cache.removeLast(file.cache.count - 64)
            #expect(sample.complaint(segment, 64..<UInt32.max) == nil, "\(segment)")
            sample.disk.files[segment] = file
        }
    }

    @Test func `each sector that is lost is found or does no harm`() throws {
        let complaints = try damage { bytes, at in
            let sector = at & ~63..<min(bytes.count, (at & ~63) + 64)
            if at & 63 == 0 { bytes.replaceSubrange(sector, with: repeatElement(0, count: sector.count)) }
            return UInt32(sector.lowerBound)..<UInt32(sector.upperBound)
        }
        #expect(complaints == [])
    }

    /// A segment without a header belongs to the last run, or to the one that the checkpoint names.
    @Test func `the header of a segment whose stream is no more costs nothing`() throws {
        let sample = try Sample(streams: 3)
        for (segment, file) in sample.disk.files {
            for at in 0..<32 {
                sample.disk.files[segment]?.cache[at] ^= 1
                #expect(sample.complaint(segment, 0..<0) == nil, "\(segment) \(at)")
            }
            sample.disk.files[segment] = file
        }
    }

    @Test func `each file that is missing is found`() throws {
        let sample = try Sample()
        for (segment, file) in sample.disk.files {
            sample.disk.files[segment] = nil
            #expect(sample.complaint(segment, 0..<UInt32.max) == nil)
            sample.disk.files[segment] = file
        }
    }
}
