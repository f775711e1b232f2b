import MartletBytes

/// Records that were asked for: neighbours are read together, whole blocks at a time, because a checksum is a block's.
struct JournalReads: ~Copyable {
    struct Request: BitwiseCopyable {
        var id: UInt64
        var segment: UInt32
        var offset: UInt32
    }
    /// One effect: whole blocks from `offset` on, with the records that `requests` want, by offset.
    struct Group {
        var segment: UInt32
        var run: UInt64
        var offset: UInt32
        var requests: [Request]
    }

    /// Bytes that one effect reads at most, unless one stretch of blocks is longer.
    static let groupBytes = 1 << 20
    static let underWayMax = 4

    /// By place, the first last.
    private var waiting: [Request] = []
    private var isSorted = true
    /// Of blocks that are not written yet.
    private var early: [Request] = []
    /// Those under way; few.
    private var groups: [UInt64: Group] = [:]
    private var lastGroup: UInt64 = 0
    /// `id 8 · length 4 · record` each.
    private var answers = ByteBuffer()

    var isEmpty: Bool { waiting.isEmpty && early.isEmpty && groups.isEmpty }

    mutating func ask(_ request: Request, isWritten: Bool) {
        if isWritten {
            waiting.append(request)
            isSorted = false
        } else {
            early.append(request)
        }
    }

    /// More has been written.
    mutating func retryEarly(_ isWritten: (Request) -> Bool) {
        guard !early.isEmpty else { return }
        let requests = early
        early.removeAll()
        for request in requests { ask(request, isWritten: isWritten(request)) }
    }

    /// Whether a segment is still to be read from.
    func needs(_ segment: UInt32) -> Bool {
        waiting.contains { $0.segment == segment } || groups.values.contains { $0.segment == segment }
    }

    /// The next group to read.
    mutating func next(in table: inout JournalTable) -> JournalEffect? {
        guard groups.count < Self.underWayMax else { return nil }
        if !isSorted {
            waiting.sort { ($0.segment, $0.offset) > ($1.segment, $1.offset) }
            isSorted = true
        }
        while let first = waiting.popLast() {
            guard let (run, stretch) = table.update(first.segment, { segment in segment.stretch(around: first.offset).map { (segment.run, $0) } }) ?? nil else {
                // Its segment went while it waited: the record has moved, or all of it has been settled.
                let place = table.place(first.segment, first.offset)
                if place == (first.segment, first.offset) { answer(first.id, Span()); continue }
                waiting.append(Request(id: first.id, segment: place.segment, offset: place.offset))
                isSorted = false
                return next(in: &table)
            }
            var group = Group(segment: first.segment, run: run, offset: stretch.lowerBound, requests: [first]), end = stretch.upperBound
            while let next = waiting.last, next.segment == first.segment {
                let wider = next.offset < end ? end : table.update(next.segment) { $0.stretch(around: next.offset)?.upperBound } ?? nil
                guard let wider, Int(wider - group.offset) <= Self.groupBytes || wider == end else { break }
                end = wider
                group.requests.append(next)
                waiting.removeLast()
            }
            lastGroup += 1
            groups[lastGroup] = group
            return .read(id: lastGroup, segment: first.segment, offset: stretch.lowerBound, count: Int(end - stretch.lowerBound))
        }
        return nil
    }

    /// A group has been read: finds its records in the blocks whose checksums hold.
    mutating func read(_ id: UInt64, _ bytes: borrowing ByteBuffer) {
        guard let group = groups.removeValue(forKey: id) else { return }
        var at = 0, block: JournalBlock?
        for request in group.requests {
            let wanted = Int(request.offset - group.offset)
            while at <= wanted, let extent = JournalBlock.extent(in: bytes.span, at: at) {
                if at + extent > wanted, block?.start != at {
                    block = JournalBlock(in: bytes.span, at: at, base: group.offset, segment: group.segment, run: group.run)
                }
                if at + extent > wanted { break }
                at += extent
            }
            if let block, let record = Self.record(at: wanted, in: block, bytes.span) {
                answer(request.id, bytes.span.extracting(record))
            } else {
                answer(request.id, Span())
            }
        }
    }

    /// From its kind on.
    private static func record(at start: Int, in block: JournalBlock, _ bytes: Span<UInt8>) -> Range<Int>? {
        guard block.records.contains(start), start + 4 <= block.records.upperBound else { return nil }
        let end = start + 4 + Int(bytes.uint32(at: start))
        return end <= block.records.upperBound ? start + 4..<end : nil
    }

    mutating func answer(_ id: UInt64, _ record: Span<UInt8>) {
        answers.append(id)
        answers.append(UInt32(record.count))
        answers.append(record)
    }

    mutating func takeAnswers(_ body: (UInt64, Span<UInt8>) -> Void) {
        guard !answers.isEmpty else { return }
        var taken = ByteBuffer()
        swap(&taken, &answers)
        var at = 0
        while at < taken.count {
            let end = at + 12 + Int(taken.span.uint32(at: at + 8))
            body(taken.span.uint64(at: at), taken.span.extracting(at + 12..<end))
            at = end
        }
    }
}
