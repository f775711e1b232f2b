import CLinux
import MartletBytes
import MartletLogging
import MartletNet
import MartletTLS
import MartletWebSocket

/// `martlet ws serve echo` and `martlet ws serve chat`.
enum WSServeCommand {
    struct Options: Sendable {
        let name: String
        let place: Place
        var server = WebSocketServerOptions()
        let hasPage: Bool
        let isVerbose: Bool

        init(_ arguments: Arguments, _ name: String) throws(CommandFailure) {
            self.name = name
            let host = arguments.text("--host"), port = try arguments.integer("--port", in: 0...65_535)
            if let listen = arguments.text("--listen") {
                if host != nil || port != nil { throw .usage("\(name): --listen \(listen) says the place: leave out --host and --port") }
                guard let place = Place(typed: listen), place != .unix("") else {
                    throw .usage("\(name): --listen \(listen): say HOST:PORT, :PORT for every address of this machine, or unix:PATH")
                }
                self.place = place
            } else {
                place = .internet(host: host ?? "localhost", port: UInt16(port ?? 8765))
            }
            server.http.tls = try TLSArguments.identity(arguments, "--cert", "--key").map { TLSServerOptions(identity: $0) }
            server.http.loops = try arguments.integer("--loops", in: 1...64) ?? 1
            server.http.grace = .seconds(try arguments.seconds("--grace") ?? 5)
            if let origins = try Self.origins(arguments, name) { server.origins = origins }
            if arguments.has("--no-deflate") { server.webSocket.deflate = nil }
            if let size = try arguments.integer("--message-max", in: 1...(1 << 30)) { server.webSocket.limits.messageMax = size }
            hasPage = name == "ws serve chat" && !arguments.has("--no-page")
            isVerbose = arguments.has("-v")
        }

        private static func origins(_ arguments: Arguments, _ name: String) throws(CommandFailure) -> WebSocketOrigins? {
            let said = arguments.texts("--origin")
            guard !said.isEmpty else { return nil }
            if said.contains("any") { return .any }
            for origin in said where origin != "null" && !origin.contains("://") {
                throw .usage("\(name): --origin \(origin): say SCHEME://HOST[:PORT], null, or any")
            }
            return .these(Set(said.map { $0.lowercased() }))
        }

        var isSecure: Bool { server.http.tls != nil }
        /// As `HTTPServer.serve` wants it.
        var address: String {
            let scheme = isSecure ? "https" : "http"
            return switch place {
            case .internet: "\(scheme)://\(place)"
            case .unix(let path): "\(scheme)+unix://\(path)"
            }
        }
    }

    private static let options: [Command.Option] = [
        .one("--host", value: "HOST", about: "name or address to listen on (default: localhost: 127.0.0.1 and ::1)"),
        .one("--port", value: "PORT", about: "port (default: 8765); 0 is a free one"),
        .one("--listen", value: "PLACE", about: "instead of both: HOST:PORT, :PORT for every address, or unix:PATH"),
        .one("--cert", "--tls-cert", value: "FILE", about: "speak TLS (wss) with this certificate (PEM), and --key"),
        .one("--key", "--tls-key", value: "FILE", about: "its private key (PEM)"),
        .many("--origin", value: "ORIGIN", about: "pages that may connect, such as https://example.org; null: files; any"),
        .one("--message-max", value: "BYTES", about: "the longest message (default: 1048576)"),
        .flag("--no-deflate", about: "do not compress messages (permessage-deflate)"),
        .one("--loops", value: "N", about: "event loops, one thread each (default: 1)"),
        .one("--grace", value: "SECONDS", about: "how long clients may take for their Close after Ctrl-C or SIGTERM (default: 5)"),
        .flag("-v", "--verbose", about: "a line on stderr for each client that comes and goes"),
    ]

    private static let footnote = """
        Any path is taken. Without --origin pages of the same host may connect, and to a server on localhost the pages of
        localhost and files too; programs that are no browsers always may.

        """

