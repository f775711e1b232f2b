import MartletBytes
import MartletFiles

/// Up to where a stream is written: a segment, and where its last block ends.
struct JournalEnd: Equatable, Sendable, BitwiseCopyable {
    var segment: UInt32
    var offset: UInt32
}

extension JournalError {
    /// Of a call on a file.
    init(_ error: any Error) {
        let failure = error as? FileError
        self.init("\(error)", failure?.isForbidden == true ? .forbidden : failure?.isMissing == true ? .foreign : .unusable)
    }
}

/// What a backup consists of.
public struct JournalBackup: Equatable, Sendable {
    public internal(set) var segments = 0
    public internal(set) var bytes = 0
}

extension JournalDirectory {
    /// Copies the journal while it is being written: a prefix of each stream, with all that was completed when this was called. That is a state
    /// that a crash could have left, so a server that is started on the copy recovers from it.
    ///
    /// `target` is made, or is an empty directory. `progress` is told bytes done and all; its answer false gives up. What was copied is on disk when
    /// this returns, and only then does the copy pass for a journal; after a failure its files are removed. Segments that are needed no more are
    /// kept until it is done.
    public func backUp(to target: String, progress: (Int, Int) -> Bool) throws(JournalError) -> JournalBackup {
        let ends = holdDiscards()
        defer { releaseDiscards() }
        do {
            if try !Directory.make(target), try !Directory.list(target).isEmpty { throw JournalError("\(target) is there and not empty: name a new directory") }
            let pieces = try pieces(upTo: ends)
            var made: [String] = []
            do { return try copy(pieces, to: target, &made, progress) } catch {
                for path in made { try? Directory.remove(path) }
                throw error
            }
        } catch { throw (error as? JournalError) ?? JournalError(error) }
    }

    /// A segment's file, how long it is, and how much of it is to be copied.
    private struct Piece {
        var name: String
        var byteCount: Int
        var count: Int
    }

    private func pieces(upTo ends: [Int: JournalEnd]) throws -> [Piece] {
        var pieces: [Piece] = []
        for file in try segments() {
            var count = file.byteCount
            // A stream that nobody writes any more is copied whole.
            if let end = ends[JournalFormat.shard(of: file.segment)] {
                if file.segment > end.segment { continue }
                if file.segment == end.segment { count = min(count, Int(end.offset)) }
            }
            pieces.append(Piece(name: "\(Self.hex(file.segment)).segment", byteCount: file.byteCount, count: count))
        }
        return pieces.sorted { $0.name < $1.name }
    }

    private func copy(_ pieces: [Piece], to target: String, _ made: inout [String], _ progress: (Int, Int) -> Bool) throws -> JournalBackup {
        let all = pieces.reduce(0) { $0 + $1.count }, available = try Directory.volume(of: target).available
        guard available > UInt64(all) else { throw JournalError("\(target) has room for \(available) bytes, and the journal has \(all)") }
        var backup = JournalBackup()
        for piece in pieces {
            made.append("\(target)/\(piece.name)")
            try copy(piece, to: target) { count in
                backup.bytes += count
                return progress(backup.bytes, all)
            }
            backup.segments += 1
        }
        try Directory.sync(target)
        made.append("\(target)/journal")
        try copySuperblock(to: target)
        try Directory.sync(target)
        try Directory.sync(Self.parent(of: target))
        return backup
    }

    /// `goesOn`: told how much has been copied since it was asked last.
    private func copy(_ piece: Piece, to target: String, goesOn: (Int) -> Bool) throws(JournalError) {
        do throws(FileError) {
            let source = try File("\(path)/\(piece.name)", .reading), copy = try File("\(target)/\(piece.name)", .makingAnew)
            if try Self.copy(piece.count, from: source, to: copy, goesOn: goesOn) {
                // As long as its header says.
                if piece.count < piece.byteCount { try copy.truncate(to: piece.byteCount) }
                return try copy.sync()
            }
        } catch { throw JournalError(error) }
        throw JournalError("the copy was given up")
    }

    private static func copy(_ count: Int, from source: borrowing File, to copy: borrowing File, goesOn: (Int) -> Bool) throws(FileError) -> Bool {
        var buffer = ByteBuffer()
        for offset in stride(from: 0, to: count, by: 1 << 20) {
            buffer.removeAll()
            try source.read(min(1 << 20, count - offset), at: offset, into: &buffer)
            try copy.write(buffer.span, at: offset)
            guard goesOn(buffer.count) else { return false }
        }
        return true
    }

    private func copySuperblock(to target: String) throws(JournalError) {
        do throws(FileError) {
            let bytes = try File("\(path)/journal", .reading).readAll(upTo: 4096)
            let copy = try File("\(target)/journal", .makingAnew)
            try copy.write(bytes.span, at: 0)
            try copy.sync()
        } catch { throw JournalError(error) }
    }
}
