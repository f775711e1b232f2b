import MartletLogging
import MartletWebSocket

/// `martlet ws connect`: lines of stdin are messages to a server, its messages are lines of stdout.
enum WSConnectCommand {
    struct Options: Sendable {
        let url: String
        var client = WebSocketClientOptions()
        let isBinary: Bool
        let isJSON: Bool
        let isVerbose: Bool
        /// Messages after which it ends.
        let count: Int?
        /// After the end of stdin.
        let wait: Duration?
        let messages: [String]
        let reconnects: Bool

        init(_ arguments: Arguments) throws(CommandFailure) {
            guard let word = arguments.words.first, arguments.words.count == 1 else { throw .usage("ws connect: say one URL: ws://HOST:PORT/PATH") }
            url = Self.completed(word)
            client.http.connectTimeout = .seconds(try arguments.seconds("--timeout") ?? 10)
            client.http.answerTimeout = client.http.connectTimeout
            client.webSocket.subprotocols = arguments.texts("--subprotocol").flatMap { $0.split(separator: ",").map(String.init) }
            if arguments.has("--no-deflate") { client.webSocket.deflate = nil }
            client.webSocket.limits.messageMax = try arguments.integer("--message-max", in: 1...(1 << 30)) ?? 16 << 20
            do throws(HTTPFieldRefusal) {
                for header in arguments.texts("-H") {
                    let parts = header.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
                    try client.fields.append(String(parts[0]), parts.count > 1 ? String(parts[1].drop { $0 == " " }) : "")
                }
                if let origin = arguments.text("--origin") { try client.fields.set("Origin", to: origin) }
            } catch { throw .usage("ws connect: \(error)") }
            if let tls = try TLSArguments.clientOptions(arguments) {
                client.http.tls = tls
                client.http.tls.applicationProtocols = ["http/1.1"]
            }
            isBinary = arguments.has("--binary")
            isJSON = arguments.has("--json")
            isVerbose = arguments.has("-v")
            count = try arguments.integer("-C", in: 1...Int.max)
            wait = try arguments.seconds("-W").map { .seconds($0) }
            messages = arguments.texts("-m")
            reconnects = arguments.has("--reconnect")
            if reconnects, !messages.isEmpty { throw .usage("ws connect: --reconnect goes with stdin: leave out -m") }
        }

        /// "example.org/x" and ":8765" are meant as people mean them.
        private static func completed(_ word: String) -> String {
            if word.contains("://") { return word }
            return "ws://" + (word.hasPrefix(":") || word.hasPrefix("/") ? "localhost" : "") + word
        }
    }

    static let command = Command(
        path: ["ws", "connect"],
        summary: "connect to a WebSocket: lines of stdin are messages, messages are lines of stdout",
        words: "URL",
        options: [
            .many("-m", value: "TEXT", about: "send this instead of stdin"),
            .flag("--binary", about: "send binary messages, not text"),
            .one("-C", value: "COUNT", about: "end after so many messages"),
            .one("-W", "--wait", value: "SECONDS", about: "how long to wait for messages after the end of stdin (default: 0; with -m or -C: 10)"),
            .flag("--json", about: "a JSON object for each message, and for the end"),
            .many("-s", "--subprotocol", value: "NAME[,NAME]", about: "subprotocols to offer, the best first"),
            .many("-H", "--header", value: "'NAME: VALUE'", about: "a field of the handshake"),
            .one("--origin", value: "ORIGIN", about: "say that a page of this origin connects"),
            .flag("--reconnect", about: "connect again when the connection is lost"),
            .flag("--no-deflate", about: "do not compress messages (permessage-deflate)"),
            .one("--message-max", value: "BYTES", about: "the longest message to take (default: 16777216)"),
            .one("--timeout", value: "SECONDS", about: "for connecting, and for the server's answer (default: 10)"),
            .flag("-v", "--verbose", about: "say on stderr what was agreed on, and how the connection ended"),
        ] + TLSArguments.clientOfURL,
        examples: [
            ("martlet ws connect ws://localhost:8765", "type to the chat; arrows recall lines, Ctrl-D ends"),
            ("martlet ws connect -m hello -C 1 ws://localhost:8765", "one message, and its answer"),
            ("seq 5 | martlet ws connect --json -W 1 ws://localhost:8765", "lines in, JSON out, and a second of patience"),
            ("martlet ws connect --cafile ca.pem wss://localhost:8443/feed", "TLS"),
        ],
        footnote: {
            """
            Binary messages are shown as text if they are UTF-8, as Base64 else; --json tells them apart: {"type":"text","text":…},
            {"type":"binary","base64":…}, and at the end {"type":"close","code":…,"reason":…}. Exit code 1: it ended with another
            code than 1000, 1001 or none.

            """
        },
        run: { arguments throws(CommandFailure) in run(try Options(arguments)) })

    private static func run(_ options: Options) -> Int32 {
        let stop = InputStop()
        return CommandTask.run(terminated: { _, task in
            task.cancel()
            stop.signal()
        }) { _ in
            let talk = WSTalk(options, until: stop)
            do throws(WebSocketError) { return try await talk.run() } catch {
                switch error {
                case .cancelled: return ExitCode.ok
                case .urlInvalid, .requestInvalid: return SocketEnd.say("ws connect", "\(error)", ExitCode.usage)
                case .unreachable, .handshakeInvalid: return SocketEnd.say("ws connect", "\(error)", ExitCode.peerUnreachable)
                case .refused(_, let status, _):
                    let isForbidden = status == 401 || status == 403
                    return SocketEnd.say("ws connect", "\(error)", isForbidden ? ExitCode.notPermitted : ExitCode.peerUnreachable)
                case .closed, .misuse, .busy: return SocketEnd.say("ws connect", "\(error)", ExitCode.failed)
                }
            }
        }
    }
}
