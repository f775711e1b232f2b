import MartletBytes

/// What a stream said of the segments that lived before one of its own.
struct JournalCheckpoint {
    struct Listed {
        var run: UInt64
        var entries: UInt32
        /// Of its bitmap, in `bytes`.
        var bits: Range<Int>
    }
    /// Where it stands.
    let segment: UInt32
    let offset: UInt32
    /// Loops of the run.
    private(set) var shards = 0
    private(set) var listed: [UInt32: Listed] = [:]
    private let bytes: [UInt8]

    /// `record`: behind its kind.
    init(_ record: Span<UInt8>, segment: UInt32, offset: UInt32) {
        self.segment = segment
        self.offset = offset
        bytes = record.array
        var reader = ByteReader(record)
        guard let shards = reader.readUInt32(), let count = reader.readUInt32() else { return }
        self.shards = Int(shards)
        for _ in 0..<count {
            guard let number = reader.readUInt32(), let run = reader.readUInt64(), let entries = reader.readUInt32(), let length = reader.readUInt32(),
                let bits = reader.readRange(Int(length))
            else { return }
            listed[number] = Listed(run: run, entries: entries, bits: Int(bits.start)..<bits.end)
        }
    }

    func forEachListed(_ body: (UInt32, Span<UInt8>) -> Void) {
        for (number, listed) in listed { body(number, bytes.span.extracting(listed.bits)) }
    }
}
