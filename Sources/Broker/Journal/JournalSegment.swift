import MartletBytes

/// What is known of a segment: which of its entries are settled, and where its blocks begin.
///
/// A few bits an entry, and four bytes for every 64 KiB of the file.
public struct JournalSegment: Sendable {
    public let number: UInt32
    public let run: UInt64
    /// Entries written to it.
    public internal(set) var entries: UInt32 = 0
    public internal(set) var settledCount: UInt32 = 0
    /// Of the records that have entries, in bytes.
    public internal(set) var entryBytes: Int = 0
    /// The definitions' among them; known after recovery.
    var definitionBytes = 0
    /// Where its last block ends.
    public internal(set) var end = UInt32(JournalFormat.headerBytes)
    /// A stretch of it could not be read. It is not compacted.
    public internal(set) var isDamaged = false
    /// Bit i % 64 of word i / 64: entry i is settled. Short: the others are not.
    private(set) var settled: [UInt64] = []
    /// Where blocks begin, ascending: about one in 64 KiB, and the first one behind each damaged stretch.
    private(set) var blockStarts: [UInt32] = []
    private static let indexStep: UInt32 = 65_536

    init(_ number: UInt32, run: UInt64) {
        self.number = number
        self.run = run
    }

    public var liveCount: UInt32 { entries - settledCount }
    var isDead: Bool { settledCount == entries }
    /// Bytes of records with live entries, if they are as long as the others.
    var liveBytes: Int { entries == 0 ? 0 : entryBytes * Int(liveCount) / Int(entries) }

    func mayHaveLive(_ kind: UInt8) -> Bool {
        !isDead && (kind == JournalRecordKind.definition.rawValue ? definitionBytes > 0 : entryBytes > definitionBytes)
    }

    @inline(__always) func isSettled(_ ordinal: UInt32) -> Bool {
        let word = Int(ordinal >> 6)
        return word < settled.count && settled[word] >> UInt64(ordinal & 63) & 1 == 1
    }

    /// Whether all entries of a record are.
    @inline(__always) func isSettled(_ entry: JournalEntry) -> Bool {
        for index in 0..<entry.count where !isSettled(entry.ordinal &+ index) { return false }
        return true
    }

    /// Ends an entry; false if it had ended before, or never was.
    @inline(__always) @discardableResult mutating func settle(_ ordinal: UInt32) -> Bool {
        guard ordinal < entries else { return false }
        return mark(ordinal)
    }

    /// The same before all of the segment is known; then `forgetUnwritten`.
    @inline(__always) @discardableResult mutating func mark(_ ordinal: UInt32) -> Bool {
        let word = Int(ordinal >> 6), bit = UInt64(1) << UInt64(ordinal & 63)
        while word >= settled.count { settled.append(0) }
        if settled[word] & bit != 0 { return false }
        settled[word] |= bit
        settledCount += 1
        return true
    }

    /// Marks of entries that are not there count for nothing.
    mutating func forgetUnwritten() {
        let words = Int((entries + 63) >> 6)
        if settled.count > words { settled.removeLast(settled.count - words) }
        if settled.count == words, let last = settled.indices.last, entries & 63 != 0 { settled[last] &= 1 << UInt64(entries & 63) - 1 }
        settledCount = settled.reduce(0) { $0 + UInt32($1.nonzeroBitCount) }
    }

    /// The other's marks, too.
    mutating func adopt(_ other: JournalSegment) {
        while settled.count < other.settled.count { settled.append(0) }
        for word in other.settled.indices { settled[word] |= other.settled[word] }
    }

    /// A block begins at `offset`, behind all that are known. `always`: the one before it does not lead to it.
    mutating func noteBlock(at offset: UInt32, always: Bool = false) {
        if let last = blockStarts.last, !always, offset - last < Self.indexStep { return }
        blockStarts.append(offset)
    }

    /// The nearest known start of a block at or before `offset`, and the next one: whole blocks lie between them.
    func stretch(around offset: UInt32) -> Range<UInt32>? {
        var low = 0, high = blockStarts.count
        while low < high {
            let middle = (low + high) / 2
            if blockStarts[middle] <= offset { low = middle + 1 } else { high = middle }
        }
        guard low > 0, offset < end else { return nil }
        return blockStarts[low - 1]..<(low < blockStarts.count ? blockStarts[low] : end)
    }

    // MARK: In a checkpoint

    /// Of what `append(to:)` appends.
    var checkpointBytes: Int { 20 + settled.count * 8 }

    func append(to record: inout ByteBuffer) {
        record.append(number)
        record.append(run)
        record.append(entries)
        record.append(UInt32(settled.count * 8))
        for word in settled { record.append(word.byteSwapped) }
    }

    /// What a checkpoint said of it; then `forgetUnwritten`.
    mutating func adopt(settled words: Span<UInt8>) {
        for at in stride(from: 0, through: words.count - 8, by: 8) {
            var word = words.word(at: at)
            while word != 0 {
                mark(UInt32(at * 8 + word.trailingZeroBitCount))
                word &= word - 1
            }
        }
    }
}
