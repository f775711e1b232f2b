import CLinux
import MartletHTTP
import MartletLogging

/// `martlet http`: one request in httpie's syntax; the response's content to stdout, everything else to stderr.
enum HTTPCommand {
    struct Options: Sendable {
        var request: HTTPClientRequest
        var client = HTTPClientOptions()
        var isVerbose: Bool
        var isJSON: Bool
        var checksStatus: Bool
        let wantsHead: Bool
    }

    static let command = Command(
        path: ["http"],
        summary: "send one HTTP request, as httpie does; the answer's content to stdout",
        words: "[METHOD] URL [ITEM]…",
        options: [
            .flag("-v", "--verbose", about: "say on stderr what is sent, what is answered, and how long each phase took"),
            .flag("--headers", about: "the answer's status and fields to stdout, instead of its content"),
            .flag("--json", about: "one JSON object: status, fields, content, times"),
            .flag("--form", about: "send items k=v as a form, not as JSON"),
            .one("-m", "--raw", value: "TEXT", about: "send this as the content"),
            .one("-f", value: "FILE", about: "send this file as the content"),
            .flag("-s", about: "send all of stdin as the content"),
            .one("-a", "--auth", value: "USER:PASSWORD", about: "who asks (Basic)"),
            .one("--bearer", value: "TOKEN", about: "who asks, by a token"),
            .flag("-F", "--follow", about: "follow redirects"),
            .one("--max-redirects", value: "NUMBER", about: "how many (default: 10)"),
            .flag("--check-status", about: "exit with 1 when the answer's status is 400 or more"),
            .one("--retries", value: "NUMBER", about: "try again so often, if it may be repeated (default: 0)"),
            .one("--timeout", value: "SECONDS", about: "for all of it (default: none; connecting 10, an answer 60)"),
        ] + TLSArguments.clientOfURL,
        examples: [
            ("martlet http localhost:8000/items/5", "GET; without a scheme it is http"),
            ("martlet http POST localhost:8000/items name=Mouse price:=9.5", "a JSON object: k=v are texts, k:=v anything"),
            ("martlet http -v GET :8000/items q==mouse X-Trace:1", ":8000 is localhost; k==v the query, Name:value a field; -v every phase's time"),
            ("martlet http -a ann:secret --form POST https://example.org/login page=1", "a form, with Basic"),
            ("martlet http 'http+unix:///run/app.sock:/health/live'", "over a Unix socket"),
        ],
        footnote: {
            """
            ITEM: Name:value a field, Name: none of that name, k==v of the query, k=v and k:=JSON of the content,
            k=@FILE and k:=@FILE from a file. METHOD is GET, or POST with content.
            Exit: 0 for any answer (but see --check-status), 1 it broke, 69 the server was not reached.

            """
        },
        run: { arguments throws(CommandFailure) in run(try HTTPArguments.options(arguments)) })

    private static func run(_ options: Options) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            do throws(HTTPClientError) { return try await exchange(options) } catch {
                if error.kind == .cancelled { return ExitCode.ok }
                return SocketEnd.say("http", error.description, code(of: error))
            }
        }
    }

    private static func code(of error: HTTPClientError) -> Int32 {
        switch error.kind {
        case .urlInvalid, .requestInvalid: ExitCode.usage
        case .timedOut(.connecting), .timedOut(.securing): ExitCode.peerUnreachable
        case .unreachable: error.network.map(SocketEnd.code(of:)) ?? ExitCode.peerUnreachable
        default: ExitCode.failed
        }
    }

    private static func exchange(_ options: Options) async throws(HTTPClientError) -> Int32 {
        let client = HTTPClient(options: options.client)
        defer { client.close() }
        let report = HTTPReport(options)
        report.sending()
        let response = try await client.send(options.request)
        report.answered(response)
        if options.isJSON {
            let content = try await response.collect(max: 64 << 20)
            StandardStream.output.write(report.json(response, content).span)
        } else if options.wantsHead {
            StandardStream.output.write(HTTPReport.head(response))
        } else {
            var last = UInt8(ascii: "\n")
            for try await piece in response.body {
                // Who read has gone.
                guard StandardStream.output.write(piece.span) else { break }
                last = piece.last ?? last
            }
            if StandardStream.output.isTerminal, last != UInt8(ascii: "\n") { StandardStream.output.write("\n") }
        }
        report.ended(response)
        return options.checksStatus && response.status.rawValue >= 400 ? ExitCode.failed : ExitCode.ok
    }
}
