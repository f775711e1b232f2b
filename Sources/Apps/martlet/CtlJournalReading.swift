import MartletBytes
import MartletJournal

/// All of a journal, read and counted, with progress on a terminal.
struct CtlJournalReading {
    let run: UInt64
    let files: [JournalFile]
    let statistics: JournalStatistics
    let findings: [JournalFinding]
    /// Records with a live entry.
    let messages: Int, definitions: Int
    /// Of their payloads.
    let messageBytes: Int, definitionBytes: Int

    var damage: Int { findings.count { $0.isDamage } }
    private var fileBytes: Int { files.reduce(0) { $0 + $1.byteCount } }

    init(_ directory: String, _ name: String) throws(CommandFailure) {
        do {
            let store = CtlJournalStore(try JournalDirectory(directory, isMade: false), CtlProgress(name))
            defer { store.progress.end() }
            let recovery = try JournalRecovery(store)
            run = store.run
            files = try store.segments()
            var counts = (messages: 0, messageBytes: 0, definitions: 0, definitionBytes: 0)
            recovery.forEachLive(.message) { record in
                counts.messages += 1
                counts.messageBytes += record.payload.count
            }
            recovery.forEachLive(.definition) { record in
                counts.definitions += 1
                counts.definitionBytes += record.payload.count
            }
            (messages, messageBytes, definitions, definitionBytes) = counts
            statistics = recovery.statistics
            findings = recovery.findings
        } catch { throw CtlJournalReading.failure(error, name) }
    }

    static func failure(_ error: JournalError, _ name: String) -> CommandFailure {
        let code =
            switch error.kind {
            case .unusable: ExitCode.failed
            case .inUse: ExitCode.peerUnreachable
            case .forbidden: ExitCode.notPermitted
            case .foreign: ExitCode.usage
            }
        return CommandFailure(code, "ctl journal \(name): \(error)")
    }

    /// One line.
    var summary: String {
        "\(CtlOutput.count(messages)) messages and \(CtlOutput.count(definitions)) definitions live, in \(statistics.segments) of \(files.count) segments (\(CtlOutput.size(fileBytes)))"
    }

    var rows: [[String]] {
        let settled = statistics.entries == 0 ? 0 : statistics.settledEntries * 100 / statistics.entries
        return [
            ["starts", CtlOutput.count(Int(run))],
            ["segments", CtlOutput.count(files.count), CtlOutput.size(fileBytes)],
            ["segments that live", CtlOutput.count(statistics.segments)],
            ["messages", CtlOutput.count(messages), CtlOutput.size(messageBytes)],
            ["definitions", CtlOutput.count(definitions), CtlOutput.size(definitionBytes)],
            ["entries", CtlOutput.count(statistics.entries)],
            ["entries settled", CtlOutput.count(statistics.settledEntries), "\(settled) %"],
            ["damaged places", CtlOutput.count(damage)],
        ]
    }

    func json(_ directory: String) -> [(String, JSONValue)] {
        let numbers = [
            ("run", Int(run)), ("segments", files.count), ("bytes", fileBytes), ("liveSegments", statistics.segments), ("messages", messages),
            ("messageBytes", messageBytes), ("definitions", definitions), ("definitionBytes", definitionBytes), ("entries", statistics.entries),
            ("settledEntries", statistics.settledEntries), ("damage", damage),
        ]
        return [("directory", JSONValue.text(directory))] + numbers.map { ($0.0, JSONValue.number("\($0.1)")) }
    }
}

/// A journal's files, with a line that says how much of them has been read.
final class CtlJournalStore: JournalStore {
    let progress: CtlProgress
    private let directory: JournalDirectory
    private var all = 0, done = 0

    init(_ directory: JournalDirectory, _ progress: CtlProgress) {
        self.directory = directory
        self.progress = progress
    }

    var run: UInt64 { directory.run }

    /// Of all its segments.
    func byteCount() throws(JournalError) -> Int { try directory.segments().reduce(0) { $0 + $1.byteCount } }
    func removeSpares() throws(JournalError) { try directory.removeSpares() }

    func segments() throws(JournalError) -> [JournalFile] {
        let files = try directory.segments()
        all = files.reduce(0) { $0 + $1.byteCount }
        return files
    }

    func read(_ segment: UInt32, offset: UInt32, count: Int, into bytes: inout ByteBuffer) throws(JournalError) {
        try directory.read(segment, offset: offset, count: count, into: &bytes)
        done += count
        progress.show(min(done, all), of: all)
    }

    func quarantine(_ segment: UInt32, offset: UInt32, _ bytes: Span<UInt8>) throws(JournalError) {
        try directory.quarantine(segment, offset: offset, bytes)
    }
    func perform(_ effect: consuming JournalEffect, run: UInt64) -> JournalCompletion? { directory.perform(effect, run: run) }
    func begin(run: UInt64) throws(JournalError) { try directory.begin(run: run) }
}
