import MartletAMQP

/// How many messages a second.
enum Throughput {
    static func pipeline(_ url: String, _ words: [String]) async throws {
        let count = words.first.flatMap { Int($0) } ?? 100_000
        try await AMQPConnection.withConnection(to: url) { connection in
            try await connection.withChannel { channel in
                try await channel.declareExchange("interop-nowhere", .fanout, autoDelete: true)
                let body = [UInt8](repeating: 120, count: 16)
                let time = try await ContinuousClock().measure {
                    try await channel.pipelined { pipeline in
                        for _ in 0..<count { try await pipeline.publish(body, to: "interop-nowhere", routingKey: "key") }
                    }
                }
                try await channel.deleteExchange("interop-nowhere")
                print("confirmed \(count) in \(time)")
            }
        }
    }

    static func consume(_ url: String, _ words: [String]) async throws {
        let count = words.first.flatMap { Int($0) } ?? 100_000
        try await AMQPConnection.withConnection(to: url) { connection in
            try await connection.withChannel { channel in
                let queue = try await channel.declareQueue("", exclusive: true)
                try await channel.pipelined { pipeline in
                    for number in 0..<count { try await pipeline.publish("\(number)", routingKey: queue.name) }
                }
                let time = try await ContinuousClock().measure {
                    try await channel.consume(queue, prefetch: 1_000) { deliveries in
                        var number = 0
                        for try await delivery in deliveries {
                            try check(delivery.text == "\(number)", "\(delivery.text) is not \(number)")
                            try await delivery.ack()
                            number += 1
                            if number == count { break }
                        }
                    }
                }
                print("consumed \(count) in \(time)")
            }
        }
    }

    /// `COUNT`: connections one after the other, each with a message; whoever runs this looks at the memory at half and at the end.
    static func cycles(_ url: String, _ words: [String]) async throws {
        guard let count = words.first.flatMap({ Int($0) }) else { throw Wrong("COUNT") }
        for number in 1...count {
            try await AMQPConnection.withConnection(to: url) { connection in
                try await connection.withChannel { channel in
                    let queue = try await channel.declareQueue(exclusive: true)
                    try await channel.publish([UInt8](repeating: 1, count: 10_000), routingKey: queue.name)
                    try await channel.consume(queue) { deliveries in
                        for try await delivery in deliveries {
                            try await delivery.ack()
                            return
                        }
                    }
                }
            }
            if number == count / 2 || number == count {
                print("made \(number)")
                try await Task.sleep(for: .seconds(1))
            }
        }
    }
}
