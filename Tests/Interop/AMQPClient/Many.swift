import MartletAMQP

/// `QUEUES BINDINGS`: so many queues, and bindings of each, made, made anew after a loss, and deleted.
enum Many {
    static func run(_ url: String, _ words: [String]) async throws {
        guard words.count == 2, let queues = Int(words[0]), let bindings = Int(words[1]) else { throw Wrong("QUEUES BINDINGS") }
        var options = AMQPConnectionOptions()
        options.reconnect.delayMin = .milliseconds(50)
        options.heartbeat = .seconds(10)
        let clock = ContinuousClock()
        try await AMQPConnection.withConnection(to: url, options: options) { connection in
            let states = connection.states
            try await connection.withChannel { channel in
                try await channel.declareExchange("interop-many", .topic)
                let made = try await clock.measure {
                    try await each(queues) { number in
                        try await channel.declareQueue("interop-many-\(number)", exclusive: true)
                        for key in 0..<bindings { try await channel.bindQueue("interop-many-\(number)", to: "interop-many", routingKey: "\(number).\(key)") }
                    }
                }
                print("made in \(made)")
                let again = try await clock.measure {
                    print("ready")
                    for await state in states { if case .connected = state { break } }
                    for number in [0, queues / 2, queues - 1] {
                        try await channel.publish("x", to: "interop-many", routingKey: "\(number).\(bindings - 1)", mandatory: true)
                    }
                }
                print("made anew in \(again)")
                let deleted = try await clock.measure { try await each(queues) { try await channel.deleteQueue("interop-many-\($0)") } }
                print("deleted in \(deleted)")
                try await channel.deleteExchange("interop-many")
            }
        }
    }

    /// A hundred at a time.
    private static func each(_ count: Int, _ body: @escaping @Sendable (Int) async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<count {
                if number >= 100 { try await group.next() }
                group.addTask { try await body(number) }
            }
            try await group.waitForAll()
        }
    }
}
