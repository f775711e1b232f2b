import MartletBytes
import MartletEventLoop
import MartletFramingProtocol
import MartletLogging
import MartletNet
import MartletSockets
import MartletTLS
import Synchronization

/// `martlet tcp echo`: one service, and the four ways to wait for its clients.
enum TCPEcho {
    /// What comes goes back, as it came: the handler is the same in all models.
    static let service = Service({ FramingMachine(.bytes) }) { event, bytes, machine, output in
        switch event {
        case .frame(let range): try machine.send(bytes.at(range), into: &output)
        }
    }

    static let command = Command(
        path: ["tcp", "echo"],
        summary: "a TCP server that sends back what it gets, under one of four I/O models",
        words: "[HOST:PORT]",
        options: Place.options + [
            .one("--model", value: "MODEL", about: "blocking, polling, threads or loop (default: loop)"),
            .one("--loops", value: "N", about: "model loop: event loops, one thread each (default: 1)"),
            .one("--tls-cert", value: "FILE", about: "model loop: serve TLS with this certificate chain (PEM)"),
            .one("--tls-key", value: "FILE", about: "its private key (PEM)"),
            .flag("-v", "--verbose", about: "a line on stderr for each client that comes and goes"),
        ],
        examples: [
            ("martlet tcp echo", "on 127.0.0.1:65432, by an event loop"),
            ("martlet tcp echo --model blocking -v", "one client after another; the second waits until the first is gone"),
            ("martlet tcp echo --model threads 127.0.0.1:7000", "a thread for each client"),
            ("martlet tcp echo --model polling & sleep 1; top", "what asking without pause costs"),
        ],
        footnote: {
            """
            models: blocking waits in recv for one client, the next is served when it has gone; polling asks all clients in turn
            and never waits; threads waits in recv with a thread for each client; loop waits for all at once (epoll).

            """
        },
        run: { arguments throws(CommandFailure) in try run(arguments) })

    private static func run(_ arguments: Arguments) throws(CommandFailure) -> Int32 {
        let place = try Place(arguments, of: "tcp echo", listens: true)
        let model = try model(arguments)
        var options = ServeOptions()
        options.loopCount = try arguments.integer("--loops", in: 1...64) ?? 1
        if arguments.has("--loops"), model != .loop { throw .usage("tcp echo: --loops goes with --model loop") }
        options.layer = try layer(arguments, model)
        let isVerbose = arguments.has("-v")
        // Without -v the first refusal alone: a system that is out of threads is so for everybody.
        let hasToldRefusal = Atomic<Bool>(false)
        options.clientChanged = { peer, reason in
            if isVerbose {
                StandardStream.error.write(reason.map { "closed \(peer): \($0)\n" } ?? "connected \(peer)\n")
            } else if case .some(.refused(let text)) = reason, !hasToldRefusal.exchange(true, ordering: .relaxed) {
                StandardStream.error.write("martlet: tcp echo: \(peer): \(text)\n")
            }
        }
        ProcessSetup.prepare()
        let socket = try bind(place)
        let stop = ServerStop()
        ProcessSetup.onTermination { _ in stop.stop() }
        StandardStream.error.write("listening tcp \(socket.address)\n")
        service.serve(model, on: socket, options, until: stop)
        return ExitCode.ok
    }

    private static func model(_ arguments: Arguments) throws(CommandFailure) -> ServerModel {
        guard let text = arguments.text("--model") else { return .loop }
        guard let model = ServerModel(rawValue: text) else {
            throw .usage("--model \(text): the models are \(ServerModel.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return model
    }

    /// `--tls-cert`, `--tls-key`: what each client's bytes go through.
    private static func layer(_ arguments: Arguments, _ model: ServerModel) throws(CommandFailure) -> (@Sendable () -> StreamLayer)? {
        let (certificate, key) = (arguments.text("--tls-cert"), arguments.text("--tls-key"))
        guard certificate != nil || key != nil else { return nil }
        guard let certificate, let key else { throw .usage("tcp echo: --tls-cert and --tls-key go together") }
        guard model == .loop else { throw .usage("tcp echo: TLS goes with --model loop") }
        do throws(TLSError) {
            let context = try TLSContext(server: TLSServerOptions(identity: TLSIdentity(certificate: certificate, key: key)))
            return { context.makeLayer() }
        } catch { throw CommandFailure(ExitCode.failed, "tcp echo: \(error)") }
    }

    private static func bind(_ place: Place) throws(CommandFailure) -> BoundSocket {
        do throws(NetError) {
            if let address = try place.address(phase: .listen) { return try BoundSocket(address) }
            if case .internet(let host, let port) = place, let address = try SocketAddress.resolve(host, port: port).first { return try BoundSocket(address) }
        } catch { throw CommandFailure(SocketEnd.code(of: error), "tcp echo: \(error)") }
        throw .usage("tcp echo: \(place) is no place to listen on")
    }
}
