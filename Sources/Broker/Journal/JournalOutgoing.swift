import MartletBytes
import MartletCollections

/// Blocks on their way to the disk: appended, under way, or to be written again. One write at a time, in order; what is appended while
/// it is under way goes with the next one.
struct JournalOutgoing: ~Copyable {
    /// Blocks of one segment, one behind the other.
    struct Batch: BitwiseCopyable {
        var segment: UInt32
        var offset: UInt32
        var count: Int
        /// The last record's.
        var ticket: UInt64
        var isSynced: Bool
        var end: UInt32 { offset + UInt32(count) }
    }

    private var bytes = ByteBuffer()
    /// What `bytes` holds.
    private var batches = Ring<Batch>()
    private(set) var current: Batch?
    /// Bytes that a full disk did not take, with `current`.
    private var refused = ByteBuffer()
    private(set) var isRefused = false
    /// Memory of a write that is done, for what is appended next.
    private var spare = ByteBuffer()

    var waitingCount: Int { bytes.count + (current?.count ?? 0) }
    /// Whether a write can be taken.
    var isReady: Bool { current == nil ? !batches.isEmpty : isRefused }

    /// Whether the next write takes all that waits.
    var isLast: Bool { !isRefused && batches.count == 1 }

    /// Whose the next write is; of one that is ready.
    var nextSegment: UInt32 { isRefused ? current?.segment ?? 0 : batches[0].segment }

    /// Appends a block at `offset` of a segment, behind the last one of that segment.
    mutating func append(
        _ records: borrowing ByteBuffer, firstOrdinal: UInt32, order: UInt64, mark: UInt32, segment: UInt32, offset: UInt32
    ) -> Int {
        let before = bytes.count
        JournalBlock.append(records, firstOrdinal: firstOrdinal, order: order, mark: mark, to: &bytes)
        let count = bytes.count - before, last = batches.count - 1
        if last >= 0, batches[last].segment == segment {
            batches[last].count += count
        } else {
            let ticket = last >= 0 ? batches[last].ticket : current?.ticket ?? 0
            batches.append(Batch(segment: segment, offset: offset, count: count, ticket: ticket, isSynced: false))
        }
        return count
    }

    /// The last block's ticket. It is there: something was just appended.
    mutating func noteTicket(_ ticket: UInt64) { batches[batches.count - 1].ticket = ticket }
    /// The last block is to be synced when it is written.
    mutating func syncLast() { batches[batches.count - 1].isSynced = true }

    /// The next write. `synced`: up to where its segment is on disk.
    mutating func take(sync: Bool, synced: UInt32) -> JournalEffect {
        if isRefused, let batch = current {
            isRefused = false
            var again = ByteBuffer()
            swap(&again, &refused)
            return .write(segment: batch.segment, offset: batch.offset, bytes: again, sync: batch.isSynced)
        }
        var batch = batches.removeFirst(), taken = ByteBuffer()
        batch.isSynced = batch.isSynced || sync
        current = batch
        if batches.isEmpty {
            swap(&taken, &bytes)
            swap(&bytes, &spare)
        } else {
            taken.append(bytes.span.extracting(..<batch.count))
            bytes.consume(batch.count)
        }
        var at = 0
        while at < taken.count {
            taken.set(synced, at: at + 24)
            at += JournalFormat.blockBytes(records: Int(taken.span.uint32(at: at + 4)))
        }
        return .write(segment: batch.segment, offset: batch.offset, bytes: taken, sync: batch.isSynced)
    }

    mutating func written() -> Batch? {
        defer { current = nil }
        return current
    }

    /// Takes the memory of a write that is done. That of a large one is given back instead.
    mutating func reuse(_ memory: consuming ByteBuffer) {
        guard memory.capacity <= 4 << 20 else { return }
        memory.removeAll()
        spare = memory
    }

    /// The write came to nothing for now.
    mutating func refuse(_ bytes: consuming ByteBuffer) {
        refused = bytes
        isRefused = true
    }
}
