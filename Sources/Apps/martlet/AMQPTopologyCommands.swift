import MartletAMQP
import MartletLogging

/// The commands of topology: help, flags, examples.
enum AMQPTopologyCommands {
    private static let json = Command.Option.flag("--json", about: "say it as one JSON object")
    private static let arguments = Command.Option.many(
        "--argument", value: "NAME=TEXT|NAME:=JSON", about: "an argument, such as x-match=all of a binding by headers")

    static let declare = Command(
        path: ["amqp", "declare"],
        summary: "make a queue or an exchange, or check that it is there",
        options: [
            .one("--queue", value: "NAME", about: "a queue; an empty name: the server finds one"),
            .one("--exchange", value: "NAME", about: "an exchange, …"),
            .one("--type", value: "KIND", about: "… of this kind: direct, fanout, topic or headers (default: direct)"),
            .flag("--durable", about: "it survives a restart of the server"),
            .flag("--auto-delete", about: "it goes with its last consumer, or with the last that is bound to it"),
            .flag("--internal", about: "an exchange that only other exchanges publish to"),
            .flag("--passive", about: "only check that it is there"),
            arguments, json,
        ] + AMQPConnectionArguments.options,
        examples: [
            ("martlet amqp declare --queue task_queue --durable", "a queue; says how many messages and consumers it has"),
            ("martlet amqp declare --exchange logs --type fanout", "an exchange"),
            ("martlet amqp declare --queue task_queue --passive --json", "how full it is, for a script"),
        ],
        run: { arguments throws(CommandFailure) in
            let flags = (arguments.has("--durable"), arguments.has("--auto-delete"), arguments.has("--passive"))
            let table = try arguments.table("--argument")
            switch try subject(arguments, "amqp declare") {
            case .queue(let name):
                for flag in ["--type", "--internal"] where arguments.has(flag) { throw .usage("amqp declare: \(flag) is an exchange's") }
                return try run("declare", .declareQueue(name, isDurable: flags.0, isAutoDelete: flags.1, isPassive: flags.2, table), arguments)
            case .exchange(let name):
                let kind = AMQPExchangeKind(rawValue: arguments.text("--type") ?? "direct")
                return try run(
                    "declare",
                    .declareExchange(
                        name, kind, isDurable: flags.0, isAutoDelete: flags.1, isInternal: arguments.has("--internal"), isPassive: flags.2, table),
                    arguments)
            }
        })

    static let delete = Command(
        path: ["amqp", "delete"],
        summary: "delete a queue with its messages, or an exchange with its bindings",
        options: [
            .one("--queue", value: "NAME", about: "a queue"),
            .one("--exchange", value: "NAME", about: "an exchange"),
            .flag("--if-unused", about: "only without consumers, or without bindings"),
            .flag("--if-empty", about: "only a queue without messages"),
            json,
        ] + AMQPConnectionArguments.options,
        examples: [
            ("martlet amqp delete --queue task_queue", "says how many messages went with it"),
            ("martlet amqp delete --exchange logs --if-unused", "fails if something is bound to it"),
        ],
        run: { arguments throws(CommandFailure) in
            let ifUnused = arguments.has("--if-unused"), ifEmpty = arguments.has("--if-empty")
            switch try subject(arguments, "amqp delete") {
            case .queue(let name): return try run("delete", .deleteQueue(name, ifUnused: ifUnused, ifEmpty: ifEmpty), arguments)
            case .exchange(let name):
                if ifEmpty { throw .usage("amqp delete: --if-empty is a queue's") }
                return try run("delete", .deleteExchange(name, ifUnused: ifUnused), arguments)
            }
        })

