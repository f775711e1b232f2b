import MartletAMQP

/// `martlet amqp publish` as typed. Invariant: exactly one source of messages, and one place for them.
struct AMQPPublishOptions: Sendable {
    let connection: AMQPConnectionArguments
    /// Empty: the default exchange, where the key is a queue's name.
    let exchange: String
    let routingKey: String
    let source: MessageSource
    /// How often the one message is published.
    let count: Int
    let isMandatory: Bool
    let properties: AMQPMessageProperties

    static let options: [Command.Option] =
        [
            .one("--queue", value: "NAME", about: "to this queue, through the default exchange"),
            .one("--exchange", value: "NAME", about: "to this exchange, …"),
            .one("--key", value: "KEY", about: "… with this routing key (default: none)"),
            .one("-m", "--message", value: "TEXT", about: "the message"),
            .one("-f", "--file", value: "FILE", about: "a file as one message"),
            .flag("-l", "--stdin-line", about: "every line of stdin as a message"),
            .flag("-s", "--stdin-file", about: "all of stdin as one message"),
            .one("-n", "--count", value: "COUNT", about: "publish it so often (default: 1)"),
            .flag("--persistent", about: "the server keeps it over a restart, in a durable queue"),
            .flag("--mandatory", about: "fail if it gets into no queue"),
            .many("--header", "--headers", value: "NAME=TEXT|NAME:=JSON", about: "a header, a text or anything else"),
            .one("--content-type", value: "TYPE", about: "such as application/json"),
            .one("--content-encoding", value: "NAME", about: "such as gzip"),
            .one("--correlation-id", value: "ID", about: "to which request this is the answer"),
            .one("--reply-to", value: "QUEUE", about: "where the answer shall go"),
            .one("--message-id", value: "ID", about: "its own identifier"),
            .one("--type", value: "NAME", about: "its kind"),
            .one("--app-id", value: "NAME", about: "who publishes"),
            .one("--user-id", value: "NAME", about: "as which user, which the server checks"),
            .one("--priority", value: "0-255", about: "its priority"),
            .one("--expiration", value: "MILLISECONDS", about: "how long it is of use"),
            .one("--timestamp", value: "SECONDS", about: "its time, since 1970"),
        ] + AMQPConnectionArguments.options

    init(_ arguments: Arguments) throws(CommandFailure) {
        connection = try AMQPConnectionArguments(arguments, "amqp publish")
        if let queue = arguments.text("--queue") {
            if arguments.has("--exchange") || arguments.has("--key") { throw .usage("amqp publish: --queue says it all: leave out --exchange and --key") }
            (exchange, routingKey) = ("", queue)
        } else {
            guard arguments.has("--exchange") || arguments.has("--key") else {
                throw .usage("amqp publish: say where: --queue NAME, or --exchange NAME and --key KEY")
            }
            (exchange, routingKey) = (arguments.text("--exchange") ?? "", arguments.text("--key") ?? "")
        }
        source = try MessageSource(arguments, "amqp publish", flags: ["-m", "-f", "-l", "-s"])
        count = try arguments.integer("-n", in: 1...1_000_000_000) ?? 1
        if source == .lines, arguments.has("-n") { throw .usage("amqp publish: -n repeats one message: leave it out, or -l") }
        isMandatory = arguments.has("--mandatory")
        properties = try Self.properties(arguments)
    }

    private static func properties(_ arguments: Arguments) throws(CommandFailure) -> AMQPMessageProperties {
        var properties = AMQPMessageProperties()
        properties.isPersistent = arguments.has("--persistent")
        let headers = try arguments.table("--header")
        if !headers.fields.isEmpty { properties.headers = headers }
        properties.contentType = arguments.text("--content-type")
        properties.contentEncoding = arguments.text("--content-encoding")
        properties.correlationID = arguments.text("--correlation-id")
        properties.replyTo = arguments.text("--reply-to")
        properties.messageID = arguments.text("--message-id")
        properties.type = arguments.text("--type")
        properties.appID = arguments.text("--app-id")
        properties.userID = arguments.text("--user-id")
        properties.priority = try arguments.integer("--priority", in: 0...255).map { UInt8($0) }
        properties.expiration = try arguments.integer("--expiration", in: 0...Int(UInt32.max)).map { "\($0)" }
        properties.timestamp = try arguments.integer("--timestamp", in: 0...(.max)).map { UInt64($0) }
        return properties
    }

    static let command = Command(
        path: ["amqp", "publish"],
        summary: "publish messages to an AMQP server, confirmed",
        options: options,
        examples: [
            ("martlet amqp publish --queue hello -m 'Hello World!'", "to a queue"),
            ("martlet amqp publish --exchange amq.topic --key home.kitchen.temperature -m 21.5", "to an exchange, with a routing key"),
            ("seq 1000 | martlet amqp publish --queue numbers --persistent -l", "a message a line"),
            ("martlet amqp publish --exchange amq.headers --header room=kitchen --header floor:=2 -m on", "with headers, one of them a number"),
            ("martlet amqp publish --queue jobs --mandatory -f job.json --content-type application/json", "a file; fails if there is no such queue"),
        ],
        run: { arguments throws(CommandFailure) in AMQPRun.publish(try AMQPPublishOptions(arguments)) })
}
