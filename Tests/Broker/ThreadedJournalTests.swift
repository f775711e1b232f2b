import Glibc
import MartletBytes
import MartletFiles
import MartletJournal
import MartletTestSupport
import Testing

@Suite struct ThreadedJournalTests {
    @Test func `what was acknowledged is found by the next start, over many segments, and the settled is not`() throws {
        let place = try TemporaryDirectory()
        do {
            let server = try JournalServer(place.path)
            for _ in 0..<200 { try server.commit(20, settling: 19) }
            #expect(server.streams.files.recycled > 0)
            #expect(server.streams.finish(at: server.now, within: .seconds(20)))
            #expect(server.ear.reports == [])
        }
        let recovery = try JournalRecovery(reopenedDirectory(place.path))
        let findings = recovery.findings
        #expect(findings == [])
        let expected = (0..<200 as Range<UInt64>).map { number in number * 20 + 19 }
        let found = payloads(recovery)
        #expect(found == expected)
    }

    @Test func `a clean end writes and syncs what was appended last, in every mode`() throws {
        for sync in [JournalSync.always, .interval(.seconds(3600)), .never] {
            let place = try TemporaryDirectory()
            do {
                let server = try JournalServer(place.path, sync: sync)
                for _ in 0..<50 { server.append(3, settling: 0) }
                #expect(server.streams.finish(at: server.now, within: .seconds(20)))
                #expect(server.journal.completed(at: server.now) == server.ticket)
                #expect(server.journal.counters.syncs > 0)
            }
            let count = try payloads(JournalRecovery(reopenedDirectory(place.path))).count
            #expect(count == 150)
        }
    }

    @Test func `kill -9 loses nothing that was acknowledged`() async throws {
        let place = try TemporaryDirectory()
        for round in 1...3 {
            await #expect(processExitsWith: .signal(SIGKILL)) { [path = place.path as String] in
                let server = try JournalServer(path + "/journal")
                let acknowledged = try File(path + "/acknowledged", .making)
                for commit in 0..<300 {
                    try server.commit(5, settling: 0)
                    try acknowledged.write(Array("\(commit + 1) ".utf8).span, at: 0)
                    if commit == 211 { for _ in 0..<5 { server.append(1_000, settling: 0) } }
                    if commit == 212 { kill(getpid(), SIGKILL) }
                }
            }
            let text = String(decoding: try File(place.path + "/acknowledged", .reading).readAll(upTo: 20), as: UTF8.self)
            #expect(text.hasPrefix("213 "))
            let recovery = try JournalRecovery(reopenedDirectory(place.path + "/journal"))
            let findings = recovery.findings
            #expect(findings.allSatisfy { $0.kind == .tornTail })
            let count = payloads(recovery).count
            #expect(count >= round * 213 * 5)
        }
    }

    @Test func `records are read back, also from a segment that is no longer written`() throws {
        let place = try TemporaryDirectory()
        let server = try JournalServer(place.path)
        var places: [JournalCursor] = []
        for _ in 0..<100 {
            places.append(server.journal.cursor)
            try server.commit(20, settling: 0)
        }
        #expect(Set(places.map(\.segment)).count > 2)
        for (id, place) in places.enumerated() { server.journal.read(UInt64(id), segment: place.segment, offset: place.offset) }
        var found: [UInt64: UInt64] = [:]
        let end = ContinuousClock.now + .seconds(20)
        while found.count < places.count, ContinuousClock.now < end {
            _ = server.journal.completed(at: server.now)
            server.journal.takeReads { id, record in found[id] = record.count > 25 ? record.uint64(at: 17) : .max }
            server.waitForWake()
        }
        #expect(found.count == 100)
        for (id, number) in found { #expect(number == id * 20) }
        #expect(server.streams.finish(at: server.now, within: .seconds(20)))
    }

    @Test(.enabled(if: getuid() == 0)) func `a full disk holds messages back, and lets them on when there is room again`() throws {
        let place = try TemporaryDirectory()
        try #require(mount("tmpfs", place.path, "tmpfs", 0, "size=400k") == 0)
        defer { umount2(place.path, Int32(MNT_DETACH)) }
        let ballast = try File(place.path + "/lost+found", .making)
        try ballast.writeZeros(100 << 10, at: 0)
        let server = try JournalServer(place.path)
        while !server.journal.isFull {
            server.append(20, settling: 0)
            _ = server.wait(until: server.ticket, atMost: .milliseconds(300))
            try #require(server.ticket < 10_000)
        }
        let held = server.ticket
        #expect(server.ear.reports == [])
        try ballast.truncate(to: 0)
        #expect(server.wait(until: held, atMost: .seconds(20)))
        try server.commit(20, settling: 19)
        let end = ContinuousClock.now + .seconds(20)
        while server.journal.isFull, ContinuousClock.now < end {
            server.waitForWake()
            _ = server.journal.completed(at: server.now)
        }
        #expect(!server.journal.isFull)
        #expect(server.streams.finish(at: server.now, within: .seconds(20)))
    }

    @Test(.enabled(if: getuid() == 0)) func `a disk that stays full does not hold up the end for ever`() throws {
        let place = try TemporaryDirectory()
        try #require(mount("tmpfs", place.path, "tmpfs", 0, "size=200k") == 0)
        defer { umount2(place.path, Int32(MNT_DETACH)) }
        let server = try JournalServer(place.path)
        server.append(2_000, settling: 0)
        #expect(!server.streams.finish(at: server.now, within: .milliseconds(200)))
        #expect(server.journal.completed(at: server.now) == 0)
    }

    /// The first number of every live message's payload.
    private func payloads(_ recovery: borrowing JournalRecovery) -> [UInt64] {
        var found: [UInt64] = []
        recovery.forEachLive(.message) { found.append($0.payload.uint64(at: 0)) }
        return found
    }
}
