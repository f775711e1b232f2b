import Glibc
import MartletBytes
import MartletFiles
import MartletTestSupport
import Testing

@testable import MartletJournal

/// A journal that a test writes to: every effect is done at once, so that all that was appended is complete.
private final class WrittenJournal {
    let directory: JournalDirectory
    private let machines: [Machine]
    private var order: UInt64 = 0
    /// Of messages that live, by number: their names.
    private(set) var live: [UInt32: (stream: Int, segment: UInt32, ordinal: UInt32)] = [:]
    private var count: UInt32 = 0

    private final class Machine {
        var machine: JournalMachine
        init(_ machine: consuming JournalMachine) { self.machine = machine }
    }

    init(_ path: String, streams: Int) throws {
        directory = try JournalDirectory(path)
        let options = JournalOptions(segmentBytes: 8192)
        directory.use(options)
        let recovery = try JournalRecovery(directory)
        order = recovery.lastOrder
        var machines: [Machine] = []
        try recovery.open(shards: streams, options: options) { machines.append(Machine($0)) }
        self.machines = machines
    }

    /// A message with a number of its own, of about 500 bytes.
    func publish(on stream: Int) {
        count += 1
        order += 1
        let machine = machines[stream], cursor = machine.machine.cursor
        var records = ByteBuffer()
        records.append(UInt32(17 + 4 + 500))
        records.append(UInt8(16))
        records.append(cursor.ordinal)
        records.append(UInt32(1))
        records.append(order)
        records.append(count)
        for _ in 0..<500 { records.append(UInt8(truncatingIfNeeded: count)) }
        machine.machine.append(&records, upTo: order, order: order, at: Instant(nanoseconds: 0))
        live[count] = (stream, cursor.segment, cursor.ordinal)
        settleDown(machine)
    }

    func settle(_ number: UInt32) {
        guard let name = live.removeValue(forKey: number) else { return }
        order += 1
        var records = ByteBuffer()
        JournalFormat.appendSettled(name.segment, name.ordinal, to: &records)
        machines[name.stream].machine.append(&records, upTo: order, order: order, at: Instant(nanoseconds: 0))
        settleDown(machines[name.stream])
    }

    /// Publishes on every stream in turn and settles what is older than the last 20 messages.
    func churn(_ messages: Int) {
        for index in 0..<messages {
            publish(on: index % machines.count)
            if count > 20 { settle(count - 20) }
        }
    }

    private func settleDown(_ machine: Machine) {
        machine.machine.hurry()
        while let effect = machine.machine.nextEffect() {
            if let completion = directory.perform(effect, run: directory.run) { machine.machine.completed(completion, at: Instant(nanoseconds: 0)) }
        }
    }
}

/// The numbers of the messages that a journal in this directory has, and what is wrong with it.
private func contents(of path: String) throws -> (messages: Set<UInt32>, damage: [String]) {
    let recovery = try JournalRecovery(JournalDirectory(path, isMade: false))
    var messages: Set<UInt32> = []
    recovery.forEachLive(.message) { messages.insert($0.payload.uint32(at: 0)) }
    return (messages, recovery.findings.map(\.description))
}

@Suite struct JournalBackupTests {
    @Test func `a backup is what lived when it began, whatever is written meanwhile`() throws {
        let place = try TemporaryDirectory()
        let journal = try WrittenJournal(place.path + "/journal", streams: 2)
        journal.churn(300)
        for _ in 0..<3 { journal.publish(on: 0) }
        let before = Set(journal.live.keys)
        var steps = 0, done = 0
        let backup = try journal.directory.backUp(to: place.path + "/copy") { bytes, all in
            // Segments fill up and die while others are copied.
            journal.churn(60)
            steps += 1
            done = bytes
            #expect(bytes <= all)
            return true
        }
        #expect(steps >= 4 && backup.bytes == done && backup.segments >= 4)
        let copy = try contents(of: place.path + "/copy")
        #expect(copy.messages == before)
        #expect(copy.damage == [])
        #expect(journal.live.count == 23, "the journal went on")
    }

    @Test func `what could not be discarded meanwhile is discarded afterwards`() throws {
        let place = try TemporaryDirectory()
        let journal = try WrittenJournal(place.path + "/journal", streams: 1)
        journal.churn(100)
        let before = journal.directory.counters.discarded
        _ = try journal.directory.backUp(to: place.path + "/copy") { _, _ in
            journal.churn(200)
            #expect(journal.directory.counters.discarded == before)
            return true
        }
        #expect(journal.directory.counters.discarded >= before + 10)
        #expect(try journal.directory.segments().count < 12)
        journal.churn(100)
    }

    @Test func `a server is started on the copy, and on that copy's copy`() throws {
        let place = try TemporaryDirectory()
        var path = place.path + "/journal"
        for streams in [3, 1, 2] {
            let journal = try WrittenJournal(path, streams: streams)
            for index in 0..<30 { journal.publish(on: index % streams) }
            path += "-copy"
            _ = try journal.directory.backUp(to: path) { _, _ in true }
            let recovery = try JournalRecovery(JournalDirectory(path, isMade: false))
            #expect(recovery.findings.filter(\.isDamage) == [])
        }
        var count = 0
        let recovery = try JournalRecovery(JournalDirectory(path, isMade: false))
        recovery.forEachLive(.message) { _ in count += 1 }
        #expect(count == 90)
    }

    @Test func `a copy that is given up leaves nothing, and a directory with something in it is refused`() throws {
        let place = try TemporaryDirectory()
        let journal = try WrittenJournal(place.path + "/journal", streams: 1)
        journal.churn(100)
        var steps = 0
        let refusal = #expect(throws: JournalError.self) {
            _ = try journal.directory.backUp(to: place.path + "/copy") { _, _ in
                steps += 1
                return steps < 3
            }
        }
        #expect(refusal?.description == "the copy was given up")
        #expect(try Directory.list(place.path + "/copy") == [])
        _ = try journal.directory.backUp(to: place.path + "/copy") { _, _ in true }
        #expect(throws: JournalError("\(place.path)/copy is there and not empty: name a new directory")) {
            _ = try journal.directory.backUp(to: place.path + "/copy") { _, _ in true }
        }
        #expect(throws: JournalError("cannot make \(place.path)/no/copy: no such file or directory", .foreign)) {
            _ = try journal.directory.backUp(to: place.path + "/no/copy") { _, _ in true }
        }
        #expect(try contents(of: place.path + "/copy").damage == [])
    }

    @Test func `without its superblock a copy does not pass for a journal`() throws {
        let place = try TemporaryDirectory()
        let journal = try WrittenJournal(place.path + "/journal", streams: 1)
        journal.churn(10)
        _ = try journal.directory.backUp(to: place.path + "/copy") { _, _ in true }
        try Directory.remove(place.path + "/copy/journal")
        #expect(throws: JournalError.self) { _ = try contents(of: place.path + "/copy") }
    }
}
