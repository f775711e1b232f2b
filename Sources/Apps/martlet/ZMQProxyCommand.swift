import MartletLogging
import MartletZMQ

/// `martlet zmq proxy …` as typed.
struct ZMQProxyOptions: Sendable {
    /// One of its two sides.
    struct Side: Sendable {
        let type: String
        let bind: [String]
        let connect: [String]
    }
    let frontend: Side
    let backend: Side
    let capture: [String]
    let control: [String]
    let socket: ZMQSocketOptions

    private static let devices = ["queue": "router/dealer", "forwarder": "xsub/xpub", "streamer": "pull/push"]

    static let command = Command(
        path: ["zmq", "proxy"],
        summary: "move messages between two sockets, until a signal",
        options: [
            .one("--types", value: "FRONT/BACK", about: "router/dealer (default), xsub/xpub, pull/push, or others; or queue, forwarder, streamer"),
            .many("--frontend", value: "URL", about: "wait there for clients, publishers, ventilators"),
            .many("--backend", value: "URL", about: "wait there for workers, subscribers, sinks"),
            .many("--frontend-connect", value: "URL", about: "connect the frontend instead, or as well"),
            .many("--backend-connect", value: "URL", about: "connect the backend instead, or as well"),
            .many("--capture", value: "URL", about: "publish a copy of all that passes there, by a PUB"),
            .many("--control", value: "URL", about: "a REP that obeys PAUSE, RESUME, TERMINATE and STATISTICS"),
            .one("--hwm", value: "COUNT", about: "high-water mark of each peer in both directions (default: 1000; 0: none)"),
        ] + ZMQSecurityArguments.options,
        examples: [
            ("martlet zmq proxy --frontend tcp://*:5559 --backend tcp://*:5560", "REQ clients to REP workers"),
            ("martlet zmq proxy --types xsub/xpub --frontend tcp://*:5559 --backend tcp://*:5560", "publishers to subscribers"),
            ("martlet zmq proxy --types pull/push --frontend-connect tcp://a:5557 --backend tcp://*:5558", "work from elsewhere, dealt again"),
            ("martlet zmq req --connect ipc://@steer -m STATISTICS", "asks one started with --control ipc://@steer"),
        ],
        footnote: {
            """
            What passed is on stderr at the end, and, once, why a side reaches nobody. PLAIN, CURVE and certificates count for
            both sides; capture and control have none: keep them local. The answer to STATISTICS is eight frames of 8 bytes:
            messages and bytes received, then sent, by the frontend, and the same of the backend.

            """
        },
        run: { arguments throws(CommandFailure) in ZMQProxyRun.run(try ZMQProxyOptions(arguments)) })

    init(_ arguments: Arguments) throws(CommandFailure) {
        let typed = arguments.text("--types") ?? "router/dealer"
        let types = (Self.devices[typed] ?? typed).lowercased().split(separator: "/").map(String.init)
        guard types.count == 2, types.allSatisfy({ ZMQProxyRun.patterns[$0] != nil }) else {
            throw .usage("zmq proxy: --types \(typed): two of \(ZMQProxyRun.patterns.keys.sorted().joined(separator: ", ")), with / between them")
        }
        frontend = Side(type: types[0], bind: arguments.texts("--frontend"), connect: arguments.texts("--frontend-connect"))
        backend = Side(type: types[1], bind: arguments.texts("--backend"), connect: arguments.texts("--backend-connect"))
        capture = arguments.texts("--capture")
        control = arguments.texts("--control")
        for (side, name) in [(frontend, "frontend"), (backend, "backend")] where side.bind.isEmpty && side.connect.isEmpty {
            throw .usage("zmq proxy: say where the \(name) is: --\(name) URL or --\(name)-connect URL")
        }
        try ZMQOptions.check(frontend.bind + frontend.connect + backend.bind + backend.connect + capture + control, "zmq proxy")
        var socket = ZMQSocketOptions()
        if let mark = try arguments.integer("--hwm", in: 0...(1 << 30)) { (socket.sendHighWaterMark, socket.receiveHighWaterMark) = (mark, mark) }
        try ZMQSecurityArguments.apply(arguments, "zmq proxy", bound: frontend.bind + backend.bind, to: &socket)
        self.socket = socket
    }
}

/// What `martlet zmq proxy` does.
enum ZMQProxyRun {
    static let patterns: [String: any ZMQPattern] = [
        "router": .router, "dealer": .dealer, "xsub": .xsub, "xpub": .xpub, "sub": .sub, "pub": .pub, "pull": .pull, "push": .push, "pair": .pair,
    ]

    static func run(_ options: ZMQProxyOptions) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            do {
                guard let front = patterns[options.frontend.type], let back = patterns[options.backend.type] else { return ExitCode.usage }
                return try await run(front, back, options)
            } catch {
                StandardStream.error.write("martlet: zmq proxy: \(error)\n")
                return ZMQRun.code(of: error)
            }
        }
    }

    private static func run<Front: ZMQPattern, Back: ZMQPattern>(_ front: Front, _ back: Back, _ options: ZMQProxyOptions) async throws -> Int32 {
        let frontend = ZMQSocket(front, options: options.socket), backend = ZMQSocket(back, options: options.socket)
        let capture = ZMQSocket(.pub), control = ZMQSocket(.rep)
        let proxy =
            options.capture.isEmpty
            ? try ZMQProxy(frontend: frontend, backend: backend) : try ZMQProxy(frontend: frontend, backend: backend, capture: capture)
        for url in options.capture { say("capture", try await capture.bind(url)) }
        for url in options.control { say("control", try await control.bind(url)) }
        try await open(frontend, options.frontend, "frontend")
        try await open(backend, options.backend, "backend")
        do throws(ZMQError) {
            if options.control.isEmpty { try await proxy.run() } else { try await proxy.run(control: control) }
        } catch { if error != .cancelled { throw error } }
        await frontend.close()
        await backend.close()
        await control.close()
        await capture.close()
        let end = proxy.statistics, forward = end.receivedByFrontend, backward = end.receivedByBackend
        StandardStream.error.write(
            "frontend to backend: \(forward.messages) messages, \(forward.bytes) bytes; back: \(backward.messages) messages, \(backward.bytes) bytes\n")
        return ExitCode.ok
    }

    private static func open<Pattern: ZMQPattern>(_ socket: ZMQSocket<Pattern>, _ side: ZMQProxyOptions.Side, _ name: String) async throws {
        if let sub = socket as? ZMQSocket<ZMQSub> { sub.subscribe(to: "") }
        // They end with the socket.
        let events = socket.events
        Task { await ZMQRun.tellFailures(events, "proxy \(name)") }
        for url in side.bind { say(name, try await socket.bind(url)) }
        for url in side.connect { try socket.connect(url) }
    }

    private static func say(_ name: String, _ endpoint: ZMQEndpoint) { StandardStream.error.write("listening zmq \(name) \(endpoint)\n") }
}
