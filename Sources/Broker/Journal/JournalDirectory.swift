public import MartletBytes
import MartletFiles
import Synchronization

/// The data directory: its lock, its superblock, and the files of the segments. Documentation/journal.md has their forms.
///
/// Invariant: one process has it open. Everything here blocks, and may be called on several threads, but each segment is one thread's.
/// Not here: what the bytes of a segment mean.
public final class JournalDirectory: JournalStore, Sendable {
    public let path: String
    private let lock: File
    private let state: Mutex<State>

    private struct State: Sendable {
        var run: UInt64
        var segmentBytes = JournalOptions().segmentBytes
        var spares: [Spare] = []
        var spareNumber = 0
        var counters = Counters()
        /// By stream: where it ends that was written since the directory was opened.
        var ends: [Int: JournalEnd] = [:]
        /// How many copies are being made, and what is not discarded for their sake.
        var copies = 0
        var kept: [UInt32] = []
        /// Discards under way.
        var discarding = 0
    }

    private struct Spare {
        var name: String
        /// Whether that it has this name, and no segment's any more, is on the disk.
        var isNameSynced: Bool
    }

    /// What was done with files since it was opened.
    public struct Counters: Sendable, Equatable {
        /// Segments made, those from spare files among them.
        public var prepared = 0
        public var recycled = 0
        public var discarded = 0
    }

    /// Spare files that are kept; more are removed.
    static let sparesMax = 8

    /// Opens a data directory and locks it. `isMade`: one that is missing is made (0700, below a parent that is there), as is the
    /// superblock in an empty one; otherwise both have to be there.
    public init(_ path: String, isMade: Bool = true) throws(JournalError) {
        self.path = path
        do {
            if isMade, try Directory.make(path) { try Directory.sync(Self.parent(of: path)) }
            var names = try Directory.list(path)
            if !names.contains("journal") { try Self.refuseForeign(names, in: path, isMade: isMade) }
            let lock = try Self.lock(path)
            names = try Directory.list(path)  // another process may have been here until now
            let hasSuperblock = names.contains("journal")
            let run = hasSuperblock ? try Superblock.read(in: path) : 0
            if !hasSuperblock { try Superblock.replace(in: path, run: 0) }
            var state = State(run: run)
            for name in names where name.hasPrefix("preparing-") && isMade { try Directory.remove("\(path)/\(name)") }
            for name in names where name.hasPrefix("spare-") {
                guard let number = Int(name.dropFirst(6)) else { continue }
                state.spares.append(Spare(name: name, isNameSynced: true))
                state.spareNumber = max(state.spareNumber, number)
            }
            self.lock = lock
            self.state = Mutex(state)
        } catch {
            throw (error as? JournalError) ?? JournalError(error)
        }
    }

    static func parent(of path: String) -> String {
        var parent = path[...]
        while parent.count > 1, parent.last == "/" { parent.removeLast() }
        guard let slash = parent.lastIndex(of: "/") else { return "." }
        return slash == parent.startIndex ? "/" : String(parent[..<slash])
    }

    /// Without a superblock, only what a first start leaves behind that was cut short may be there, and a volume's lost+found.
    private static func refuseForeign(_ names: [String], in path: String, isMade: Bool) throws(JournalError) {
        if names.contains(where: { segment(named: $0) != nil }) {
            throw JournalError("\(path) holds segments of a journal, but its superblock \(path)/journal is missing; restore it from a backup")
        }
        let own = ["lock", "lost+found", Superblock.replacement]
        if let foreign = names.sorted().first(where: { !own.contains($0) && !$0.hasPrefix("preparing-") && !$0.hasPrefix("spare-") }) {
            throw JournalError("\(path) is not a journal and not empty (\(foreign) is there); name a directory that is the journal's alone", .foreign)
        }
        if !isMade { throw JournalError("\(path) is not a journal: it has no superblock \(path)/journal", .foreign) }
    }

    private static func lock(_ path: String) throws -> File {
        let file = try File(path + "/lock", .making)
        if case .held(let process) = try file.lockForProcess() {
            let holder = process.map { "process \($0)" } ?? "another process"
            throw JournalError("\(path) is in use by \(holder); a journal belongs to one server", .inUse)
        }
        return file
    }

