import MartletAMQP

/// The server's refusals, in its own words.
enum Exceptions {
    static func run(_ url: String, _ words: [String]) async throws {
        try await AMQPConnection.withConnection(to: url) { connection in
            let steady = try await connection.openChannel()
            let queue = try await steady.declareQueue("interop-exceptions", exclusive: true).name
            try await expect(404, "NOT_FOUND - no queue 'interop-none' in vhost '/'", "queue.declare", connection) {
                try await $0.declareQueue("interop-none", passive: true)
            }
            try await expect(404, "NOT_FOUND - no exchange 'interop-none' in vhost '/'", "queue.bind", connection) {
                try await $0.bindQueue(queue, to: "interop-none")
            }
            try await expect(
                406, "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'interop-exceptions' in vhost '/'", "queue.declare", connection
            ) { try await $0.declareQueue(queue, exclusive: true, autoDelete: true) }
            try await expect(404, "NOT_FOUND - no queue 'interop-none' in vhost '/'", "basic.consume", connection) {
                try await $0.consume("interop-none") { deliveries in for try await _ in deliveries {} }
            }
            try await expect(403, "ACCESS_REFUSED - ", "exchange.declare", connection) { try await $0.declareExchange("amq.mine", .fanout) }
            try await expect(406, "PRECONDITION_FAILED - unknown delivery tag 1", "basic.ack", connection) { channel in
                try await steady.publish("x", routingKey: queue)
                let gotten = try await channel.get(queue)
                try await gotten?.delivery.ack()
                try await gotten?.delivery.ack()
                try await channel.declareQueue(queue, passive: true)
            }
            // A publish to an exchange that is not there fails the publish that waits.
            try await expect(404, "NOT_FOUND - no exchange 'interop-none' in vhost '/'", "basic.publish", connection) {
                try await $0.publish("x", to: "interop-none", routingKey: "k")
            }
            try await steady.publish("still here", routingKey: queue)
            let left = try await steady.get(queue, acknowledged: true)
            try check(left?.delivery.text == "still here", left?.delivery.text ?? "nothing")
        }
    }

    private static func expect(
        _ code: UInt16, _ text: String, _ method: String, _ connection: AMQPConnection, _ body: (AMQPChannel) async throws -> some Any
    ) async throws {
        do {
            try await connection.withChannel { channel in _ = try await body(channel) }
        } catch AMQPError.channelClosed(let exception) {
            return try check(
                exception.code == code && exception.text.hasPrefix(text) && exception.method == method, "\(exception), not \(code) \(text) (\(method))")
        }
        throw Wrong("no exception where \(code) \(text) is due")
    }

    /// Whoever is not let in is told so at once.
    static func refused(_ url: String, _ words: [String]) async throws {
        do {
            try await AMQPConnection.withConnection(to: url) { _ in }
        } catch AMQPError.refused(_, let exception) {
            print("refused \(exception)")
            return
        }
        throw Wrong("let in")
    }
}
