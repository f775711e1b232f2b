public import MartletBytes

/// A directory of segments, as recovery sees it: files (`JournalDirectory`), or a disk in memory for tests.
///
/// Everything here may block: it is called before the loops run, and by offline commands.
public protocol JournalStore: AnyObject {
    /// The last run that began whole; 0 if none did.
    var run: UInt64 { get }

    /// All segments, in any order.
    func segments() throws(JournalError) -> [JournalFile]

    /// Appends `count` bytes of a segment from `offset` on to `bytes`; fewer only at the file's end.
    func read(_ segment: UInt32, offset: UInt32, count: Int, into bytes: inout ByteBuffer) throws(JournalError)

    /// Keeps a copy of a damaged stretch for whoever wants to look at it.
    func quarantine(_ segment: UInt32, offset: UInt32, _ bytes: Span<UInt8>) throws(JournalError)

    /// Does one effect of a machine of `run` at once; `nil` for a `discard`.
    func perform(_ effect: consuming JournalEffect, run: UInt64) -> JournalCompletion?

    /// Makes `run` the last one that began whole; on disk when this returns.
    func begin(run: UInt64) throws(JournalError)
}

/// A segment's file.
public struct JournalFile: Equatable, Sendable, BitwiseCopyable {
    public var segment: UInt32
    public var byteCount: Int

    public init(segment: UInt32, byteCount: Int) {
        self.segment = segment
        self.byteCount = byteCount
    }
}

/// Why a journal cannot be used, in words for the log.
public struct JournalError: Error, Equatable, Sendable, CustomStringConvertible {
    public enum Kind: Sendable {
        /// It is damaged, or its disk has failed.
        case unusable
        /// A server has it open.
        case inUse
        /// This user may not.
        case forbidden
        /// The directory is not there, or is no journal.
        case foreign
    }
    public var description: String
    public var kind: Kind

    public init(_ description: String, _ kind: Kind = .unusable) {
        self.description = description
        self.kind = kind
    }
}
