import MartletJournal
import MartletLogging

/// `martlet ctl journal check|stats|compact DIR`: a journal that no server has open.
enum CtlJournalCommands {
    private static let json = Command.Option.flag("--json", about: "say it as one JSON object")

    static let check = Command(
        path: ["ctl", "journal", "check"],
        summary: "read all of a journal that no server has open, and say what is damaged; nothing is changed",
        words: "DIR",
        options: [json],
        examples: [
            ("martlet ctl journal check ./martlet-data", "exit code 0: all is well; 1: something is damaged, and what"),
            ("martlet ctl journal check /backup/today --json", "for a script"),
        ],
        footnote: {
            """
            An interrupted write at the end of a stream is no damage: a crash leaves it, and nothing of it had been acknowledged.
            A server that is started on a damaged journal says the same, keeps copies of what cannot be read in
            DIR/quarantine, and goes on with the rest.

            """
        },
        run: { arguments throws(CommandFailure) in
            let directory = try directory(of: arguments, "check")
            let reading = try CtlJournalReading(directory, "check")
            if arguments.has("--json") {
                CtlOutput.write(.object(reading.json(directory) + [("findings", .list(reading.findings.map(json)))]))
            } else {
                for finding in reading.findings { StandardStream.output.write("\(finding.isDamage ? "damage: " : "")\(finding)\n") }
                StandardStream.output.write("\(directory): \(reading.summary)\n\(reading.damage == 0 ? "no damage" : "\(reading.damage) damaged")\n")
            }
            return reading.damage == 0 ? ExitCode.ok : ExitCode.failed
        })

    static let stats = Command(
        path: ["ctl", "journal", "stats"],
        summary: "what a journal holds that no server has open",
        words: "DIR",
        options: [json],
        examples: [
            ("martlet ctl journal stats ./martlet-data", "messages and definitions that live, and what they take"),
            ("martlet ctl journal stats ./martlet-data --json", "for a script"),
        ],
        run: { arguments throws(CommandFailure) in
            let directory = try directory(of: arguments, "stats")
            let reading = try CtlJournalReading(directory, "stats")
            if arguments.has("--json") {
                CtlOutput.write(.object(reading.json(directory)))
            } else {
                StandardStream.output.write(CtlOutput.table(reading.rows))
            }
            return ExitCode.ok
        })

    static let compact = Command(
        path: ["ctl", "journal", "compact"],
        summary: "write what lives to fresh files and remove the others, of a journal that no server has open",
        words: "DIR",
        options: [json],
        examples: [("martlet ctl journal compact ./martlet-data", "says how much space came back")],
        footnote: {
            """
            A running server does so by itself with segments of which little lives. There has to be room for what lives beside
            what is there; whatever interrupts it, the journal is either as it was or compacted.

            """
        },
        run: { arguments throws(CommandFailure) in
            let directory = try directory(of: arguments, "compact")
            let (before, after) = try compacted(directory)
            if arguments.has("--json") {
                let numbers = [("bytesBefore", before), ("bytesAfter", after)]
                CtlOutput.write(.object([("directory", JSONValue.text(directory))] + numbers.map { ($0.0, JSONValue.number("\($0.1)")) }))
            } else {
                StandardStream.output.write("\(directory): \(CtlOutput.size(before)) before, \(CtlOutput.size(after)) now\n")
            }
            return ExitCode.ok
        })

    /// Bytes of all its files before and after.
    private static func compacted(_ path: String) throws(CommandFailure) -> (before: Int, after: Int) {
        do {
            let store = CtlJournalStore(try JournalDirectory(path, isMade: false), CtlProgress("compact"))
            defer { store.progress.end() }
            let before = try store.byteCount()
            try JournalRecovery(store).compact(options: JournalOptions())
            try store.removeSpares()
            return (before, try store.byteCount())
        } catch { throw CtlJournalReading.failure(error, "compact") }
    }

    /// Reads a copy of the journal whole; says on stderr what is damaged, and answers how much is.
    static func damage(in directory: String) throws(CommandFailure) -> Int {
        let reading = try CtlJournalReading(directory, "check")
        for finding in reading.findings where finding.isDamage { StandardStream.error.write("martlet: \(directory): \(finding)\n") }
        return reading.damage
    }

    static func directory(of arguments: Arguments, _ name: String) throws(CommandFailure) -> String {
        guard arguments.words.count == 1, let word = arguments.words.first, !word.isEmpty else {
            throw .usage("ctl journal \(name): say which directory: martlet ctl journal \(name) DIR")
        }
        return word
    }

    private static func json(_ finding: JournalFinding) -> JSONValue {
        .object([
            ("segment", .number("\(finding.segment)")), ("from", .number("\(finding.bytes.lowerBound)")), ("to", .number("\(finding.bytes.upperBound)")),
            ("isDamage", .flag(finding.isDamage)), ("text", .text("\(finding)")),
        ])
    }
}