    static let echo = Command(
        path: ["ws", "serve", "echo"],
        summary: "a WebSocket server that sends back what it gets",
        options: options,
        examples: [
            ("martlet ws serve echo", "on ws://localhost:8765"),
            ("martlet ws serve echo --port 0", "a free port; the first line on stderr names it"),
            ("martlet ws serve echo --listen :8443 --cert cert.pem --key key.pem", "wss, for the network"),
        ],
        footnote: { footnote },
        run: { arguments throws(CommandFailure) in run(try Options(arguments, "ws serve echo")) })

    static let chat = Command(
        path: ["ws", "serve", "chat"],
        summary: "a chat: plain text in, \"[PORT]: text\" out to the others; with a page for browsers",
        options: options + [.flag("--no-page", about: "no page at /")],
        examples: [
            ("martlet ws serve chat", "then open http://localhost:8765/ twice, or martlet ws connect ws://localhost:8765"),
            ("martlet ws serve chat --host 0.0.0.0 --port 80 --origin http://chat.example", "for the network"),
        ],
        footnote: { footnote },
        run: { arguments throws(CommandFailure) in run(try Options(arguments, "ws serve chat")) })

    private static func run(_ options: Options) -> Int32 {
        CommandTask.run(terminated: { count, task in
            if count > 1 { ProcessSetup.exit(ExitCode.failed) }
            task.cancel()
        }) { _ in
            await SocketEnd.exitCode(options.name) {
                if options.name == "ws serve chat" { try await serveChat(options) } else { try await serve(options, WebSocketEvents { $0.send($1, $2) }) }
                return ExitCode.ok
            }
        }
    }

    private static func serveChat(_ options: Options) async throws {
        var options = options
        options.server.webSocket.subprotocols = [Chat.subprotocol]
        let chat = Chat { cl_wall_ns() / 1_000_000 }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await chat.run() }
            group.addTask { [options] in try await serve(options, chat.events) }
            _ = try await group.nextResult()?.get()
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    private static func serve(_ options: Options, _ events: WebSocketEvents) async throws {
        let endpoint = WebSocketEndpoint(
            options: options.server.webSocket, origins: options.server.origins, events: options.isVerbose ? told(events) : events)
        let page = options.hasPage ? try Self.page() : nil
        try await HTTPServer.serve(on: options.address, options: options.server.http, ready: { say($0, options) }) { request in
            if let page, request.upgrades.isEmpty, request.method == .get || request.method == .head {
                guard request.path == "/" else { throw HTTPFailure.notFound("the page is at /") }
                return page
            }
            return try endpoint.respond(to: request)
        }
    }

    private static func page() throws -> HTTPResponse {
        var page = HTTPResponse.html(ChatPage.html)
        try page.fields.set("Content-Security-Policy", to: ChatPage.policy)
        try page.fields.set("Cache-Control", to: "no-cache")
        try page.fields.set("X-Content-Type-Options", to: "nosniff")
        return page
    }

    private static func told(_ events: WebSocketEvents) -> WebSocketEvents {
        var told = events
        told.opened = { peer, request in
            StandardStream.error.write("connected \(peer.address) \(request.target)\(peer.subprotocol.map { " \($0)" } ?? "")\n")
            events.opened(peer, request)
        }
        told.closed = { peer, close in
            StandardStream.error.write("closed \(peer.address): \(close)\n")
            events.closed(peer, close)
        }
        return told
    }

    private static func say(_ address: SocketAddress, _ options: Options) {
        var text = "listening \(options.isSecure ? "wss" : "ws") \(address)\n"
        if options.hasPage, case .internet(let host, _) = options.place {
            let name = host == "localhost" ? "localhost:\(address.port)" : "\(address)"
            text += "the page is at http\(options.isSecure ? "s" : "")://\(name)/\n"
        }
        StandardStream.error.write(text)
    }
}
