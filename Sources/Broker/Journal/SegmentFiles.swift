import MartletBytes
import MartletFiles

/// What one thread does with segments' files: keeps the one open that it used last.
struct SegmentFiles: ~Copyable {
    private let directory: JournalDirectory
    private let run: UInt64
    private var open: File?
    private var openSegment: UInt32 = 0
    /// The segment that something was written into which no sync followed.
    private(set) var unsynced: UInt32?

    init(_ directory: JournalDirectory, run: UInt64) {
        self.directory = directory
        self.run = run
    }

    /// Does it at once; `nil` for a discard that succeeded.
    mutating func perform(_ effect: consuming JournalEffect) -> JournalCompletion? {
        switch consume effect {
        case .prepare(let segment):
            do { try directory.prepare(segment, run: run) } catch { return .failed(Self.failure(.prepare, segment, error), bytes: ByteBuffer()) }
            return .prepared(segment)
        case .write(let segment, let offset, var bytes, let isSynced):
            let end = offset + UInt32(bytes.count)
            do { try write(segment, offset: offset, &bytes) } catch { return .failed(Self.failure(.write, segment, error), bytes: bytes) }
            do { if isSynced { try sync(segment) } } catch { return .failed(Self.failure(.sync, segment, error), bytes: bytes) }
            directory.noteWritten(segment, upTo: end)
            return .written
        case .sync(let segment):
            do { try sync(segment) } catch { return .failed(Self.failure(.sync, segment, error), bytes: ByteBuffer()) }
            return .synced(segment)
        case .read(let id, let segment, let offset, let count):
            var bytes = ByteBuffer()
            do { try read(segment, offset: offset, count: count, into: &bytes) } catch { bytes.removeAll() }
            return .read(id: id, bytes: bytes)
        case .discard(let segment):
            do { try discard(segment) } catch {}
            return nil
        }
    }

    mutating func write(_ segment: UInt32, offset: UInt32, _ bytes: inout ByteBuffer) throws(FileError) {
        try use(segment, .writing)
        JournalFormat.seal(&bytes, segment: segment, run: run, offset: offset)
        unsynced = segment
        try open?.write(bytes.span, at: Int(offset))
    }

    mutating func sync(_ segment: UInt32) throws(FileError) {
        try use(segment, .writing)
        try open?.syncData()
        unsynced = nil
    }

    mutating func read(_ segment: UInt32, offset: UInt32, count: Int, into bytes: inout ByteBuffer) throws(FileError) {
        try use(segment, .reading)
        try open?.read(count, at: Int(offset), into: &bytes)
    }

    mutating func discard(_ segment: UInt32) throws(FileError) {
        if openSegment == segment { open = nil }
        try directory.discard(segment)
    }

    /// Opens the segment's file. One that is left behind is synced first, if it is not.
    private mutating func use(_ segment: UInt32, _ access: File.Access) throws(FileError) {
        if open != nil, openSegment == segment { return }
        if unsynced != nil { try open?.syncData() }
        unsynced = nil
        open = nil
        open = try File(directory.file(of: segment), access)
        openSegment = segment
    }

    static func failure(_ step: JournalFailure.Step, _ segment: UInt32, _ error: FileError) -> JournalFailure {
        JournalFailure(step, segment: segment, code: error.errno, isNoSpace: step != .sync && (error.isFull || error.isTooManyFiles))
    }
}
