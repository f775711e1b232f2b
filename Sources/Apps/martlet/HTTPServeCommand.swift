import MartletFiles
import MartletHTTP
import MartletLogging
import MartletNet
import MartletTLS

/// `martlet http serve`: the files below a directory, for whoever may reach the address.
enum HTTPServeCommand {
    struct Options: Sendable {
        let directory: String
        let place: Place
        let tls: TLSServerOptions?
        let loopCount: Int
        let grace: Duration
        let listsDirectories: Bool
        /// Answered instead of what is not there.
        let fallback: String?
        let isQuiet: Bool

        init(_ arguments: Arguments) throws(CommandFailure) {
            if arguments.words.count > 1 { throw .usage("http serve: unexpected \"\(arguments.words[1])\": say one directory") }
            directory = arguments.words.first ?? "."
            place = try Self.place(arguments)
            tls = try TLSArguments.identity(arguments, "--cert", "--key").map { TLSServerOptions(identity: $0) }
            loopCount = try arguments.integer("--loops", in: 1...64) ?? 1
            grace = .seconds(try arguments.seconds("--grace") ?? 10)
            fallback = arguments.text("--spa")
            listsDirectories = !arguments.has("--no-listing") && fallback == nil
            isQuiet = arguments.has("--quiet")
        }

        private static func place(_ arguments: Arguments) throws(CommandFailure) -> Place {
            let host = arguments.text("--host"), port = try arguments.integer("--port", in: 0...65_535)
            guard let listen = arguments.text("--listen") else { return .internet(host: host ?? "127.0.0.1", port: UInt16(port ?? 8000)) }
            if host != nil || port != nil { throw .usage("http serve: --listen \(listen) says the place: leave out --host and --port") }
            guard let place = Place(typed: listen), place != .unix("") else {
                throw .usage("http serve: --listen \(listen): say HOST:PORT, :PORT for every address of this machine, or unix:PATH")
            }
            return place
        }

        /// As `HTTPServer.serve` wants it.
        var address: String {
            let scheme = tls == nil ? "http" : "https"
            return switch place {
            case .internet: "\(scheme)://\(place)"
            case .unix(let path): "\(scheme)+unix://\(path)"
            }
        }
    }

    static let command = Command(
        path: ["http", "serve"],
        summary: "serve the files below a directory over HTTP",
        words: "[DIR]",
        options: [
            .one("--host", value: "HOST", about: "name or address to listen on (default: 127.0.0.1)"),
            .one("--port", value: "PORT", about: "port (default: 8000); 0 is a free one"),
            .one("--listen", value: "PLACE", about: "instead of both: HOST:PORT, :PORT for every address, or unix:PATH"),
            .one("--cert", "--tls-cert", value: "FILE", about: "speak TLS with this certificate (PEM), and --key"),
            .one("--key", "--tls-key", value: "FILE", about: "its private key (PEM)"),
            .flag("--no-listing", about: "a directory without index.html is 404, not a list of what is in it"),
            .one("--spa", value: "FILE", about: "what is not there is this file below DIR: for routes within a page; no lists"),
            .one("--loops", value: "N", about: "event loops, one thread each (default: 1)"),
            .one("--grace", value: "SECONDS", about: "how long downloads may go on after Ctrl-C or SIGTERM (default: 10)"),
            .flag("-q", "--quiet", about: "no line on stderr for each request"),
        ],
        examples: [
            ("martlet http serve", "this directory on http://127.0.0.1:8000/"),
            ("martlet http serve site --port 0", "a free port; the first line on stderr names it"),
            ("martlet http serve /srv/www --host 0.0.0.0 --port 80 --no-listing", "for the network"),
            ("martlet http serve dist --spa index.html", "an application that routes in the browser"),
            ("martlet http serve --listen localhost:8443 --cert cert.pem --key key.pem", "https"),
            ("martlet http serve --listen unix:/run/files.sock", "behind a proxy on this machine"),
            ("martlet http :8000/photos/ Accept:application/json", "what is in a directory, for a script"),
        ],
        footnote: {
            """
            DIR is this directory without one. Nothing outside of it is served, whatever paths and links say, nor names that
            begin with a dot, but for .well-known. Parts, conditions (ETag, dates) and gzip work as browsers ask for them.
            A request's line: method, target, status, bytes of content, microseconds, peer, its number.

            """
        },
        run: { arguments throws(CommandFailure) in try run(try Options(arguments)) })

    private static func run(_ options: Options) throws(CommandFailure) -> Int32 {
        do throws(FileError) { _ = try File(directory: options.directory) } catch {
            throw CommandFailure(error.isForbidden ? ExitCode.notPermitted : ExitCode.failed, "http serve: \(error)")
        }
        return CommandTask.run(terminated: { count, task in
            if count > 1 { ProcessSetup.exit(ExitCode.failed) }
            task.cancel()
        }) { _ in
            await SocketEnd.exitCode("http serve") {
                try await serve(options)
                return ExitCode.ok
            }
        }
    }

    private static func serve(_ options: Options) async throws {
        var files = try HTTPFiles(options.directory)
        files.listsDirectories = options.listsDirectories
        var server = HTTPServerOptions()
        server.tls = options.tls
        server.loops = options.loopCount
        server.grace = options.grace
        if !options.isQuiet { server.accessLog = { StandardStream.error.write($0.span) } }
        let directory = files, fallback = options.fallback
        try await HTTPServer.serve(on: options.address, options: server, ready: { say($0, options) }) { request in
            do throws(HTTPFailure) { return try await directory.respond(to: request) } catch {
                guard let fallback, error.status == .notFound else { throw error }
                return try await directory.respond(to: request, at: fallback)
            }
        }
    }

    private static func say(_ address: SocketAddress, _ options: Options) {
        let scheme = options.tls == nil ? "http" : "https"
        var text = "listening \(scheme) \(address)\n"
        if case .internet = options.place { text += "\(options.directory) is at \(scheme)://\(address)/\n" }
        StandardStream.error.write(text)
    }
}
