import MartletEventLoop
import MartletLogging
import MartletSockets
import MartletTLS

/// `martlet tcp listen`: one client's bytes to stdout and stdin to it; with `-k` one after another and several at once.
enum TCPListenCommand {
    struct Options: Sendable {
        var place: Place
        var tls: TLSServerOptions?
        var pipe = StandardPipe.Options()
        var keepsListening: Bool
        var isVerbose: Bool

        init(_ arguments: Arguments) throws(CommandFailure) {
            place = try Place(arguments, of: "tcp listen", listens: true)
            tls = try TLSArguments.serverOptions(arguments, for: place)
            pipe = try SocketArguments.pipe(arguments)
            keepsListening = arguments.has("-k")
            if keepsListening, pipe.idleMax != nil { throw .usage("tcp listen: -k waits for clients for ever: leave out -W") }
            isVerbose = arguments.has("-v")
        }
    }

    static let command = Command(
        path: ["tcp", "listen"],
        summary: "serve a TCP client with stdin and stdout, with TLS if asked",
        words: "HOST:PORT",
        options: Place.options + [
            .flag("-k", "--keep-listening", about: "serve many, also at once: their bytes to stdout as they come, stdin to all")
        ] + SocketArguments.pipeOptions + [.flag("-v", "--verbose", about: "say on stderr who comes and goes")] + TLSArguments.server,
        examples: [
            ("martlet tcp listen", "one client on the course's 127.0.0.1:65432"),
            ("martlet tcp listen --host 0.0.0.0 --port 9000 > backup.tar", "takes a file from the network"),
            ("martlet tcp listen -k -v --port 9000 < /dev/null >> log", "collects what many clients send"),
            ("martlet tcp listen --port 8443 --tls-cert cert.pem --tls-key key.pem", "the same with TLS"),
            ("martlet tcp listen unix:/tmp/x.sock", "a Unix socket"),
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
            return await SocketEnd.exitCode("tcp listen") { options.keepsListening ? try await serveAll(options, pipe) : try await serveOne(options, pipe) }
        }
    }

    private static func listen(_ options: Options, _ serve: @escaping @Sendable (TCPConnection) async throws -> Void) async throws(NetError) {
        let ready: @Sendable (SocketAddress) -> Void = { StandardStream.error.write("listening tcp \($0)\n") }
        switch options.place {
        case .internet: try await TCP.listen(on: "\(options.place)", tls: options.tls, ready: ready, serve)
        case .unix(let path): try await Unix.listen(on: path, ready: ready, serve)
        }
    }

    /// Runs the listener until `serve` or the listener itself says how it ended.
    private static func listen(
        _ options: Options, until end: Once<Result<Int32, any Error>>, _ serve: @escaping @Sendable (TCPConnection) async throws -> Void
    ) async throws -> Int32 {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                do throws(NetError) {
                    try await listen(options, serve)
                    end.resume(returning: .success(ExitCode.ok))
                } catch { end.resume(returning: .failure(error)) }
            }
            defer { group.cancelAll() }
            return try await end.wait().get()
        }
    }

    /// The first client is the only one; who comes while it is there is turned away.
    private static func serveOne(_ options: Options, _ pipe: StandardPipe) async throws -> Int32 {
        let isTaken = Once<Bool>(), end = Once<Result<Int32, any Error>>()
        let report = options.isVerbose ? TCPReport() : nil
        return try await listen(options, until: end) { connection in
            guard isTaken.resume(returning: true) else { return connection.abort() }
            report?.accepted(connection)
            do {
                let isComplete = try await pipe.run(connection, report)
                report?.ended(pipe.counts)
                try await connection.close()
                end.resume(returning: .success(isComplete ? ExitCode.ok : SocketEnd.isIdle("tcp listen", options.pipe)))
            } catch { end.resume(returning: .failure(error)) }
        }
    }

    private static func serveAll(_ options: Options, _ pipe: StandardPipe) async throws -> Int32 {
        let end = Once<Result<Int32, any Error>>(), audience = Audience()
        let report = options.isVerbose ? TCPReport() : nil
        let broadcast = Task(executorPreference: pipe.inputThread) { try await pipe.send(to: audience) }
        defer { broadcast.cancel() }
        return try await listen(options, until: end) { connection in
            report?.accepted(connection)
            let seat = audience.add(connection)
            defer { audience.remove(seat) }
            let received = try await pipe.receiveAll(from: connection)
            guard let received else { return _ = end.resume(returning: .success(ExitCode.ok)) }
            report?.ended((0, received))
        }
    }
}
