import MartletZMQ

/// `martlet bench zmq` as typed.
struct ZMQBench: Sendable {
    enum Pattern: String, CaseIterable { case pushPull = "push/pull", pubSub = "pub/sub", reqRep = "req/rep" }
    enum Role: String, CaseIterable { case both, send, receive }

    let pattern: Pattern
    let role: Role
    /// Where senders are, and receivers.
    let endpoint: String
    let receiving: String?
    let binds: Bool
    let load: BenchLoad
    let socket: ZMQSocketOptions

    static let command = Command(
        path: ["bench", "zmq"],
        summary: "load ZeroMQ peers, or what lies between them, and measure it",
        words: "URL",
        options: [
            .one("--pattern", value: "PATTERN", about: "push/pull, pub/sub or req/rep (default: push/pull)"),
            .one("--role", value: "ROLE", about: "both, send or receive: which ends are ours (default: both; with req/rep: send)"),
            .flag("--bind", about: "with one end: wait at URL for the peer, instead of connecting"),
            .one("--from", value: "URL", about: "with both ends: receive from there, what is sent to URL: through a proxy, say"),
            .one("--senders", value: "N", about: "sockets that send or ask (default: 1)"),
            .one("--receivers", value: "N", about: "sockets that receive or answer (default: 1)"),
            .one("--hwm", value: "COUNT", about: "high-water mark in both directions (default: 1000; 0: none)"),
        ] + BenchLoad.options.filter { $0.names[0] != "--loops" } + ZMQSecurityArguments.options + BenchLoad.output,
        examples: [
            ("martlet bench zmq tcp://127.0.0.1:5557", "PUSH to PULL, both ours, as fast as it goes"),
            ("martlet bench zmq tcp://127.0.0.1:5555 --pattern req/rep", "asks a REP that is there, one request at a time"),
            ("martlet bench zmq tcp://localhost:5559 --from tcp://localhost:5560", "through a proxy of PULL and PUSH"),
            ("martlet bench zmq tcp://*:5556 --pattern pub/sub --role send --bind --rate 10000", "publishes to SUBs of any kind, at a fixed rate"),
            ("martlet bench zmq ipc:///tmp/x --count 100000 --json", "for a script"),
        ],
        footnote: {
            """
            A message's latency is from when it was due (--rate) or sent until it is received; of req/rep, until the reply is there.
            It is known where both ends are ours, or run on one machine. PUB drops what a slow SUB cannot take.
            An error is a connection that was lost or refused, or a reply that is not its request's.

            """
        },
        run: { arguments throws(CommandFailure) in ZMQBenchRun.run(try ZMQBench(arguments)) })

    init(_ arguments: Arguments) throws(CommandFailure) {
        guard let url = arguments.words.first, arguments.words.count == 1 else {
            throw .usage("bench zmq: say one URL, such as tcp://HOST:PORT or ipc:///PATH")
        }
        endpoint = url
        receiving = arguments.text("--from")
        try ZMQOptions.check([url] + (receiving.map { [$0] } ?? []), "bench zmq")
        pattern = try Self.choice(arguments, "--pattern") ?? .pushPull
        role = try Self.choice(arguments, "--role") ?? (pattern == .reqRep && receiving == nil ? .send : .both)
        binds = arguments.has("--bind")
        if role == .both, binds { throw .usage("bench zmq: --bind goes with --role send or receive") }
        if role != .both, receiving != nil { throw .usage("bench zmq: --from goes with --role both") }
        var socket = ZMQSocketOptions()
        if let mark = try arguments.integer("--hwm", in: 0...(1 << 30)) { (socket.sendHighWaterMark, socket.receiveHighWaterMark) = (mark, mark) }
        let isBound = binds || role == .both && receiving == nil
        try ZMQSecurityArguments.apply(arguments, "bench zmq", bound: isBound ? [url] : [], to: &socket)
        self.socket = socket
        let count = try arguments.integer("--count", in: 1...(1 << 40))
        let senders = try arguments.integer("--senders", in: 1...10_000) ?? 1, receivers = try arguments.integer("--receivers", in: 1...10_000) ?? 1
        if role == .both, receiving == nil, senders > 1, receivers > 1 {
            throw .usage("bench zmq: of several senders and several receivers neither can wait at URL alone: put a proxy between them, and say --from")
        }
        load = BenchLoad(
            publisherCount: role == .receive ? 0 : senders, receiverCount: role == .send && pattern != .reqRep ? 0 : receivers,
            payloadSize: try arguments.integer("--size", in: 16...(1 << 24)) ?? 64, messageCount: count, seconds: try arguments.seconds("--duration") ?? 5,
            warmUpSeconds: count == nil && role != .receive ? try arguments.seconds("--warm-up") ?? 1 : 0,
            rate: try arguments.integer("--rate", in: 1...100_000_000).map(Double.init), loopCount: 1, isJSON: arguments.has("--json"),
            isQuiet: arguments.has("--quiet"), copies: pattern == .pubSub ? receivers : 1)
        if role == .receive, load.rate != nil { throw .usage("bench zmq: --rate is for those who send") }
    }

    private static func choice<Choice: RawRepresentable & CaseIterable>(_ arguments: Arguments, _ name: String) throws(CommandFailure) -> Choice?
    where Choice.RawValue == String {
        guard let text = arguments.text(name) else { return nil }
        guard let choice = Choice(rawValue: text) else {
            throw .usage("\(name) \(text): one of \(Choice.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        return choice
    }

    /// The row of the table that says what was asked for.
    var text: String {
        let names = pattern.rawValue.split(separator: "/").map { $0.uppercased() }
        let sides = [(names[0], load.publisherCount), (names[1], role == .send ? 0 : load.receiverCount)].filter { $0.1 > 0 }
        let rate = load.rate.map { ", \(BenchFigures.grouped($0))/s" } ?? ""
        return sides.map { "\($0.1) \($0.0)" }.joined(separator: " to ") + ", \(load.payloadSize) bytes\(rate)"
    }
}
