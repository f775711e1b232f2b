import MartletAMQP

/// Confirms, returns, properties, transactions.
enum Publishing {
    static func run(_ url: String, _ words: [String]) async throws {
        try await AMQPConnection.withConnection(to: url) { connection in
            try await connection.withChannel { channel in
                let queue = try await channel.declareQueue(exclusive: true).name
                try await returns(channel, queue)
                try await properties(channel, queue)
                try await many(channel, queue)
            }
            try await connection.withChannel { channel in try await unconfirmed(channel) }
            try await connection.withChannel { channel in try await transactions(channel) }
        }
    }

    private static func returns(_ channel: AMQPChannel, _ queue: String) async throws {
        try await channel.publish("x", routingKey: queue, mandatory: true)
        do {
            try await channel.publish("x", routingKey: "interop-nowhere", mandatory: true)
            throw Wrong("nothing came back")
        } catch AMQPError.returned(let code, let text, let exchange, let key) {
            try check(code == 312 && text == "NO_ROUTE" && exchange == "" && key == "interop-nowhere", "\(code) \(text) \(exchange) \(key)")
        }
        try await channel.publish("nobody", routingKey: "interop-nowhere")
        try await channel.purgeQueue(queue)
    }

    private static func properties(_ channel: AMQPChannel, _ queue: String) async throws {
        var properties = AMQPMessageProperties()
        properties.isPersistent = true
        properties.contentType = "image/png"
        properties.contentEncoding = "gzip"
        properties.headers = ["text": "x", "number": -7, "flag": true, "nested": .table(["list": .array([1, "two", .void])]), "time": .timestamp(99)]
        properties.priority = 3
        properties.correlationID = "c"
        properties.replyTo = "r"
        properties.expiration = "60000"
        properties.messageID = "m"
        properties.timestamp = 1_700_000_000
        properties.type = "t"
        properties.userID = "guest"
        properties.appID = "a"
        try await channel.publish("x", routingKey: queue, properties: properties)
        let come = try await channel.get(queue, acknowledged: true)?.delivery.properties
        try check(come == properties, "\(String(describing: come))")
    }

    private static func many(_ channel: AMQPChannel, _ queue: String) async throws {
        let long = [UInt8](repeating: 7, count: 400_000)
        try await channel.publish(long, routingKey: queue)
        try await channel.publish([], routingKey: queue)
        let (first, second) = (try await channel.get(queue, acknowledged: true)?.delivery, try await channel.get(queue, acknowledged: true)?.delivery)
        try check(first?.body == long && second?.body == [], "the long or the empty body")
        try await channel.pipelined(window: 100) { pipeline in
            for number in 0..<2_000 { try await pipeline.publish("\(number)", routingKey: queue) }
        }
        let count = try await channel.declareQueue(queue, passive: true).messageCount
        try check(count == 2_000, "\(count) of 2000")
    }

    private static func unconfirmed(_ channel: AMQPChannel) async throws {
        let queue = try await channel.declareQueue(exclusive: true).name
        let back = channel.returns
        for number in 0..<500 { try await channel.publishUnconfirmed("\(number)", routingKey: queue) }
        try await channel.publishUnconfirmed("back", routingKey: "interop-nowhere", mandatory: true)
        for await message in back {
            try check(message.code == 312 && message.routingKey == "interop-nowhere" && message.body == Array("back".utf8), "\(message)")
            break
        }
        // Counting overtakes what is on its way within the server.
        var count = 0
        for _ in 0..<200 where count != 500 {
            count = try await channel.declareQueue(queue, passive: true).messageCount
            try await Task.sleep(for: .milliseconds(5))
        }
        try check(count == 500, "\(count) of 500")
    }

    private static func transactions(_ channel: AMQPChannel) async throws {
        struct Refused: Error {}
        let queue = try await channel.declareQueue(exclusive: true).name
        try await channel.withTransaction { channel in
            for _ in 0..<3 { try await channel.publish("x", routingKey: queue) }
            let within = try await channel.declareQueue(queue, passive: true).messageCount
            try check(within == 0, "\(within) before the commit")
        }
        do {
            try await channel.withTransaction { channel in
                try await channel.publish("x", routingKey: queue)
                throw Refused()
            }
        } catch is Refused {}
        let after = try await channel.declareQueue(queue, passive: true).messageCount
        try check(after == 3, "\(after) after commit and rollback")
        let gotten = try await channel.get(queue)
        try await channel.withTransaction { _ in try await gotten?.delivery.ack() }
        try await channel.recover()
        let rest = try await channel.declareQueue(queue, passive: true).messageCount
        try check(rest == 2, "\(rest) after the acknowledgement")
    }
}
