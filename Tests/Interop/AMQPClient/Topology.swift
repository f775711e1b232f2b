import MartletAMQP

/// Exchanges of all kinds, bindings, queues.
enum Topology {
    static func run(_ url: String, _ words: [String]) async throws {
        try await AMQPConnection.withConnection(to: url) { connection in
            try await connection.withChannel { channel in
                let queue = try await channel.declareQueue(exclusive: true).name
                try await exchanges(channel, queue)
                try await queues(channel)
            }
        }
    }

    private static func exchanges(_ channel: AMQPChannel, _ queue: String) async throws {
        let names = ["interop-direct", "interop-fanout", "interop-topic", "interop-headers", "interop-inner"]
        let kinds: [AMQPExchangeKind] = [.direct, .fanout, .topic, .headers, .fanout]
        for (name, kind) in zip(names, kinds) { try await channel.declareExchange(name, kind, internal: name == "interop-inner") }
        try await channel.declareExchange("interop-direct", passive: true)
        try await channel.bindQueue(queue, to: names[0], routingKey: "red")
        try await channel.bindQueue(queue, to: names[1])
        try await channel.bindQueue(queue, to: names[2], routingKey: "*.error.#")
        try await channel.bindQueue(queue, to: names[3], arguments: ["x-match": "all", "size": 3, "kind": "photo"])
        try await channel.bindQueue(queue, to: names[4])
        try await channel.bindExchange(names[4], to: names[0], routingKey: "through")
        var headers = AMQPMessageProperties()
        headers.headers = ["size": 3, "kind": "photo"]
        try await channel.publish("1", to: names[0], routingKey: "red")
        try await channel.publish("no", to: names[0], routingKey: "blue")
        try await channel.publish("2", to: names[1], routingKey: "any")
        try await channel.publish("3", to: names[2], routingKey: "kern.error.disk.full")
        try await channel.publish("no", to: names[2], routingKey: "error")
        try await channel.publish("4", to: names[3], routingKey: "", properties: headers)
        try await channel.publish("no", to: names[3], routingKey: "")
        try await channel.publish("5", to: names[0], routingKey: "through")
        try await channel.unbindQueue(queue, from: names[0], routingKey: "red")
        try await channel.unbindExchange(names[4], from: names[0], routingKey: "through")
        try await channel.publish("no", to: names[0], routingKey: "red")
        try await channel.publish("no", to: names[0], routingKey: "through")
        for number in 1...5 {
            let text = try await channel.get(queue, acknowledged: true)?.delivery.text
            try check(text == "\(number)", "\(text ?? "nothing") is not \(number)")
        }
        let last = try await channel.get(queue, acknowledged: true)
        try check(last == nil, "one too many")
        for name in names { try await channel.deleteExchange(name) }
    }

    private static func queues(_ channel: AMQPChannel) async throws {
        let name = try await channel.declareQueue(exclusive: true).name
        for _ in 0..<3 { try await channel.publish("x", routingKey: name) }
        let deliveries = try await channel.consume(name, prefetch: 1)
        let counted = try await channel.declareQueue(name, passive: true)
        try check(counted.consumerCount == 1, "\(counted.consumerCount) consumers")
        deliveries.cancel()
        var count = 0
        while count != 3 { count = try await channel.declareQueue(name, passive: true).messageCount }
        let purged = try await channel.purgeQueue(name)
        try check(purged == 3, "purged \(purged)")
        try await channel.publish("x", routingKey: name)
        let deleted = try await channel.deleteQueue(name)
        try check(deleted == 1, "deleted \(deleted)")
    }
}
