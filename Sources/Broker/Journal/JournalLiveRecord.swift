import MartletBytes

/// A record that recovery hands out: at least one of its entries lives. Its bytes are there during the call only.
public struct JournalLiveRecord: ~Escapable {
    public let kind: UInt8
    /// Where its length is: what `Journal.read` wants to be told.
    public let segment: UInt32
    public let offset: UInt32
    /// Of its first entry; the others follow.
    public let ordinal: UInt32
    public let count: Int
    public let order: UInt64
    public let payload: Span<UInt8>
    private let settledMask: UInt64
    /// Only if it has more entries than the mask has bits.
    private let whole: JournalSegment?

    /// The record with this entry, between two offsets of bytes that lie at `base` of the segment.
    @_lifetime(copy bytes)
    init(_ entry: JournalEntry, in bytes: Span<UInt8>, from start: Int, to end: Int, base: Int, of state: borrowing JournalSegment) {
        kind = bytes[start + 4]
        segment = state.number
        offset = UInt32(base + start)
        ordinal = entry.ordinal
        count = Int(entry.count)
        order = entry.order
        payload = bytes.extracting(start + JournalFormat.entryHeaderBytes..<end)
        var mask: UInt64 = 0
        for index in 0..<min(entry.count, 64) where state.isSettled(entry.ordinal + index) { mask |= 1 << UInt64(index) }
        settledMask = mask
        whole = entry.count > 64 ? copy state : nil
    }

    /// Whether the record's entry number `index` has ended.
    public func isSettled(_ index: Int) -> Bool {
        whole.map { $0.isSettled(ordinal + UInt32(index)) } ?? (settledMask >> UInt64(index) & 1 == 1)
    }
}
