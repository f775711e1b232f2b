// RabbitMQ's fourth tutorial: `emit_log_direct error Disk full` reaches each `receive_logs_direct warning error` that has asked for its severity.
import ExampleArguments
import MartletAMQP

func emitLog(_ channel: AMQPChannel) async throws {
    let severity = Arguments.words.first ?? "info"
    let message = Arguments.words.count < 2 ? "Hello World!" : Arguments.words.dropFirst().joined(separator: " ")
    try await channel.declareExchange("direct_logs", .direct)
    try await channel.publish(message, to: "direct_logs", routingKey: severity)
    print(" [x] Sent \(severity):\(message)")
}

func receiveLogs(_ channel: AMQPChannel) async throws {
    let severities = Arguments.words(usage: "receive_logs_direct [info] [warning] [error]")
    try await channel.declareExchange("direct_logs", .direct)
    let queue = try await channel.declareQueue(exclusive: true)
    for severity in severities { try await channel.bindQueue(queue.name, to: "direct_logs", routingKey: severity) }
    try await channel.consume(queue, acknowledged: true) { deliveries in
        print(" [*] Waiting for logs. To exit press CTRL+C")
        for try await delivery in deliveries { print(" [x] \(delivery.routingKey):\(delivery.text)") }
    }
}

let role = Arguments.role(["emit_log_direct": emitLog, "receive_logs_direct": receiveLogs])
try await AMQPConnection.withConnection(to: Arguments.amqp) { connection in try await connection.withChannel(role) }
