import CLinux
import MartletLogging
import MartletSockets
import MartletTLS

/// `martlet tcp connect`: stdin to a server, the server to stdout.
enum TCPConnectCommand {
    struct Options: Sendable {
        var place: Place
        var tls: TLSClientOptions?
        var stream = StreamOptions()
        var pipe = StandardPipe.Options()
        var timeout: Duration
        var isVerbose: Bool

        init(_ arguments: Arguments) throws(CommandFailure) {
            place = try Place(arguments, of: "tcp connect")
            tls = try TLSArguments.clientOptions(arguments, for: place)
            stream.bindAddress = try SocketArguments.bindAddress(arguments)
            pipe = try SocketArguments.pipe(arguments)
            timeout = .seconds(try arguments.seconds("--timeout") ?? 10)
            isVerbose = arguments.has("-v")
        }
    }

    static let command = Command(
        path: ["tcp", "connect"],
        summary: "connect stdin and stdout to a TCP server, with TLS if asked",
        words: "HOST:PORT",
        options: Place.options + SocketArguments.pipeOptions + [
            .one("--timeout", value: "SECONDS", about: "for connecting, TLS included (default: 10)"),
            .one("--bind", value: "ADDRESS[:PORT]", about: "connect from this address"),
            .flag("-4", "--ipv4", about: "IPv4 alone"),
            .flag("-6", "--ipv6", about: "IPv6 alone"),
            .flag("-v", "--verbose", about: "say on stderr how the connection came about, and how it was"),
        ] + TLSArguments.client,
        examples: [
            ("martlet tcp connect localhost:65432", "type to the course's server; Ctrl-D ends"),
            ("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | martlet tcp connect example.org:80", "a request, and all of its answer"),
            ("martlet tcp connect -v --tls --alpn h2 example.org:443 </dev/null", "names, attempts, certificate, round-trip time"),
            ("tar c . | martlet tcp connect backup.example:9000", "a folder to `martlet tcp listen --host 0.0.0.0 --port 9000 | tar x`"),
            ("martlet tcp connect unix:/run/app.sock", "a Unix socket; unix:@NAME for an abstract one"),
        ],
        footnote: { SocketArguments.pipeFootnote },
        run: { arguments throws(CommandFailure) in run(try Options(arguments)) })

    private static func run(_ options: Options) -> Int32 {
        let stop = InputStop()
        return CommandTask.run(terminated: { _, task in
            task.cancel()
            stop.signal()
        }) { _ in
            let pipe = StandardPipe(options.pipe, until: stop)
            return await SocketEnd.exitCode("tcp connect") {
                let report = options.isVerbose ? TCPReport() : nil
                let body = { (connection: TCPConnection) async throws -> Bool in
                    report?.opened(connection, place: "\(options.place)")
                    let isComplete = try await pipe.run(connection, report)
                    report?.ended(pipe.counts)
                    return isComplete
                }
                let isComplete =
                    switch options.place {
                    case .internet:
                        try await TCP.withConnection(
                            to: "\(options.place)", tls: options.tls, options: options.stream, timeout: options.timeout, body)
                    case .unix(let path):
                        try await Unix.withConnection(to: path, options: options.stream, timeout: options.timeout, body)
                    }
                return isComplete ? ExitCode.ok : SocketEnd.isIdle("tcp connect", options.pipe)
            }
        }
    }
}
