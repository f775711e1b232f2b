import MartletAMQP

/// How `martlet amqp consume` and `martlet amqp get` print a message.
struct AMQPPrintOptions: Equatable, Sendable {
    enum Style: Equatable, Sendable { case body, keyAndBody, json }
    let style: Style
    let endsLines: Bool

    static let options: [Command.Option] = [
        .flag("-v", "--verbose", about: "the routing key in front of each message"),
        .flag("--json", about: "a JSON object a line, with exchange, routing key and properties"),
        .flag("-N", about: "no line end after a message"),
    ]

    init(_ arguments: Arguments) {
        style = arguments.has("--json") ? .json : arguments.has("-v") ? .keyAndBody : .body
        endsLines = !arguments.has("-N")
    }
}

/// `martlet amqp consume` as typed.
struct AMQPConsumeOptions: Sendable {
    enum Place: Equatable, Sendable {
        case queue(String)
        /// A queue of this command alone, bound to an exchange.
        case exchange(String, keys: [String])
    }
    let connection: AMQPConnectionArguments
    let place: Place
    /// Ends with success after so many messages; `nil`: never.
    let messageCountMax: Int?
    /// Messages that one basic.ack answers; `nil`: the server takes them as acknowledged.
    let ackEvery: Int?
    let prefetch: Int
    let isExclusive: Bool
    let timeout: Duration?
    let print: AMQPPrintOptions

    static let options: [Command.Option] =
        [
            .one("--queue", value: "NAME", about: "what to consume"),
            .one("--exchange", value: "NAME", about: "or: a queue of its own, bound to this exchange"),
            .many("--key", value: "KEY", about: "… with this routing key or pattern (default: none)"),
            .one("-n", "--count", value: "COUNT", about: "leave after COUNT messages"),
            .one("-W", value: "SECONDS", about: "give up after so long"),
            .one("--ack", value: "EVERY|auto", about: "acknowledge so many at a time, when they are printed; auto: not at all (default: 1)"),
            .one("--prefetch", value: "N", about: "unacknowledged messages at a time, 0 for no limit (default: 250)"),
            .flag("--exclusive", about: "nobody else may consume the queue"),
        ] + AMQPPrintOptions.options + AMQPConnectionArguments.options

    init(_ arguments: Arguments) throws(CommandFailure) {
        connection = try AMQPConnectionArguments(arguments, "amqp consume")
        switch (arguments.text("--queue"), arguments.text("--exchange")) {
        case (let queue?, nil) where !queue.isEmpty && !arguments.has("--key"): place = .queue(queue)
        case (nil, let exchange?) where !exchange.isEmpty:
            place = .exchange(exchange, keys: arguments.has("--key") ? arguments.texts("--key") : [""])
        default: throw .usage("amqp consume: say what: --queue NAME, or --exchange NAME and --key KEY for a queue of its own")
        }
        messageCountMax = try arguments.integer("-n", in: 1...Int(Int32.max))
        let every = arguments.text("--ack") == "auto" ? nil : try arguments.integer("--ack", in: 1...65_535) ?? 1
        ackEvery = every
        prefetch = try arguments.integer("--prefetch", in: 0...65_535) ?? max(every ?? 0, min(250, messageCountMax ?? 250))
        if let every, prefetch > 0, every > prefetch {
            throw .usage("--ack \(every): the server sends no more than \(prefetch) at a time; give --prefetch \(every) or more")
        }
        isExclusive = arguments.has("--exclusive")
        timeout = try arguments.integer("-W", in: 1...Int(Int32.max)).map { .seconds($0) }
        print = AMQPPrintOptions(arguments)
    }

    static let command = Command(
        path: ["amqp", "consume"],
        summary: "print the messages of a queue",
        options: options,
        examples: [
            ("martlet amqp consume --queue hello", "each is acknowledged when it is printed"),
            ("martlet amqp consume --exchange amq.topic --key 'home.*.temperature' --key 'alarm.#' -v", "what is published from now on"),
            ("martlet amqp consume --queue jobs --prefetch 1 -n 1 -W 5", "one message, or failure after five seconds"),
            ("martlet amqp consume --queue jobs --json | jq .properties", "with all their properties"),
        ],
        run: { arguments throws(CommandFailure) in AMQPRun.consume(try AMQPConsumeOptions(arguments)) })
}

/// `martlet amqp get` as typed.
struct AMQPGetOptions: Sendable {
    let connection: AMQPConnectionArguments
    let queue: String
    let count: Int
    let requeues: Bool
    let print: AMQPPrintOptions

    static let options: [Command.Option] =
        [
            .one("--queue", value: "NAME", about: "where to look"),
            .one("-n", "--count", value: "COUNT", about: "so many at most (default: 1)"),
            .flag("--requeue", about: "only look: all go back into the queue"),
        ] + AMQPPrintOptions.options + AMQPConnectionArguments.options

    init(_ arguments: Arguments) throws(CommandFailure) {
        connection = try AMQPConnectionArguments(arguments, "amqp get")
        queue = try arguments.name("--queue", of: "amqp get")
        count = try arguments.integer("-n", in: 1...1_000_000) ?? 1
        requeues = arguments.has("--requeue")
        print = AMQPPrintOptions(arguments)
    }

    static let command = Command(
        path: ["amqp", "get"],
        summary: "take messages that are in a queue, without waiting",
        options: options,
        examples: [
            ("martlet amqp get --queue hello", "one, which is gone then; fails if there is none"),
            ("martlet amqp get --queue jobs -n 10 --requeue --json", "look at the first ten"),
        ],
        run: { arguments throws(CommandFailure) in AMQPRun.get(try AMQPGetOptions(arguments)) })
}

extension Arguments {
    /// What has to be there, and not empty.
    func name(_ flag: String, of command: String) throws(CommandFailure) -> String {
        guard let name = text(flag), !name.isEmpty else { throw .usage("\(command): add \(flag) NAME") }
        return name
    }
}
