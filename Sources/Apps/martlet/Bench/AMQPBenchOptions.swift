import MartletAMQP

/// `martlet bench amqp` as typed.
struct AMQPBenchOptions: Equatable, Sendable {
    enum Exchange: String, CaseIterable, Sendable { case `default`, direct, fanout, topic, headers }

    let server: AMQPServerURL
    /// `nil`: without TLS.
    let tls: TLSClientOptions?
    private(set) var load: BenchLoad
    let exchange: Exchange
    let queueCount: Int
    /// Of each queue to the exchange, each with a key of its own.
    let bindingCount: Int
    /// Deliveries that one basic.ack answers; `nil`: consumers are without acknowledgements.
    let ackEvery: Int?
    /// Unconfirmed messages of a publisher; `nil`: without confirms.
    let confirmWindow: Int?
    /// Of basic.qos; 0: no limit.
    let prefetch: Int
    /// Durable queues, messages with delivery mode 2.
    let isPersistent: Bool

    static let options: [Command.Option] =
        [
            .one("--publishers", value: "N", about: "connections that publish (default: 1)"),
            .one("--consumers", value: "N", about: "connections that consume (default: 1; 0 with --confirm measures confirms)"),
            .one("--queues", value: "N", about: "queues, taken in turn by both (default: 1)"),
            .one("--exchange", value: "KIND", about: "default, direct, fanout, topic or headers (default: default)"),
            .one("--bindings", value: "N", about: "of each queue to the exchange, taken in turn (default: 1)"),
            .one("--ack", value: "EVERY|auto", about: "acknowledge so many deliveries at a time, or none at all (default: auto)"),
            .one("--prefetch", value: "N", about: "unacknowledged deliveries of a consumer, 0 for no limit (default: 500)"),
            .one("--confirm", value: "WINDOW", about: "publisher confirms, so many messages unconfirmed (default: without)"),
            .flag("--persistent", about: "durable queues, messages with delivery mode 2"),
        ] + BenchLoad.options + TLSFlags.amqp + BenchLoad.output

    init(_ arguments: Arguments) throws(CommandFailure) {
        guard let url = arguments.words.first, arguments.words.count == 1 else {
            throw .usage("bench amqp: say one server: amqp[s]://[USER[:PASSWORD]@]HOST[:PORT][/VHOST]")
        }
        do throws(AMQPError) { server = try AMQPServerURL(url) } catch { throw .usage("bench amqp: \(error)") }
        tls = try TLSFlags.parse(arguments, of: TLSFlags.amqp, isAsked: server.isSecure)
        if tls != nil, !server.isSecure { throw .usage("bench amqp: the URL is without TLS: write amqps://, or leave out the flags about TLS") }
        load = try BenchLoad(arguments, receivers: "--consumers")
        let kind = arguments.text("--exchange") ?? "default"
        guard let exchange = Exchange(rawValue: kind) else {
            throw .usage("--exchange \(kind): one of \(Exchange.allCases.map(\.rawValue).joined(separator: ", "))")
        }
        self.exchange = exchange
        queueCount = try arguments.integer("--queues", in: 1...100_000) ?? 1
        bindingCount = try arguments.integer("--bindings", in: 1...10_000) ?? 1
        if exchange == .default, bindingCount > 1 {
            throw .usage("--bindings \(bindingCount): the default exchange has one for each queue; name another --exchange")
        }
        ackEvery = arguments.text("--ack") == "auto" ? nil : try arguments.integer("--ack", in: 1...65_535)
        prefetch = try arguments.integer("--prefetch", in: 0...65_535) ?? 500
        confirmWindow = try arguments.integer("--confirm", in: 1...1_000_000)
        isPersistent = arguments.has("--persistent")
        if let every = ackEvery, prefetch > 0, every > prefetch {
            throw .usage("--ack \(every): a consumer gets no more than \(prefetch) at a time; give --prefetch \(every) or more")
        }
        load.copies = load.receiverCount == 0 ? 0 : exchange == .fanout ? queueCount : 1
        load.isAnswered = confirmWindow != nil
        load.isHeldBack = true
    }

    static let command = Command(
        path: ["bench", "amqp"],
        summary: "load an AMQP server and measure it",
        words: "URL",
        options: options,
        examples: [
            ("martlet bench amqp amqp://localhost", "one publisher, one consumer, one queue, as fast as it goes"),
            ("martlet bench amqp amqp://localhost --ack 50 --confirm 500", "acknowledged and confirmed"),
            ("martlet bench amqp amqp://localhost --publishers 10 --consumers 10 --queues 10 --exchange topic", "ten queues behind a topic exchange"),
            ("martlet bench amqp amqp://localhost --rate 5000 --duration 10", "a fixed rate, with honest latencies"),
            ("martlet bench amqp amqp://u:p@localhost:5672/vhost --count 100000 --json", "for a script"),
        ],
        footnote: {
            "A message's latency is from when it was due (--rate) or sent until a consumer has it,\n"
                + "or without consumers until it is confirmed. What a window or a full socket holds up counts as late with --rate.\n"
                + "Queues and exchange have names of this run and are deleted at its end.\n"
        },
        run: { arguments throws(CommandFailure) in AMQPBench.run(try AMQPBenchOptions(arguments)) })
}
