import MartletBytes

/// A record that compaction moved: it stands among younger ones.
struct JournalMoved: BitwiseCopyable {
    var order: UInt64
    var segment: UInt32
    var offset: UInt32
    var length: UInt32
}

/// A stream's live records of one kind that stand where they were written, by order. Holds one segment's bytes.
struct JournalStreamCursor: ~Copyable {
    /// Of the record that is shown; `.max` behind the last.
    private(set) var order: UInt64 = .max
    private let scans: [JournalScan]
    private let kind: UInt8
    private let store: any JournalStore
    private var next = 0
    private var bytes = ByteBuffer()
    private var stretches: ArraySlice<Range<UInt32>> = []
    /// What is left of the stretch, and of the block.
    private var blocks = 0..<0
    private var records = 0..<0
    private var entry: JournalEntry?
    private var place = 0..<0

    init(_ scans: [JournalScan], kind: UInt8, _ store: any JournalStore) {
        self.scans = scans
        self.kind = kind
        self.store = store
    }

    /// Goes to the next record, first to the first one.
    mutating func advance() {
        order = .max
        entry = nil
        while nextRecord() || nextBlock() || nextStretch() || nextSegment() { if entry != nil { return } }
    }

    private mutating func nextSegment() -> Bool {
        guard next < scans.count else { return false }
        bytes.removeAll()
        JournalReading.read(store, scans[next].segment.number, offset: 0, count: Int(scans[next].segment.end), into: &bytes)
        stretches = scans[next].stretches[...]
        next += 1
        return true
    }

    private mutating func nextStretch() -> Bool {
        guard let stretch = stretches.popFirst() else { return false }
        blocks = Int(stretch.lowerBound)..<Int(stretch.upperBound)
        return true
    }

    private mutating func nextBlock() -> Bool {
        guard !blocks.isEmpty else { return false }
        let start = blocks.lowerBound, first = start + JournalFormat.blockHeaderBytes
        let count = Int(bytes.span.uint32(at: start + 4)), isMoved = bytes.span.uint64(at: start + 16) == 0
        blocks = start + JournalFormat.blockBytes(records: count)..<blocks.upperBound
        records = isMoved ? 0..<0 : first..<first + count
        return true
    }

    private mutating func nextRecord() -> Bool {
        guard !records.isEmpty else { return false }
        (entry, place) = Self.find(kind, in: bytes.span, records, of: scans[next - 1].segment)
        records = place.upperBound..<records.upperBound
        if let entry { order = entry.order }
        return entry != nil
    }

    /// The first live record, or nothing up to the end.
    private static func find(_ kind: UInt8, in bytes: Span<UInt8>, _ records: Range<Int>, of segment: borrowing JournalSegment) -> (JournalEntry?, Range<Int>) {
        var start = records.lowerBound
        while start < records.upperBound {
            let end = start + 4 + Int(bytes.uint32(at: start))
            if bytes[start + 4] == kind, let entry = JournalEntry(bytes, from: start, to: end), !segment.isSettled(entry) { return (entry, start..<end) }
            start = end
        }
        return (nil, start..<start)
    }

    borrowing func show(_ body: (borrowing JournalLiveRecord) -> Void) {
        guard let entry else { return }
        body(JournalLiveRecord(entry, in: bytes.span, from: place.lowerBound, to: place.upperBound, base: 0, of: scans[next - 1].segment))
    }
}

/// The live records of one kind that were moved, by order. They lie in runs, so a window of a segment serves many.
struct JournalMovedCursor: ~Copyable {
    /// Of the record that is shown; `.max` behind the last.
    private(set) var order: UInt64 = .max
    private let moved: [JournalMoved]
    private let scans: [UInt32: JournalScan]
    private let kind: UInt8
    private let store: any JournalStore
    private var next = 0
    private var entry: JournalEntry?
    private var window = ByteBuffer()
    private var windowSegment: UInt32 = 0
    private var windowOffset = 0
    private var place = 0..<0
    private static let windowBytes = 1 << 18

    init(_ moved: [JournalMoved], _ scans: [UInt32: JournalScan], kind: UInt8, _ store: any JournalStore) {
        self.moved = moved
        self.scans = scans
        self.kind = kind
        self.store = store
    }

    /// Goes to the next record, first to the first one.
    mutating func advance() {
        order = .max
        while next < moved.count {
            let record = moved[next]
            next += 1
            load(record)
            guard window.span[place.lowerBound + 4] == kind, let found = JournalEntry(window.span, from: place.lowerBound, to: place.upperBound) else {
                continue
            }
            guard scans[record.segment]?.segment.isSettled(found) == false else { continue }
            entry = found
            order = record.order
            return
        }
    }

    /// Has the record in the window.
    private mutating func load(_ record: JournalMoved) {
        let start = Int(record.offset), length = Int(record.length)
        if record.segment != windowSegment || start < windowOffset || start + length > windowOffset + window.count {
            window.removeAll()
            JournalReading.read(store, record.segment, offset: start, count: max(length, Self.windowBytes), into: &window)
            windowSegment = record.segment
            windowOffset = start
        }
        place = start - windowOffset..<start - windowOffset + length
    }

    borrowing func show(_ body: (borrowing JournalLiveRecord) -> Void) {
        guard let entry, let state = scans[windowSegment]?.segment else { return }
        body(JournalLiveRecord(entry, in: window.span, from: place.lowerBound, to: place.upperBound, base: windowOffset, of: state))
    }
}

/// Reading that goes on where the disk does not.
enum JournalReading {
    private static let pieceBytes = 4096

    /// Appends a part of a segment; what cannot be read as zeros, which are no block.
    static func read(_ store: any JournalStore, _ segment: UInt32, offset: Int, count: Int, into bytes: inout ByteBuffer) {
        let before = bytes.count
        if (try? store.read(segment, offset: UInt32(offset), count: count, into: &bytes)) != nil { return }
        bytes.retract(bytes.count - before)
        for start in stride(from: offset, to: offset + count, by: pieceBytes) {
            let piece = min(pieceBytes, offset + count - start)
            if (try? store.read(segment, offset: UInt32(start), count: piece, into: &bytes)) == nil {
                bytes.retract(bytes.count - before - (start - offset))
                for _ in 0..<piece { bytes.append(UInt8(0)) }
            }
        }
    }
}