    /// How long segments are that are prepared from now on.
    public func use(_ options: JournalOptions) { state.withLock { $0.segmentBytes = options.segmentBytes } }

    public var counters: Counters { state.withLock { $0.counters } }

    // MARK: JournalStore

    public var run: UInt64 { state.withLock { $0.run } }

    public func begin(run: UInt64) throws(JournalError) {
        do { try Superblock.replace(in: path, run: run) } catch { throw JournalError("\(error)") }
        state.withLock { $0.run = run }
    }

    public func segments() throws(JournalError) -> [JournalFile] {
        do {
            var files: [JournalFile] = []
            for name in try Directory.list(path) {
                guard let segment = Self.segment(named: name) else { continue }
                files.append(JournalFile(segment: segment, byteCount: try File("\(path)/\(name)", .reading).size()))
            }
            return files
        } catch { throw JournalError("\(error)") }
    }

    public func read(_ segment: UInt32, offset: UInt32, count: Int, into bytes: inout ByteBuffer) throws(JournalError) {
        do { try File(file(of: segment), .reading).read(count, at: Int(offset), into: &bytes) } catch { throw JournalError("\(error)") }
    }

    public func quarantine(_ segment: UInt32, offset: UInt32, _ bytes: Span<UInt8>) throws(JournalError) {
        let directory = path + "/quarantine"
        do {
            if try Directory.make(directory) { try Directory.sync(path) }
            let file = try File("\(directory)/\(Self.hex(segment))-\(Self.hex(offset))", .making)
            try file.truncate(to: 0)
            try file.write(bytes, at: 0)
            try file.sync()
            try Directory.sync(directory)
        } catch { throw JournalError("\(error)") }
    }

    public func perform(_ effect: consuming JournalEffect, run: UInt64) -> JournalCompletion? {
        var files = SegmentFiles(self, run: run)
        return files.perform(effect)
    }

    // MARK: Segments

    func file(of segment: UInt32) -> String { "\(path)/\(Self.hex(segment)).segment" }

