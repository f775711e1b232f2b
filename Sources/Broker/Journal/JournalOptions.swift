/// When what was written is also synced, and so survives a loss of power. What was written survives the end of the process.
public enum JournalSync: Equatable, Sendable {
    /// Before it is acknowledged.
    case always
    /// Every so often; acknowledged when it is written.
    case interval(Duration)
    /// When a segment is full; acknowledged when it is written.
    case never
}

public struct JournalOptions: Equatable, Sendable {
    /// The length of a segment's file, in bytes; at least 4096.
    public var segmentBytes: Int
    public var sync: JournalSync
    /// How long what is acknowledged may wait for more before it is written, where that saves commits (`JournalGathering`); zero: not at all.
    public var gatherTime = Duration.milliseconds(1)
    /// When more bytes than this wait for the disk, there is no room for more messages.
    public var waitingBytesMax = 64 << 20
    /// How long to wait before what failed for lack of space is tried again.
    public var retryInterval = Duration.milliseconds(500)

    public init(segmentBytes: Int = 16 << 20, sync: JournalSync = .always) {
        self.segmentBytes = segmentBytes
        self.sync = sync
    }

    /// A block that would begin beyond this goes to the next segment, if that one is prepared.
    var rollOffset: Int { segmentBytes - min(1 << 20, segmentBytes / 16) }
}
