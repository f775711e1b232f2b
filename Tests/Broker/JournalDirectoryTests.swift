import Glibc
import MartletBytes
import MartletFiles
import MartletJournal
import MartletTestSupport
import Testing

@Suite struct JournalDirectoryTests {
    private let options = JournalOptions(segmentBytes: 64 << 10)

    @Test func `a missing directory is made for this user alone, and is found again`() throws {
        let temporary = try TemporaryDirectory()
        let path = temporary.path + "/journal"
        do {
            let directory = try reopenedDirectory(path)
            #expect(directory.run == 0)
            #expect(try Set(Directory.list(path)) == ["journal", "lock"])
            try directory.begin(run: 7)
            #expect(directory.run == 7)
        }
        #expect(try reopenedDirectory(path).run == 7)
        #expect(try reopenedDirectory(path, isMade: false).run == 7)
        #expect(error { _ = try reopenedDirectory(temporary.path + "/no/journal") } == "cannot make \(temporary.path)/no/journal: no such file or directory")
    }

    @Test func `a foreign directory is left alone`() throws {
        let place = try TemporaryDirectory()
        _ = try File(place.path + "/notes.txt", .making)
        #expect(
            error { _ = try reopenedDirectory(place.path) }
                == "\(place.path) is not a journal and not empty (notes.txt is there); name a directory that is the journal's alone")
        #expect(try Directory.list(place.path) == ["notes.txt"])
        let empty = try TemporaryDirectory()
        #expect(error { _ = try reopenedDirectory(empty.path, isMade: false) } == "\(empty.path) is not a journal: it has no superblock \(empty.path)/journal")
    }

    @Test func `a start that was cut short is no foreign directory`() throws {
        let place = try TemporaryDirectory()
        for name in ["lock", "journal.next", "preparing-00000001", "lost+found"] { _ = try File("\(place.path)/\(name)", .making) }
        _ = try reopenedDirectory(place.path)
        #expect(try Set(Directory.list(place.path)) == ["journal", "lock", "lost+found"])
    }

    @Test func `every bit of the superblock counts, and a newer one is told from a damaged one`() throws {
        let place = try TemporaryDirectory()
        do { try reopenedDirectory(place.path).begin(run: 3) }
        let path = place.path + "/journal"
        let good = try File(path, .reading).readAll(upTo: 100)
        #expect(good.count == 24)
        let damaged = "the superblock \(path) is damaged; restore it from a backup"
        for bit in 0..<good.count * 8 {
            var bad = good
            bad[bit / 8] ^= 1 << (bit % 8)
            try replace(path, bad)
            #expect(error { _ = try reopenedDirectory(place.path) } == damaged, "bit \(bit)")
        }
        for count in [0, 7, 23] {
            try replace(path, Array(good.prefix(count)))
            #expect(error { _ = try reopenedDirectory(place.path) } == damaged, "\(count) bytes")
        }
        var newer = good.prefix(20)
        newer[11] = 2
        let check = CRC32C(Array(newer).span).value
        try replace(path, newer + (0..<4).map { UInt8(truncatingIfNeeded: check >> (24 - 8 * $0)) })
        #expect(error { _ = try reopenedDirectory(place.path) } == "\(place.path) was written by a newer martlet (format 2); this one knows format 1")
        try replace(path, good)
        #expect(try reopenedDirectory(place.path).run == 3)
    }

    @Test func `segments without a superblock are refused`() throws {
        let place = try TemporaryDirectory()
        do { try prepare(64, in: JournalDirectory(place.path)) }
        try Directory.remove(place.path + "/journal")
        #expect(error { _ = try reopenedDirectory(place.path) }?.contains("its superblock \(place.path)/journal is missing") == true)
    }

    @Test func `one process has it, and the other learns which`() async throws {
        let place = try TemporaryDirectory()
        let path = place.path
        let directory = try JournalDirectory(path)
        let expected = "\(path) is in use by process \(getpid()); a journal belongs to one server"
        #expect(error { _ = try JournalDirectory(path) } == expected)
        await #expect(processExitsWith: .success) { [path = path as String, expected = expected as String] in
            let refusal = #expect(throws: JournalError.self) { _ = try JournalDirectory(path) }
            #expect(refusal?.description == expected)
        }
        withExtendedLifetime(directory) {}
    }

    @Test func `kill -9 frees it`() async throws {
        let place = try TemporaryDirectory()
        await #expect(processExitsWith: .signal(SIGKILL)) { [path = place.path as String] in
            let directory = try reopenedDirectory(path)
            try directory.begin(run: 1)
            kill(getpid(), SIGKILL)
        }
        #expect(try reopenedDirectory(place.path).run == 1)
    }

    @Test func `a segment has its length and its header, also one from a spare file`() throws {
        let place = try TemporaryDirectory()
        let directory = try reopenedDirectory(place.path)
        try prepare(0x1_0040, in: directory)
        let name = place.path + "/00010040.segment"
        #expect(try header(name) == expectedHeader(0x1_0040))
        #expect(try File(name, .reading).readAll(upTo: 1 << 20).dropFirst(64).allSatisfy { $0 == 0 })
        // It grows beyond its length, and what was written stays in the spare file.
        try File(name, .writing).write([UInt8](repeating: 9, count: 100).span, at: 64 << 10)
        #expect(try directory.segments() == [JournalFile(segment: 0x1_0040, byteCount: 64 << 10 + 100)])
        discard(0x1_0040, in: directory)
        #expect(try Directory.list(place.path).contains("spare-1"))
        try prepare(0x1_0080, in: directory)
        #expect(try header(place.path + "/00010080.segment") == expectedHeader(0x1_0080))
        #expect(try directory.segments() == [JournalFile(segment: 0x1_0080, byteCount: 64 << 10)])
        let counters = directory.counters
        #expect((counters.prepared, counters.recycled, counters.discarded) == (2, 1, 1))
    }

    @Test func `a few spare files are kept, also over a restart`() throws {
        let place = try TemporaryDirectory()
        do {
            let directory = try reopenedDirectory(place.path)
            for segment in 1...12 as ClosedRange<UInt32> { try prepare(segment, in: directory) }
            for segment in 1...12 as ClosedRange<UInt32> { discard(segment, in: directory) }
        }
        let spares = { try Directory.list(place.path).filter { $0.hasPrefix("spare-") }.count }
        #expect(try spares() == 8)
        let directory = try reopenedDirectory(place.path)
        try prepare(13, in: directory)
        #expect(try spares() == 7)
        discard(13, in: directory)
        #expect(try spares() == 8)
    }

    @Test func `blocks are sealed, written and read back`() throws {
        let place = try TemporaryDirectory()
        let directory = try reopenedDirectory(place.path)
        try prepare(64, in: directory)
        var block = sampleBlock()
        guard case .written? = directory.perform(.write(segment: 64, offset: 64, bytes: copy(block), sync: true), run: 5) else {
            Issue.record("not written")
            return
        }
        JournalFormat.seal(&block, segment: 64, run: 5, offset: 64)
        var read = ByteBuffer()
        try directory.read(64, offset: 64, count: block.count, into: &read)
        #expect(bytes(read) == bytes(block))
        guard case .read(let id, let record)? = directory.perform(.read(id: 9, segment: 64, offset: 64, count: 8), run: 5) else {
            Issue.record("not read")
            return
        }
        #expect(id == 9)
        #expect(bytes(record) == Array(bytes(block).prefix(8)))
        guard case .read(_, let none)? = directory.perform(.read(id: 9, segment: 65, offset: 64, count: 8), run: 5) else {
            Issue.record("not answered")
            return
        }
        let isEmpty = none.isEmpty
        #expect(isEmpty)
    }

    @Test func `damaged stretches are kept`() throws {
        let place = try TemporaryDirectory()
        let directory = try reopenedDirectory(place.path)
        for _ in 0..<2 { try directory.quarantine(64, offset: 128, [UInt8](1...5).span) }
        #expect(try File(place.path + "/quarantine/00000040-00000080", .reading).readAll(upTo: 100) == [1, 2, 3, 4, 5])
    }

    // MARK: Steps

    private func prepare(_ segment: UInt32, in directory: JournalDirectory) throws {
        directory.use(options)
        guard case .prepared(segment)? = directory.perform(.prepare(segment: segment), run: 5) else { throw JournalError("not prepared") }
    }

    private func discard(_ segment: UInt32, in directory: JournalDirectory) {
        let isAnswered = directory.perform(.discard(segment: segment), run: 5) != nil
        #expect(!isAnswered)
    }

    private func error(_ body: () throws -> Void) -> String? {
        do { try body() } catch { return "\(error)" }
        return nil
    }

    private func replace(_ path: String, _ bytes: [UInt8]) throws {
        let file = try File(path, .making)
        try file.truncate(to: 0)
        try file.write(bytes.span, at: 0)
    }

    private func header(_ path: String) throws -> [UInt8] { try File(path, .reading).readAll(upTo: 64) }

    private func expectedHeader(_ segment: UInt32) -> [UInt8] {
        var header = ByteBuffer()
        JournalFormat.appendHeader(segment: segment, run: 5, byteCount: 64 << 10, to: &header)
        return bytes(header)
    }
}

func bytes(_ buffer: borrowing ByteBuffer) -> [UInt8] { (0..<buffer.count).map { buffer.span[$0] } }

func copy(_ buffer: borrowing ByteBuffer) -> ByteBuffer {
    var copy = ByteBuffer()
    copy.append(contentsOf: buffer)
    return copy
}

/// A block with a record of 100 bytes, not sealed.
func sampleBlock() -> ByteBuffer {
    var block = ByteBuffer()
    block.append(0x4D4A_424B as UInt32)
    block.append(100 as UInt32)
    block.append(0 as UInt32)
    block.append(0 as UInt32)
    block.append(1 as UInt64)
    for _ in 0..<100 { block.append(7 as UInt8) }
    while block.count % 8 != 0 { block.append(0 as UInt8) }
    return block
}