    /// Eight digits.
    static func hex(_ number: UInt32) -> String {
        let digits = String(number, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    static func segment(named name: String) -> UInt32? {
        guard name.hasSuffix(".segment"), name.utf8.count == 16, let segment = UInt32(name.prefix(8), radix: 16) else { return nil }
        return hex(segment) + ".segment" == name ? segment : nil
    }

    /// Makes a segment's file: from a spare one, which is already on the disk in full, or anew.
    func prepare(_ segment: UInt32, run: UInt64) throws(FileError) {
        let (spare, byteCount) = state.withLock { ($0.spares.popLast(), $0.segmentBytes) }
        guard let spare else {
            let temporary = "\(path)/preparing-\(Self.hex(segment))"
            do { try prepare(segment, run: run, from: temporary, byteCount) } catch {
                try? Directory.remove(temporary)
                throw error
            }
            return
        }
        do {
            if !spare.isNameSynced { try Directory.sync(path) }
            try prepare(segment, run: run, from: "\(path)/\(spare.name)", byteCount)
            state.withLock { $0.counters.recycled += 1 }
        } catch {
            state.withLock { $0.spares.append(spare) }
            throw error
        }
    }

    /// The file gets its header before its name, so that no segment is without one.
    private func prepare(_ segment: UInt32, run: UInt64, from path: String, _ byteCount: Int) throws(FileError) {
        let file = try File(path, .making)
        let size = try file.size()
        if size > byteCount { try file.truncate(to: byteCount) }
        if size < byteCount {
            try file.allocate(byteCount - size, at: size)
            try file.writeZeros(byteCount - size, at: size)
        }
        var header = ByteBuffer()
        JournalFormat.appendHeader(segment: segment, run: run, byteCount: UInt32(byteCount), to: &header)
        try file.write(header.span, at: 0)
        try file.syncData()
        try Directory.rename(path, to: self.file(of: segment))
        try Directory.sync(self.path)
        state.withLock { state in
            state.counters.prepared += 1
            for index in state.spares.indices { state.spares[index].isNameSynced = true }
        }
    }

    /// Keeps the file for a later segment, or removes it if there are enough. While a copy is made it is left alone.
    func discard(_ segment: UInt32) throws(FileError) {
        let isKept = state.withLock { state in
            if state.copies > 0 { state.kept.append(segment) } else { state.discarding += 1 }
            return state.copies > 0
        }
        if isKept { return }
        defer { state.withLock { $0.discarding -= 1 } }
        try discardNow(segment)
    }

    private func discardNow(_ segment: UInt32) throws(FileError) {
        let spare = state.withLock { state -> String? in
            state.counters.discarded += 1
            guard state.spares.count < Self.sparesMax else { return nil }
            state.spareNumber += 1
            return "spare-\(state.spareNumber)"
        }
        guard let spare else { return try Directory.remove(file(of: segment)) }
        try Directory.rename(file(of: segment), to: "\(path)/\(spare)")
        state.withLock { $0.spares.append(Spare(name: spare, isNameSynced: false)) }
    }

    /// Removes the files that are kept for later segments.
    public func removeSpares() throws(JournalError) {
        let spares = state.withLock { state in
            let spares = state.spares
            state.spares = []
            return spares
        }
        do {
            for spare in spares { try Directory.remove("\(path)/\(spare.name)") }
            try Directory.sync(path)
        } catch { throw JournalError("\(error)") }
    }

    // MARK: Copies

    /// Blocks of a stream were written up to here, and synced if they were to be.
    func noteWritten(_ segment: UInt32, upTo offset: UInt32) {
        state.withLock { $0.ends[JournalFormat.shard(of: segment)] = JournalEnd(segment: segment, offset: offset) }
    }

    /// From now on nothing is discarded. Answers where each stream ends now.
    func holdDiscards() -> [Int: JournalEnd] {
        let ends = state.withLock { state in
            state.copies += 1
            return state.ends
        }
        let pause = Signal()
        while state.withLock({ $0.discarding > 0 }) { _ = pause.wait(atMost: .milliseconds(1)) }
        return ends
    }

    /// Discards what was to be discarded meanwhile, after the last copy.
    func releaseDiscards() {
        let kept = state.withLock { state in
            state.copies -= 1
            guard state.copies == 0 else { return [UInt32]() }
            let kept = state.kept
            state.kept = []
            return kept
        }
        for segment in kept { try? discard(segment) }
    }
}

/// The file `journal`: which form the directory has, and the last run that began whole.
private enum Superblock {
    static let byteCount = 24
    /// What the next one is called until it takes the place of the old one.
    static let replacement = "journal.next"

    static func read(in directory: String) throws -> UInt64 {
        let path = directory + "/journal"
        let bytes = try File(path, .reading).readAll(upTo: 4096)
        let damaged = JournalError("the superblock \(path) is damaged; restore it from a backup")
        guard bytes.count >= 12, bytes.starts(with: "MARTLETJ".utf8) else { throw damaged }
        let version = bytes.span.uint32(at: 8)
        let isWhole = bytes.count == byteCount && CRC32C(bytes.span.extracting(0..<byteCount - 4)).value == bytes.span.uint32(at: byteCount - 4)
        if version > JournalFormat.version, isWhole || bytes.count != byteCount {
            throw JournalError("\(directory) was written by a newer martlet (format \(version)); this one knows format \(JournalFormat.version)")
        }
        guard isWhole, version == JournalFormat.version else { throw damaged }
        return bytes.span.uint64(at: 12)
    }

    /// In one step: after a crash it is the old one or the one that is written here.
    static func replace(in directory: String, run: UInt64) throws(FileError) {
        var bytes = ByteBuffer()
        bytes.append(utf8: "MARTLETJ")
        bytes.append(JournalFormat.version)
        bytes.append(run)
        bytes.append(CRC32C(bytes.span).value)
        let file = try File("\(directory)/\(replacement)", .making)
        try file.truncate(to: 0)
        try file.write(bytes.span, at: 0)
        try file.sync()
        try Directory.rename("\(directory)/\(replacement)", to: "\(directory)/journal")
        try Directory.sync(directory)
    }
}
