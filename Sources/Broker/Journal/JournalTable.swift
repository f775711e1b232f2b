import MartletBytes
import MartletCollections

/// The live segments that a machine writes settled records for, and where records went that compaction moved.
///
/// Invariant: a name or a place that was given out leads to its record for as long as one of the record's entries lives.
struct JournalTable: ~Copyable {
    private var segments = Slab<JournalSegment>()
    private var slots: [UInt32: UInt32] = [:]
    /// What was looked up last: settlements come in runs.
    private var lastNumber: UInt32 = .max
    private var lastSlot: UInt32 = 0
    private var moves: [UInt32: Moves] = [:]

    /// A record that was moved: one entry or several.
    struct Move: BitwiseCopyable {
        var ordinal: UInt32
        var count: UInt32
        var offset: UInt32
        var place: JournalCursor
    }
    /// Of one segment, by ordinal and so by offset.
    private struct Moves {
        var records: [Move] = []
        /// Entries that are still under way here.
        var liveCount = 0

        func last(where isBefore: (Move) -> Bool) -> Move? {
            var low = 0, high = records.count
            while low < high {
                let middle = (low + high) / 2
                if isBefore(records[middle]) { low = middle + 1 } else { high = middle }
            }
            return low > 0 ? records[low - 1] : nil
        }
    }

    var hasMoves: Bool { !moves.isEmpty }
    /// All segments, in no order.
    var numbers: some Collection<UInt32> { slots.keys }

    mutating func insert(_ segment: JournalSegment) { slots[segment.number] = segments.insert(segment) }

    mutating func remove(_ number: UInt32) {
        if let slot = slots.removeValue(forKey: number) { segments.remove(slot) }
        lastNumber = .max
    }

    func has(_ number: UInt32) -> Bool { slots[number] != nil }

    /// Looks at a segment or changes it; `nil` if it is not here.
    @inline(__always) mutating func update<Answer>(_ number: UInt32, _ body: (inout JournalSegment) -> Answer) -> Answer? {
        if number != lastNumber {
            guard let slot = slots[number] else { return nil }
            lastNumber = number
            lastSlot = slot
        }
        return body(&segments[lastSlot])
    }

    borrowing func segment(_ number: UInt32) -> JournalSegment? { slots[number].map { segments[$0] } }

    // MARK: Moved records

    mutating func noteMove(from segment: UInt32, _ move: Move, live: Int) {
        moves[segment, default: Moves()].records.append(move)
        moves[segment]?.liveCount += live
    }

    /// What an entry that is about to be settled is called now. Each name may be asked for once.
    mutating func takeName(_ segment: UInt32, _ ordinal: UInt32) -> (segment: UInt32, ordinal: UInt32) {
        var segment = segment, ordinal = ordinal
        while let move = moves[segment]?.last(where: { $0.ordinal <= ordinal }), ordinal - move.ordinal < move.count {
            moves[segment]?.liveCount -= 1
            if moves[segment]?.liveCount == 0 { moves[segment] = nil }
            ordinal = move.place.ordinal + (ordinal - move.ordinal)
            segment = move.place.segment
        }
        return (segment, ordinal)
    }

    /// Where a record lies now.
    func place(_ segment: UInt32, _ offset: UInt32) -> (segment: UInt32, offset: UInt32) {
        var segment = segment, offset = offset
        while let move = moves[segment]?.last(where: { $0.offset <= offset }), move.offset == offset {
            segment = move.place.segment
            offset = move.place.offset
        }
        return (segment, offset)
    }
}
