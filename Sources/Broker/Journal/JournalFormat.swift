public import MartletBytes

/// The journal's bytes, read and written: Documentation/journal.md. All numbers are big-endian.
public enum JournalFormat {
    public static let version: UInt32 = 1
    /// Of a segment's header; the first block begins here.
    public static let headerBytes = 64
    /// Of a block's header; its records follow.
    public static let blockHeaderBytes = 28
    /// From an entry's record's length to its payload.
    public static let entryHeaderBytes = 21
    static let headerCheckedBytes = 28

    /// A segment belongs to a stream, by its lower bits, and has a place in it, by the others.
    static let streamBits: UInt32 = 6
    public static let streamsMax = 64
    static func segment(sequence: UInt32, shard: UInt8) -> UInt32 {
        precondition(sequence < 1 << (32 - streamBits), "67,108,864 segments of a loop are written")
        return sequence << streamBits | UInt32(shard)
    }
    static func sequence(of segment: UInt32) -> UInt32 { segment >> streamBits }
    static func shard(of segment: UInt32) -> Int { Int(segment & (1 << streamBits - 1)) }
    /// Whose settled records speak of a segment when there are so many loops.
    static func owner(of segment: UInt32, shards: Int) -> Int { shard(of: segment) < shards ? shard(of: segment) : 0 }

    // MARK: Segments

    /// A segment's header, of 64 bytes. `byteCount`: how long the file is when it is made.
    public static func appendHeader(segment: UInt32, run: UInt64, byteCount: UInt32, to bytes: inout ByteBuffer) {
        let start = bytes.count
        bytes.append(utf8: "MtSegmnt")
        bytes.append(version)
        bytes.append(segment)
        bytes.append(run)
        bytes.append(byteCount)
        let check = CRC32C(bytes.span.extracting(start...)).value
        bytes.append(check)
        for _ in 0..<4 { bytes.append(UInt64(0)) }
    }

    /// What a segment's header says; `nil` if it is no header of that segment.
    static func header(in bytes: Span<UInt8>, of segment: UInt32) -> (run: UInt64, byteCount: Int)? {
        guard bytes.count >= headerBytes, bytes.uint64(at: 0) == 0x4D74_5365_676D_6E74, bytes.uint32(at: 8) == version, bytes.uint32(at: 12) == segment
        else { return nil }
        guard CRC32C(bytes.extracting(..<headerCheckedBytes)).value == bytes.uint32(at: headerCheckedBytes) else { return nil }
        return (bytes.uint64(at: 16), Int(bytes.uint32(at: 24)))
    }

    // MARK: Blocks

    /// What a segment's blocks begin with, so that a damaged one is told from what a recycled file held before.
    static func mark(segment: UInt32, run: UInt64) -> UInt32 {
        var mark = CRC32C()
        mark.append(run)
        mark.append(segment)
        return mark.value
    }

    /// Whether this is the mark, but for three bits that have changed. One in a million of other numbers is, too.
    static func isMark(_ bits: UInt32, _ mark: UInt32) -> Bool { bits != 0 && (bits ^ mark).nonzeroBitCount <= 3 }

    /// Of a block whose records have `count` bytes, in the file.
    static func blockBytes(records count: Int) -> Int { (blockHeaderBytes + count + 7) & ~7 }

    /// Completes the blocks that `bytes` holds, which are to lie at `offset` of a segment: gives each its checksum. On whatever thread writes.
    public static func seal(_ bytes: inout ByteBuffer, segment: UInt32, run: UInt64, offset: UInt32) {
        var at = 0
        while at < bytes.count {
            let count = Int(bytes.span.uint32(at: at + 4))
            let check = checksum(bytes.span, at: at, count: count, segment: segment, run: run, offset: offset + UInt32(at))
            bytes.set(check, at: at + 8)
            at += blockBytes(records: count)
        }
    }

    /// Of the block at `start` with records of `count` bytes: over its place and everything in it but the mark and the checksum.
    static func checksum(_ bytes: Span<UInt8>, at start: Int, count: Int, segment: UInt32, run: UInt64, offset: UInt32) -> UInt32 {
        var check = CRC32C()
        check.append(UInt64(segment) << 32 | UInt64(offset))
        check.append(run)
        check.append(UInt32(truncatingIfNeeded: count))
        check.append(bytes.extracting(start + 12..<start + blockHeaderBytes + count))
        return check.value
    }

