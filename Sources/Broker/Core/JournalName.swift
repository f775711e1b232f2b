/// Names an entry of the journal as long as it lives: a message in one queue, a retained message, or a definition. Names are given out once
/// and stay good until the server stops; after a restart the journal gives each entry that lives a name again.
public struct JournalName: Hashable, Sendable, BitwiseCopyable {
    public let segment: UInt32
    /// Counts the entries of a segment.
    public let ordinal: UInt32

    public init(segment: UInt32, ordinal: UInt32) {
        self.segment = segment
        self.ordinal = ordinal
    }

    /// Of what is not in the journal.
    public static var none: JournalName { JournalName(segment: 0, ordinal: 0) }
    public var isNone: Bool { segment == 0 }

    public func advanced(by count: Int) -> JournalName { JournalName(segment: segment, ordinal: ordinal &+ UInt32(truncatingIfNeeded: count)) }

    /// The shard that writes it down when an entry of this segment ends. A segment's number says which shard began it; where fewer shards
    /// run now, the first has those of the others.
    func owner(of shards: Int) -> UInt8 {
        let shard = UInt8(segment & 63)
        return Int(shard) < shards ? shard : 0
    }
}

/// Where this tick's records will lie in the journal.
public struct JournalTail: BitwiseCopyable, Sendable {
    public let segment: UInt32
    /// Of the first of them.
    public let offset: UInt32
    /// Of the next entry.
    public internal(set) var ordinal: UInt32

    public init(segment: UInt32, offset: UInt32, ordinal: UInt32) {
        self.segment = segment
        self.offset = offset
        self.ordinal = ordinal
    }
}
