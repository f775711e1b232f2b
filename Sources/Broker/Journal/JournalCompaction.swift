import MartletBytes

/// A sparse segment on its way out: it is read a stretch at a time, and its live records are appended again under new names.
///
/// A moved record and the end of its old names stand in one block, so that a crash finds it once.
struct JournalCompaction: ~Copyable {
    /// Of the effects that read for it.
    static let readID: UInt64 = 0
    private static let stretchBytes: UInt32 = 1 << 18

    let segment: UInt32
    let run: UInt64
    /// Where the stretch that is read, or the next one, begins.
    private(set) var offset: UInt32
    private let end: UInt32
    private var phase = Phase.wanted
    private enum Phase { case wanted, underWay, here }
    private var bytes = ByteBuffer()

    init(_ segment: JournalSegment) {
        self.segment = segment.number
        run = segment.run
        offset = UInt32(JournalFormat.headerBytes)
        end = segment.end
    }

    var isStretchHere: Bool { phase == .here }
    /// Whether a read for it is still to come back.
    var isReading: Bool { phase == .underWay }

    mutating func nextRead(in segment: JournalSegment?) -> JournalEffect? {
        guard phase == .wanted, let segment else { return nil }
        phase = .underWay
        var last = offset
        while last < end, last - offset < Self.stretchBytes, let stretch = segment.stretch(around: last) { last = stretch.upperBound }
        return .read(id: Self.readID, segment: self.segment, offset: offset, count: Int(last - offset))
    }

    mutating func take(_ bytes: consuming ByteBuffer) {
        self.bytes = bytes
        phase = .here
    }

    /// Shows the stretch's blocks and goes on to the next one: false at the segment's end, nil if it cannot be read.
    mutating func finishStretch(_ body: (Span<UInt8>, JournalBlock) -> Void) -> Bool? {
        var at = 0
        while at < bytes.count {
            guard let block = JournalBlock(in: bytes.span, at: at, base: offset, segment: segment, run: run) else { return nil }
            body(bytes.span, block)
            at = block.end
        }
        if at == 0 { return nil }
        offset += UInt32(at)
        bytes.release()
        phase = .wanted
        return offset < end
    }
}

extension JournalMachine {
    /// Three quarters of a segment must be dead before the rest is worth moving, and it must not be one of the newest.
    mutating func chooseCompaction() {
        guard compaction == nil else { return }
        let newest = JournalFormat.sequence(of: current)
        var sparsest: JournalSegment?
        for number in table.numbers where JournalFormat.sequence(of: number) + 2 < newest {
            guard let segment = table.segment(number), !segment.isDamaged, !segment.isDead, segment.liveBytes < segment.end / 4 else { continue }
            if (segment.liveBytes, number) < (sparsest?.liveBytes ?? .max, sparsest?.number ?? .max) { sparsest = segment }
        }
        if let sparsest { compaction = JournalCompaction(sparsest) }
    }

    /// Appends what lives of the stretch that has been read.
    mutating func moveRecords() {
        guard compaction?.isStretchHere == true, hasRoom, var job = compaction.take() else { return }
        let victim = job.segment, base = job.offset
        var records = ByteBuffer(), moves: [(move: JournalTable.Move, live: Int)] = [], next = cursor
        guard let segment = table.segment(victim) else { return }
        let goesOn = job.finishStretch { bytes, block in
            let inBlock = bytes.extracting(block.records)
            JournalFormat.forEachRecord(in: inBlock) { kind, start, end in
                guard JournalRecordKind.isEntry(kind), let entry = JournalEntry(inBlock, from: start, to: end), !segment.isSettled(entry) else { return }
                let live = Self.move(inBlock.extracting(start..<end), entry, of: segment, to: next, into: &records)
                let offset = base + UInt32(block.records.lowerBound + start)
                moves.append((JournalTable.Move(ordinal: entry.ordinal, count: entry.count, offset: offset, place: next), live))
                next.ordinal += entry.count
                next.offset = cursor.offset + UInt32(records.count)
            }
        }
        if !records.isEmpty {
            appendBlock(records, order: 0)
            for (move, live) in moves { table.noteMove(from: victim, move, live: live) }
        }
        if goesOn == true, table.segment(victim)?.isDead == false {
            compaction = consume job
        } else if goesOn == nil {
            _ = table.update(victim) { $0.isDamaged = true }
        }
    }

    /// One record under its new name, and the ends of the old names; how many of its entries live.
    private static func move(
        _ record: Span<UInt8>, _ entry: JournalEntry, of segment: JournalSegment, to place: JournalCursor, into records: inout ByteBuffer
    ) -> Int {
        let start = records.count
        records.append(record)
        records.set(place.ordinal, at: start + 5)
        var live = 0
        for index in 0..<entry.count {
            if segment.isSettled(entry.ordinal + index) {
                JournalFormat.appendSettled(place.segment, place.ordinal + index, to: &records)
            } else {
                JournalFormat.appendSettled(segment.number, entry.ordinal + index, to: &records)
                live += 1
            }
        }
        return live
    }
}
