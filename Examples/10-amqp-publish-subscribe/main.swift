// RabbitMQ's third tutorial: what `emit_log` says reaches every `receive_logs` that runs. Each has a queue of its own, which goes with it.
import ExampleArguments
import MartletAMQP

func emitLog(_ channel: AMQPChannel) async throws {
    let message = Arguments.words.isEmpty ? "info: Hello World!" : Arguments.words.joined(separator: " ")
    try await channel.declareExchange("logs", .fanout)
    try await channel.publish(message, to: "logs", routingKey: "")
    print(" [x] Sent \(message)")
}

func receiveLogs(_ channel: AMQPChannel) async throws {
    try await channel.declareExchange("logs", .fanout)
    let queue = try await channel.declareQueue(exclusive: true)
    try await channel.bindQueue(queue.name, to: "logs")
    try await channel.consume(queue, acknowledged: true) { deliveries in
        print(" [*] Waiting for logs. To exit press CTRL+C")
        for try await delivery in deliveries { print(" [x] \(delivery.text)") }
    }
}

let role = Arguments.role(["emit_log": emitLog, "receive_logs": receiveLogs])
try await AMQPConnection.withConnection(to: Arguments.amqp) { connection in try await connection.withChannel(role) }
