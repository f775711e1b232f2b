import MartletBytes

/// One segment, read from its beginning: its valid blocks and what lies between them.
///
/// A block counts if its checksum holds, whatever stands before it, unless what stands before it may never have been on disk: then it
/// was part of an interrupted write, and with it goes everything behind it, so that what is recovered is what was written up to a moment.
struct JournalScan {
    var segment: JournalSegment
    /// Bytes of valid blocks, one behind the other.
    var stretches: [Range<UInt32>] = []
    var damage: [Range<UInt32>] = []
    /// Where the valid blocks end, and whether the last one says that the segment does.
    private(set) var end = JournalFormat.headerBytes
    private(set) var isClosed = false
    /// The stream goes on in a later segment, so all of this one was on disk.
    let isFollowed: Bool
    /// What follows looks like a block and is none.
    private(set) var isTorn = false
    /// Up to where it certainly was on disk.
    private(set) var synced: UInt32 = 0
    var hasBlocks: Bool { !stretches.isEmpty }

    /// `entriesKnown`: so many entries were on disk, of a segment that a checkpoint lists. `visit` gets every valid block in order.
    init(
        _ bytes: Span<UInt8>, of number: UInt32, run: UInt64, isFollowed: Bool, entriesKnown: UInt32? = nil,
        _ visit: (Span<UInt8>, JournalBlock, inout JournalSegment) -> Void
    ) {
        segment = JournalSegment(number, run: run)
        self.isFollowed = isFollowed
        let mark = JournalFormat.mark(segment: number, run: run)
        var start = end, isFollowedByBlock = false
        while segment.entries < entriesKnown ?? .max {
            if let block = JournalBlock(in: bytes, at: end, base: 0, segment: number, run: run), block.firstOrdinal >= segment.entries {
                take(block, bytes, isFirst: end == start, visit)
                isClosed = block.count == 0
                if isClosed { break }
                continue
            }
            let next = Self.nextBlock(in: bytes, from: end + 8, mark, of: segment)
            isFollowedByBlock = next != nil
            guard let next,
                isFollowed || (entriesKnown.map { next.firstOrdinal < $0 } ?? (Self.syncedOffset(in: bytes, from: next, mark, of: segment) > end))
            else { break }
            if end > start { stretches.append(UInt32(start)..<UInt32(end)) }
            damage.append(UInt32(end)..<UInt32(next.start))
            end = next.start
            start = end
        }
        if end > start { stretches.append(UInt32(start)..<UInt32(end)) }
        segment.end = UInt32(end)
        segment.isDamaged = !damage.isEmpty
        isTorn = !isClosed && (isFollowedByBlock || end + 4 <= bytes.count && JournalFormat.isMark(bytes.uint32(at: end), mark))
    }

    private mutating func take(
        _ block: JournalBlock, _ bytes: Span<UInt8>, isFirst: Bool, _ visit: (Span<UInt8>, JournalBlock, inout JournalSegment) -> Void
    ) {
        // Entries that a damaged stretch held will never be settled by anyone.
        while segment.entries < block.firstOrdinal {
            segment.mark(segment.entries)
            segment.entries += 1
        }
        segment.noteBlock(at: UInt32(block.start), always: isFirst)
        synced = max(synced, block.synced)
        visit(bytes.extracting(block.records), block, &segment)
        end = block.end
    }

    /// The first valid block at or behind an offset.
    private static func nextBlock(in bytes: Span<UInt8>, from offset: Int, _ mark: UInt32, of segment: JournalSegment) -> JournalBlock? {
        var at = offset
        while at + JournalFormat.blockHeaderBytes <= bytes.count {
            if JournalFormat.isMark(bytes.uint32(at: at), mark),
                let block = JournalBlock(in: bytes, at: at, base: 0, segment: segment.number, run: segment.run),
                block.firstOrdinal >= segment.entries
            {
                return block
            }
            at += 8
        }
        return nil
    }

    /// Up to where the segment was on disk, as a block and those behind it say.
    private static func syncedOffset(in bytes: Span<UInt8>, from block: JournalBlock, _ mark: UInt32, of segment: JournalSegment) -> Int {
        var synced = 0, block: JournalBlock? = block
        while let valid = block {
            synced = max(synced, Int(valid.synced))
            block = nextBlock(in: bytes, from: valid.end, mark, of: segment)
        }
        return synced
    }
}
