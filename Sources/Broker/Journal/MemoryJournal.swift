public import MartletBytes
import MartletCollections

/// A journal in memory that takes its time as a disk does: one sync runs at a time, and all that is appended while it runs goes with
/// the next one (group commit). For tests and measurements of everything that waits for a disk.
///
/// It recycles nothing: one that keeps records, so that they can be read, grows by all of them. Of another nothing must be read.
public final class MemoryJournal: Journal {
    private let latency: Duration
    public let keepsRecords: Bool
    /// The sync that runs: up to which ticket, and when it is done.
    private var running: (ticket: UInt64, done: Instant)?
    private var appended: UInt64 = 0
    private var durable: UInt64 = 0
    public private(set) var bytesAppended = 0
    /// Syncs that have been started.
    public private(set) var syncs = 0
    public private(set) var cursor: JournalCursor
    public var isFull = false
    /// By sequence, from 1 on.
    private let segments = Pinned(Slab<ByteBuffer>())
    private var asked: [(id: UInt64, segment: UInt32, offset: UInt32)] = []
    private static let segmentBytes = 16 << 20

    /// `latency`: how long one sync takes. `shard`: whose journal it is, so that names are unique.
    public init(latency: Duration, shard: UInt8 = 0, keepsRecords: Bool = false) {
        self.latency = latency
        self.keepsRecords = keepsRecords
        cursor = JournalCursor(segment: 1 << 6 | UInt32(shard), offset: 0, ordinal: 0)
        _ = segments.value.insert(ByteBuffer())
    }

    public func append(_ records: inout ByteBuffer, upTo ticket: UInt64, order: UInt64, at now: Instant) {
        bytesAppended += records.count
        if keepsRecords { segments.value[cursor.segment >> 6].append(contentsOf: records) }
        cursor.offset += UInt32(records.count)
        // No record has more entries than bytes.
        cursor.ordinal += UInt32(records.count)
        if Int(cursor.offset) > Self.segmentBytes {
            cursor = JournalCursor(segment: cursor.segment + (1 << 6), offset: 0, ordinal: 0)
            _ = segments.value.insert(ByteBuffer())
        }
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

    public func finish(at now: Instant, within time: Duration) -> Bool { true }

    public var deadline: Instant { running?.done ?? .never }

    public func read(_ id: UInt64, segment: UInt32, offset: UInt32) {
        precondition(keepsRecords, "a record is wanted that was not kept")
        asked.append((id, segment, offset))
    }

    public func takeReads(_ body: (_ id: UInt64, _ record: Span<UInt8>) -> Void) {
        let reads = asked
        asked.removeAll()
        for read in reads { Self.show(segments.value[read.segment >> 6], Int(read.offset)) { body(read.id, $0) } }
    }

    private static func show(_ segment: borrowing ByteBuffer, _ offset: Int, _ body: (Span<UInt8>) -> Void) {
        body(segment.span.extracting(offset + 4..<offset + 4 + Int(segment.span.uint32(at: offset))))
    }
}