    // MARK: Records

    static func appendSettled(_ segment: UInt32, _ ordinal: UInt32, to records: inout ByteBuffer) {
        records.append(UInt32(9))
        records.append(JournalRecordKind.settled.rawValue)
        records.append(segment)
        records.append(ordinal)
    }

    /// Calls `body` for every record, whole ones only: what it is, and where it lies from its length on.
    @inline(__always) static func forEachRecord(in records: Span<UInt8>, _ body: (_ kind: UInt8, _ start: Int, _ end: Int) -> Void) {
        var at = 0
        while at + 5 <= records.count {
            let end = at + 4 + Int(records.uint32(at: at))
            guard end > at + 4, end <= records.count else { return }
            body(records[at + 4], at, end)
            at = end
        }
    }
}

/// What a record says. Others are left alone.
public enum JournalRecordKind: UInt8, Sendable {
    case settled = 1
    case checkpoint = 2
    case message = 16
    case definition = 17

    static func isEntry(_ kind: UInt8) -> Bool { kind == message.rawValue || kind == definition.rawValue }
}

/// The fixed part of a message's or a definition's record.
struct JournalEntry: BitwiseCopyable {
    var ordinal: UInt32
    var count: UInt32
    var order: UInt64

    /// `nil` if the record is too short.
    @inline(__always) init?(_ records: Span<UInt8>, from start: Int, to end: Int) {
        guard end - start >= JournalFormat.entryHeaderBytes else { return nil }
        ordinal = records.uint32(at: start + 5)
        count = records.uint32(at: start + 9)
        order = records.uint64(at: start + 13)
    }
}

/// A block's header, and where the block lies.
struct JournalBlock: BitwiseCopyable {
    /// In the bytes it was read from.
    var start: Int
    /// Of its records; a block without any ends its segment.
    var count: Int
    var firstOrdinal: UInt32
    var order: UInt64
    /// Up to which offset the segment was on disk when the block was written.
    var synced: UInt32

    var records: Range<Int> { start + JournalFormat.blockHeaderBytes..<start + JournalFormat.blockHeaderBytes + count }
    /// Where the next block begins.
    var end: Int { start + JournalFormat.blockBytes(records: count) }

    /// How long the block at `start` says it is; `nil` if not even its header is there.
    static func extent(in bytes: Span<UInt8>, at start: Int) -> Int? {
        bytes.count - start >= JournalFormat.blockHeaderBytes ? JournalFormat.blockBytes(records: Int(bytes.uint32(at: start + 4))) : nil
    }

    /// The block at `start` of bytes that lie at `base` of a segment; `nil` if there is none or it is damaged.
    init?(in bytes: Span<UInt8>, at start: Int, base: UInt32, segment: UInt32, run: UInt64) {
        guard let extent = Self.extent(in: bytes, at: start), extent <= bytes.count - start else { return nil }
        self.start = start
        count = Int(bytes.uint32(at: start + 4))
        let check = JournalFormat.checksum(bytes, at: start, count: count, segment: segment, run: run, offset: base + UInt32(start))
        guard check == bytes.uint32(at: start + 8) else { return nil }
        firstOrdinal = bytes.uint32(at: start + 12)
        order = bytes.uint64(at: start + 16)
        synced = bytes.uint32(at: start + 24)
    }

    /// Appends a block with these records; `JournalFormat.seal` completes it.
    static func append(_ records: borrowing ByteBuffer, firstOrdinal: UInt32, order: UInt64, mark: UInt32, to bytes: inout ByteBuffer) {
        let padding = JournalFormat.blockBytes(records: records.count) - JournalFormat.blockHeaderBytes - records.count
        bytes.append(mark)
        bytes.append(UInt32(records.count))
        bytes.append(UInt32(0))
        bytes.append(firstOrdinal)
        bytes.append(order)
        bytes.append(UInt32(0))
        bytes.append(contentsOf: records)
        for _ in 0..<padding { bytes.append(UInt8(0)) }
    }
}
