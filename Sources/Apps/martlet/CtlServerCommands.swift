import MartletFiles
import MartletLogging

/// `martlet ctl status|backup`: what a running server is asked over `DIR/ctl.sock`.
enum CtlServerCommands {
    private static let directory = Command.Option.one("--data", value: "DIR", about: "the server's data directory (default: ./martlet-data)")
    private static let json = Command.Option.flag("--json", about: "say it as one JSON object")

    static let status = Command(
        path: ["ctl", "status"],
        summary: "what a running server has done so far, and who is connected",
        options: [directory, json],
        examples: [
            ("martlet ctl status", "of the server that runs on ./martlet-data"),
            ("martlet ctl status --data /var/lib/martlet --json", "for a script"),
        ],
        run: { arguments throws(CommandFailure) in
            var client = try client(of: arguments, "status"), values: [(name: String, value: String)] = []
            _ = try client.ask("status") { if $0.count == 3 { values.append((String($0[1]), String($0[2]))) } }
            if arguments.has("--json") {
                CtlOutput.write(.object(values.map { ($0.name, .number($0.value)) }))
            } else {
                StandardStream.output.write(CtlOutput.table(values.map { [$0.name, $0.value] }))
            }
            return ExitCode.ok
        })

    static let backup = Command(
        path: ["ctl", "backup"],
        summary: "copy the journal of a running server: all that was acknowledged when it began is in the copy",
        words: "TARGET",
        options: [directory, .flag("--no-check", about: "do not read the copy again afterwards"), json],
        examples: [
            ("martlet ctl backup /backup/martlet-$(date +%F)", "of ./martlet-data, into a directory that is made for it"),
            ("martlet ctl backup --data /var/lib/martlet /backup/today", "of another one; a path is the server's, on its machine"),
            ("martlet serve --data /backup/today --listen mqtt://127.0.0.1:2883", "restore it: a backup is a data directory"),
        ],
        footnote: {
            """
            The server makes the copy while it goes on: nobody waits, and what is acknowledged meanwhile may be in it or not.
            The copy is synced; one that is not finished is removed. Without a running server, use `cp -a`.

            """
        },
        run: { arguments throws(CommandFailure) in
            guard arguments.words.count == 1, let word = arguments.words.first, !word.isEmpty, !word.contains("\n") else {
                throw .usage("ctl backup: say where the copy goes: martlet ctl backup [--data DIR] TARGET")
            }
            let target = try absolute(word)
            var client = try client(of: arguments, "backup")
            let progress = CtlProgress("backup")
            let made = try client.ask("backup \(target)") { words in
                if words.count == 3, let done = Int(words[1]), let all = Int(words[2]) { progress.show(done, of: all) }
            }
            progress.end()
            let segments = made.first.map { String($0) } ?? "0", bytes = made.count > 1 ? Int(made[1]) ?? 0 : 0
            let findings = arguments.has("--no-check") ? 0 : try CtlJournalCommands.damage(in: target)
            if arguments.has("--json") {
                CtlOutput.write(.object([("target", .text(target)), ("segments", .number(segments)), ("bytes", .number("\(bytes)"))]))
            } else {
                StandardStream.output.write("\(target): \(segments) segments, \(CtlOutput.size(bytes))\n")
            }
            return findings == 0 ? ExitCode.ok : ExitCode.failed
        })

    private static func client(of arguments: Arguments, _ name: String) throws(CommandFailure) -> CtlClient {
        do throws(CommandFailure) { return try CtlClient(arguments.text("--data") ?? "./martlet-data") } catch {
            throw CommandFailure(error.code, "ctl \(name): \(error.sentence)")
        }
    }

    /// The server has a directory of its own.
    private static func absolute(_ path: String) throws(CommandFailure) -> String {
        if path.hasPrefix("/") { return path }
        do { return try "\(Directory.current())/\(path)" } catch { throw CommandFailure(ExitCode.failed, "ctl backup: \(error)") }
    }
}
