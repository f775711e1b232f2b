// RabbitMQ's first tutorial: `send` puts a message into a queue, `receive` prints what comes out of it.
import ExampleArguments
import MartletAMQP

func send(_ channel: AMQPChannel) async throws {
    try await channel.declareQueue("hello")
    try await channel.publish("Hello World!", routingKey: "hello")
    print(" [x] Sent 'Hello World!'")
}

func receive(_ channel: AMQPChannel) async throws {
    let hello = try await channel.declareQueue("hello")
    try await channel.consume(hello, acknowledged: true) { deliveries in
        print(" [*] Waiting for messages. To exit press CTRL+C")
        for try await delivery in deliveries { print(" [x] Received \(delivery.text)") }
    }
}

let role = Arguments.role(["send": send, "receive": receive])
try await AMQPConnection.withConnection(to: Arguments.amqp) { connection in try await connection.withChannel(role) }
