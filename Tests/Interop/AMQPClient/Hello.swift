import MartletAMQP

/// The words of the module's first example.
enum Hello {
    static func run(_ url: String, _ words: [String]) async throws {
        try await AMQPConnection.withConnection(to: url) { connection in
            try await connection.withChannel { channel in
                let queue = try await channel.declareQueue("", exclusive: true)
                try check(queue.name.hasPrefix("amq.gen"), queue.name)
                for number in 0..<3 { try await channel.publish("hello \(number)", routingKey: queue.name, persistent: number == 1) }
                let counted = try await channel.declareQueue(queue.name, passive: true)
                try check(counted.messageCount == 3, "\(counted.messageCount) messages")
                try await channel.consume(queue, prefetch: 2) { deliveries in
                    var number = 0
                    for try await delivery in deliveries {
                        try check(delivery.text == "hello \(number)" && delivery.routingKey == queue.name, delivery.text)
                        try check(delivery.properties.isPersistent == (number == 1), "persistent")
                        try await delivery.ack()
                        number += 1
                        if number == 3 { break }
                    }
                }
            }
        }
    }
}
