// RabbitMQ's fifth tutorial: `emit_log_topic kern.critical Panic` reaches each `receive_logs_topic '*.critical' 'kern.#'` with a pattern of its
// routing key: `*` is one word, `#` any number of them.
import ExampleArguments
import MartletAMQP

func emitLog(_ channel: AMQPChannel) async throws {
    let routingKey = Arguments.words.first ?? "anonymous.info"
    let message = Arguments.words.count < 2 ? "Hello World!" : Arguments.words.dropFirst().joined(separator: " ")
    try await channel.declareExchange("topic_logs", .topic)
    try await channel.publish(message, to: "topic_logs", routingKey: routingKey)
    print(" [x] Sent \(routingKey):\(message)")
}

func receiveLogs(_ channel: AMQPChannel) async throws {
    let bindingKeys = Arguments.words(usage: "receive_logs_topic BINDING_KEY…")
    try await channel.declareExchange("topic_logs", .topic)
    let queue = try await channel.declareQueue(exclusive: true)
    for bindingKey in bindingKeys { try await channel.bindQueue(queue.name, to: "topic_logs", routingKey: bindingKey) }
    try await channel.consume(queue, acknowledged: true) { deliveries in
        print(" [*] Waiting for logs. To exit press CTRL+C")
        for try await delivery in deliveries { print(" [x] \(delivery.routingKey):\(delivery.text)") }
    }
}

let role = Arguments.role(["emit_log_topic": emitLog, "receive_logs_topic": receiveLogs])
try await AMQPConnection.withConnection(to: Arguments.amqp) { connection in try await connection.withChannel(role) }
