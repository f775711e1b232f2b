public import MartletBytes

/// What makes records last. A shard gives it the records of a tick; it says later up to where they are on disk.
///
/// Nothing here blocks. Tickets grow by one a record and complete in order. A journal that works on a thread of its own wakes its loop
/// when it has something to say. The records' form is in Documentation/journal.md.
public protocol Journal: AnyObject {
    /// Where the first record of the next `append` will lie; constant from one append to the next.
    var cursor: JournalCursor { get }

    /// Takes the records of one tick as one block: after a crash all of them are there, or none. `ticket`: the last one's; `order`: the
    /// block's, greater than every one before. `records` is empty afterwards.
    func append(_ records: inout ByteBuffer, upTo ticket: UInt64, order: UInt64, at now: Instant)

    /// Up to which ticket everything is on disk; with `JournalSync.interval` and `.never`, up to which it is written.
    func completed(at now: Instant) -> UInt64

    /// When `completed` may have more to say; `.never` if nothing is under way.
    var deadline: Instant { get }

    /// Whether there is no room for more messages for now. Settled records and definitions are always taken.
    var isFull: Bool { get }

    /// Whether what was written can be read again, so that messages may be left to the journal alone.
    var keepsRecords: Bool { get }

    /// What was written and synced so far; of a journal without a disk nothing.
    var counters: JournalCounters { get }

    /// Asks for the record at a place: a segment, and the offset of the record's length in it. Answers come in any order.
    func read(_ id: UInt64, segment: UInt32, offset: UInt32)

    /// Returns when everything that was appended is on disk, or after `time`: false if not everything could be written by then. Nothing is
    /// appended any more. **Blocks.**
    func finish(at now: Instant, within time: Duration) -> Bool

    /// The records that `completed` has heard of since the last call, each from its kind on, as it was written or moved. An empty one could not be
    /// read: it is damaged.
    func takeReads(_ body: (_ id: UInt64, _ record: Span<UInt8>) -> Void)
}

extension Journal {
    public var counters: JournalCounters { JournalCounters() }
}

/// Where a record lies, and what its entries are called: (segment, ordinal), (segment, ordinal + 1), …
public struct JournalCursor: Equatable, Sendable, BitwiseCopyable {
    public var segment: UInt32
    /// In bytes, in the segment's file.
    public var offset: UInt32
    /// Entries before it in the segment.
    public var ordinal: UInt32

    public init(segment: UInt32, offset: UInt32, ordinal: UInt32) {
        self.segment = segment
        self.offset = offset
        self.ordinal = ordinal
    }
}
