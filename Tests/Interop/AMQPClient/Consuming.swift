import MartletAMQP

/// Prefetch, acknowledgements, what goes back, and what ends a consumer.
enum Consuming {
    static func run(_ url: String, _ words: [String]) async throws {
        try await AMQPConnection.withConnection(to: url) { connection in
            try await connection.withChannel { channel in
                let queue = try await channel.declareQueue(exclusive: true).name
                try await prefetch(channel, queue)
                try await again(channel, queue)
                try await left(channel, queue)
                try await shared(connection, queue)
                try await ended(channel, queue)
            }
        }
    }

    private static func fill(_ channel: AMQPChannel, _ queue: String, _ count: Int) async throws {
        try await channel.purgeQueue(queue)
        for number in 0..<count { try await channel.publish("\(number)", routingKey: queue) }
    }

    private static func isReady(_ channel: AMQPChannel, _ queue: String, _ count: Int) async throws {
        var counted = -1
        for _ in 0..<200 {
            counted = try await channel.declareQueue(queue, passive: true).messageCount
            if counted == count { return }
            try await Task.sleep(for: .milliseconds(10))
        }
        throw Wrong("\(counted) ready, not \(count)")
    }

    private static func prefetch(_ channel: AMQPChannel, _ queue: String) async throws {
        try await fill(channel, queue, 10)
        try await channel.consume(queue, prefetch: 3) { deliveries in
            try await isReady(channel, queue, 7)
            var iterator = deliveries.makeAsyncIterator()
            var last: AMQPDelivery?
            for _ in 0..<3 { last = try await iterator.next() }
            try await last?.ack(multiple: true)
            try await isReady(channel, queue, 4)
        }
        try await isReady(channel, queue, 7)
    }

    private static func again(_ channel: AMQPChannel, _ queue: String) async throws {
        try await fill(channel, queue, 4)
        var seen: [String] = []
        try await channel.consume(queue, prefetch: 1) { deliveries in
            for try await delivery in deliveries {
                seen.append(delivery.text + (delivery.isRedelivered ? "r" : ""))
                switch seen.count {
                case 1: try await delivery.nack()
                case 3: try await delivery.reject()
                case 5: try await delivery.nack(requeue: false)
                case 6: try await delivery.reject(requeue: false)
                default: try await delivery.ack()
                }
                if seen.count == 6 { return }
            }
        }
        try check(seen == ["0", "0r", "1", "1r", "2", "3"], "\(seen)")
        try await isReady(channel, queue, 0)
        try await fill(channel, queue, 1)
        let first = try await channel.get(queue)
        try await channel.recover()
        try await first?.delivery.ack()
        let second = try await channel.get(queue)
        try check(second?.delivery.isRedelivered == true, "recover")
        try await second?.delivery.ack()
    }

    /// What a scope has not taken goes back in its order.
    private static func left(_ channel: AMQPChannel, _ queue: String) async throws {
        try await fill(channel, queue, 20)
        try await channel.consume(queue) { deliveries in
            for try await delivery in deliveries where delivery.text == "4" {
                try await delivery.ack(multiple: true)
                return
            }
        }
        try await isReady(channel, queue, 15)
        let next = try await channel.get(queue)
        try check(next?.delivery.text == "5", next?.delivery.text ?? "nothing")
        try await next?.delivery.ack()
    }

    /// Two consumers share the work.
    private static func shared(_ connection: AMQPConnection, _ queue: String) async throws {
        try await connection.withChannel { channel in
            try await fill(channel, queue, 0)
            let (one, two) = (try await channel.consume(queue, prefetch: 1), try await channel.consume(queue, prefetch: 1))
            for number in 0..<10 { try await channel.publish("\(number)", routingKey: queue) }
            var (ones, twos) = (one.makeAsyncIterator(), two.makeAsyncIterator())
            var texts: [String] = []
            for _ in 0..<5 {
                for delivery in [try await ones.next(), try await twos.next()] {
                    texts.append(delivery?.text ?? "")
                    try await delivery?.ack()
                }
            }
            try check(texts.sorted() == (0..<10).map { "\($0)" }, "\(texts)")
        }
    }

    private static func ended(_ channel: AMQPChannel, _ queue: String) async throws {
        try await fill(channel, queue, 1)
        do {
            try await channel.consume(queue) { deliveries in
                for try await delivery in deliveries {
                    try await delivery.ack()
                    try await channel.deleteQueue(queue)
                }
            }
            throw Wrong("the consumer outlived its queue")
        } catch AMQPError.consumerCancelled(let name) { try check(name == queue, name) }
    }
}
