// RabbitMQ's second tutorial: `new_task` hands out tasks, and each goes to one of the workers, as soon as it is free. A dot in a task is a second
// of work. What a worker has not acknowledged when it dies goes to another one.
import ExampleArguments
import MartletAMQP

func newTask(_ channel: AMQPChannel) async throws {
    let message = Arguments.words.isEmpty ? "Hello World!" : Arguments.words.joined(separator: " ")
    try await channel.declareQueue("task_queue", durable: true)
    try await channel.publish(message, routingKey: "task_queue", persistent: true)
    print(" [x] Sent \(message)")
}

func worker(_ channel: AMQPChannel) async throws {
    let tasks = try await channel.declareQueue("task_queue", durable: true)
    try await channel.consume(tasks, prefetch: 1) { deliveries in
        print(" [*] Waiting for messages. To exit press CTRL+C")
        for try await task in deliveries {
            print(" [x] Received \(task.text)")
            try await Task.sleep(for: .seconds(task.text.count { $0 == "." }))
            print(" [x] Done")
            try await task.ack()
        }
    }
}

let role = Arguments.role(["new_task": newTask, "worker": worker])
try await AMQPConnection.withConnection(to: Arguments.amqp) { connection in try await connection.withChannel(role) }
