public import MartletBytes

/// What a `JournalMachine` wants done with the disk. Whoever drives it does them in order and answers each, but for `discard`, with a
/// `JournalCompletion`, in any order.
public enum JournalEffect: ~Copyable {
    /// Make the segment's file, from a spare one or anew, `JournalOptions.segmentBytes` long, its header written; file and name synced.
    case prepare(segment: UInt32)
    /// Seal the blocks (`JournalFormat.seal`) and write them; then sync, if asked to. One at a time.
    case write(segment: UInt32, offset: UInt32, bytes: ByteBuffer, sync: Bool)
    case sync(segment: UInt32)
    /// Read up to `count` bytes, fewer at the end of the file.
    case read(id: UInt64, segment: UInt32, offset: UInt32, count: Int)
    /// The file is needed no more: keep it as a spare, or remove it. Nobody waits for it.
    case discard(segment: UInt32)
}

/// What became of an effect.
public enum JournalCompletion: ~Copyable {
    case prepared(UInt32)
    /// The one write under way is done, and synced if it was to be.
    case written
    case synced(UInt32)
    /// No bytes: they could not be read.
    case read(id: UInt64, bytes: ByteBuffer)
    /// `bytes`: what was to be written, given back to be written again; empty for other effects.
    case failed(JournalFailure, bytes: ByteBuffer)
}

/// Why an effect came to nothing. No space for `prepare` or `write` passes; any other is final.
public struct JournalFailure: Error, Equatable, Sendable {
    public enum Step: Sendable { case prepare, write, sync }
    public var step: Step
    public var segment: UInt32
    /// The system's error number.
    public var code: Int32
    /// ENOSPC or EDQUOT: there may be room later.
    public var isNoSpace: Bool

    public init(_ step: Step, segment: UInt32, code: Int32, isNoSpace: Bool) {
        self.step = step
        self.segment = segment
        self.code = code
        self.isNoSpace = isNoSpace
    }
}