    static let bind = Command(
        path: ["amqp", "bind"],
        summary: "have an exchange put messages into a queue, or into another exchange",
        options: bindingOptions,
        examples: [
            ("martlet amqp bind --exchange amq.topic --queue alarms --key 'alarm.#' --key '*.error'", "two patterns"),
            ("martlet amqp bind --exchange logs --queue all", "of a fanout exchange, which has no keys"),
            ("martlet amqp bind --exchange amq.headers --queue kitchen --argument x-match=all --argument room=on", "by headers"),
            ("martlet amqp bind --exchange amq.topic --destination logs --key 'log.#'", "from exchange to exchange"),
        ],
        run: { arguments throws(CommandFailure) in try run("bind", .bind(try binding(arguments, "amqp bind")), arguments) })

    static let unbind = Command(
        path: ["amqp", "unbind"],
        summary: "end what `amqp bind` with the same words has made",
        options: bindingOptions,
        examples: [("martlet amqp unbind --exchange amq.topic --queue alarms --key 'alarm.#'", "the same words as of the binding")],
        run: { arguments throws(CommandFailure) in try run("unbind", .unbind(try binding(arguments, "amqp unbind")), arguments) })

    static let purge = Command(
        path: ["amqp", "purge"],
        summary: "throw away the messages of a queue",
        options: [.one("--queue", value: "NAME", about: "which"), json] + AMQPConnectionArguments.options,
        examples: [("martlet amqp purge --queue task_queue", "says how many there were; those that a consumer has stay")],
        run: { arguments throws(CommandFailure) in try run("purge", .purge(try arguments.name("--queue", of: "amqp purge")), arguments) })

    private static let bindingOptions: [Command.Option] =
        [
            .one("--exchange", value: "NAME", about: "from here …"),
            .one("--queue", value: "NAME", about: "… to this queue"),
            .one("--destination", value: "NAME", about: "… or to this exchange"),
            .many("--key", value: "KEY", about: "what has this routing key, or matches this pattern (default: none)"),
            arguments, json,
        ] + AMQPConnectionArguments.options

    private enum Subject { case queue(String), exchange(String) }

    private static func subject(_ arguments: Arguments, _ command: String) throws(CommandFailure) -> Subject {
        switch (arguments.text("--queue"), arguments.text("--exchange")) {
        case (let name?, nil): .queue(name)
        case (nil, let name?) where !name.isEmpty: .exchange(name)
        default: throw .usage("\(command): say one of --queue NAME and --exchange NAME")
        }
    }

    private static func binding(_ arguments: Arguments, _ command: String) throws(CommandFailure) -> AMQPTopologyBinding {
        let exchange = try arguments.name("--exchange", of: command)
        let keys = arguments.has("--key") ? arguments.texts("--key") : [""], table = try arguments.table("--argument")
        switch (arguments.text("--queue"), arguments.text("--destination")) {
        case (let name?, nil) where !name.isEmpty:
            return AMQPTopologyBinding(exchange: exchange, destination: name, isQueue: true, keys: keys, arguments: table)
        case (nil, let name?) where !name.isEmpty:
            return AMQPTopologyBinding(exchange: exchange, destination: name, isQueue: false, keys: keys, arguments: table)
        default: throw .usage("\(command): say one of --queue NAME and --destination EXCHANGE")
        }
    }

    private static func run(_ name: String, _ step: AMQPTopologyStep, _ arguments: Arguments) throws(CommandFailure) -> Int32 {
        let connection = try AMQPConnectionArguments(arguments, "amqp \(name)"), isJSON = arguments.has("--json")
        return CommandTask.run(terminated: { _, task in task.cancel() }) { command in
            await AMQPEnd.exitCode(name, command) {
                try await connection.withChannel(reconnects: false) { _, channel in
                    let said = try await step.run(on: channel)
                    var output = isJSON ? [] : Array(said.text.utf8)
                    if isJSON {
                        JSONValue.object(said.json).append(to: &output)
                        output.append(UInt8(ascii: "\n"))
                    }
                    StandardStream.output.write(output.span)
                }
                return ExitCode.ok
            }
        }
    }
}
