import Glibc
import MartletBytes
import MartletFiles
import MartletTestSupport
import Testing

@testable import MartletJournal

@Suite struct JournalThreadTests {
    @Test func `a write is sealed, written, synced and answered, and the loop is woken`() throws {
        let bench = try Bench()
        bench.housekeeper.prepare(64, for: bench.inbox)
        #expect(bench.answer() == "prepared 64")
        bench.thread.write(64, offset: 64, sampleBlock(), isSynced: true)
        #expect(bench.answer() == "written")
        bench.thread.sync(64)
        #expect(bench.answer() == "synced 64")
        var block = sampleBlock()
        JournalFormat.seal(&block, segment: 64, run: 1, offset: 64)
        #expect(try File(bench.segment(64), .reading).readAll(upTo: 64 + block.count).suffix(block.count) == ArraySlice(bytes(block)))
        bench.housekeeper.read(5, segment: 64, offset: 64 + 28, count: 3, for: bench.inbox)
        #expect(bench.answer() == "read 5: [7, 7, 7]")
        let counters = bench.thread.counters
        #expect(counters.bytesWritten == block.count && counters.writes == 1 && counters.syncs == 2)
        #expect(counters.syncTimeMax > .zero && counters.syncTimeMax <= counters.syncTime)
        bench.finish()
        #expect(bench.ear.reports == [])
        #expect(bench.ear.wakeCount == 4)
    }

    @Test func `at the end all that was asked for is written and synced`() throws {
        let bench = try Bench()
        bench.housekeeper.prepare(64, for: bench.inbox)
        #expect(bench.answer() == "prepared 64")
        let count = sampleBlock().count
        for index in 0..<100 { bench.thread.write(64, offset: UInt32(64 + index * count), sampleBlock(), isSynced: false) }
        bench.finish()
        var last = sampleBlock()
        JournalFormat.seal(&last, segment: 64, run: 1, offset: UInt32(64 + 99 * count))
        #expect(try File(bench.segment(64), .reading).readAll(upTo: 64 + 100 * count).suffix(count) == ArraySlice(bytes(last)))
        #expect(bench.thread.counters.writes == 100)
    }

    @Test func `a discarded file comes back as another segment`() throws {
        let bench = try Bench()
        for segment in [64, 128] as [UInt32] {
            bench.housekeeper.prepare(segment, for: bench.inbox)
            #expect(bench.answer() == "prepared \(segment)")
            bench.housekeeper.discard(segment)
        }
        bench.housekeeper.discard(192)
        bench.housekeeper.prepare(256, for: bench.inbox)
        #expect(bench.answer() == "prepared 256")
        #expect(bench.directory.counters.recycled == 2)
        #expect(bench.ear.reports == [.warning("cannot rename \(bench.segment(192)): no such file or directory")])
        bench.housekeeper.read(1, segment: 64, offset: 0, count: 10, for: bench.inbox)
        #expect(bench.answer() == "read 1: []")
        bench.finish()
    }

    @Test func `no space passes: the bytes come back and may be written again`() throws {
        let bench = try Bench()
        _ = symlink("/dev/full", bench.segment(64))
        bench.thread.write(64, offset: 64, sampleBlock(), isSynced: true)
        #expect(bench.answer() == "failed write 64, 28, no space, \(sampleBlock().count) bytes")
        #expect(bench.ear.reports == [])
        bench.thread.write(64, offset: 64, sampleBlock(), isSynced: true)
        #expect(bench.answer() == "failed write 64, 28, no space, \(sampleBlock().count) bytes")
    }

    @Test func `a failed sync is final: it is reported, and nothing more is done`() throws {
        let bench = try Bench()
        _ = symlink("/dev/zero", bench.segment(64))
        bench.thread.write(64, offset: 64, sampleBlock(), isSynced: true)
        #expect(bench.answer() == "failed sync 64, 22, final, 0 bytes")
        bench.thread.write(64, offset: 64, sampleBlock(), isSynced: true)
        bench.finish()
        #expect(bench.answer(within: .milliseconds(20)) == nil)
        #expect(bench.thread.counters.writes == 1)
        #expect(bench.ear.reports == [.failure(JournalError("cannot sync \(bench.segment(64)): invalid argument"))])
    }

    @Test func `so is any other failure of a write`() throws {
        let bench = try Bench()
        bench.thread.write(64, offset: 64, sampleBlock(), isSynced: true)
        #expect(bench.answer() == "failed write 64, 2, final, \(sampleBlock().count) bytes")
        bench.finish()
        #expect(bench.ear.reports == [.failure(JournalError("cannot open \(bench.segment(64)): no such file or directory"))])
    }

    /// A small volume of its own needs root.
    @Test(.enabled(if: getuid() == 0)) func `a full volume refuses a segment and leaves nothing of it, and has room again when others go`() throws {
        let place = try TemporaryDirectory()
        try #require(mount("tmpfs", place.path, "tmpfs", 0, "size=200k") == 0)
        defer { umount2(place.path, Int32(MNT_DETACH)) }
        let bench = try Bench(in: place)
        var segment: UInt32 = 64
        bench.housekeeper.prepare(segment, for: bench.inbox)
        while bench.answer() == "prepared \(segment)" {
            segment += 64
            try #require(segment < 640)
            bench.housekeeper.prepare(segment, for: bench.inbox)
        }
        #expect(segment > 64)
        #expect(try !Directory.list(place.path).contains { $0.hasPrefix("preparing") })
        bench.housekeeper.prepare(segment, for: bench.inbox)
        #expect(bench.answer() == "failed prepare \(segment), 28, no space, 0 bytes")
        // The file grows beyond its room.
        let large = { () -> ByteBuffer in
            var block = ByteBuffer()
            block.append([0x4D, 0x4A, 0x42, 0x4B, 0, 3, 0xFF, 0xE4].span)
            for _ in 0..<262_136 { block.append(0 as UInt8) }
            return block
        }
        bench.thread.write(64, offset: 64, large(), isSynced: true)
        #expect(bench.answer() == "failed write 64, 28, no space, 262144 bytes")
        bench.housekeeper.discard(64)
        bench.housekeeper.prepare(segment, for: bench.inbox)
        #expect(bench.answer() == "prepared \(segment)")
        bench.finish()
        #expect(bench.ear.reports == [])
    }
}

/// One stream's thread and the housekeeper, without a machine.
private final class Bench {
    let place: TemporaryDirectory
    let directory: JournalDirectory
    let ear = JournalEar()
    let inbox: JournalInbox
    let housekeeper: JournalHousekeeper
    let thread: JournalThread
    private var letters: [JournalInbox.Letter] = []

    init(in given: TemporaryDirectory? = nil) throws {
        place = try given ?? TemporaryDirectory()
        directory = try JournalDirectory(place.path)
        directory.use(JournalOptions(segmentBytes: 64 << 10))
        let ear = ear
        inbox = JournalInbox { ear.wake() }
        housekeeper = try JournalHousekeeper(directory, run: 1) { ear.report($0) }
        thread = try JournalThread("journal-0", directory: directory, run: 1, inbox: inbox) { ear.report($0) }
    }

    deinit { finish() }

    func finish() {
        thread.finish()
        housekeeper.finish()
    }

    func segment(_ number: UInt32) -> String { directory.file(of: number) }

    /// The next completion in words.
    func answer(within time: Duration = .seconds(20)) -> String? {
        let end = ContinuousClock.now + time
        while letters.isEmpty, ContinuousClock.now < end, !inbox.empty(into: &letters) { inbox.wait(atMost: .milliseconds(10)) }
        if letters.isEmpty { return nil }
        switch letters.removeFirst() {
        case .prepared(let segment): return "prepared \(segment)"
        case .written: return "written"
        case .synced(let segment): return "synced \(segment)"
        case .read(let id, let record): return "read \(id): \(bytes(record.take()))"
        case .failed(let failure, let refused):
            return "failed \(failure.step) \(failure.segment), \(failure.code), \(failure.isNoSpace ? "no space" : "final"), \(refused.take().count) bytes"
        }
    }
}
