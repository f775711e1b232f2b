import MartletAMQP
import Synchronization

/// Through connections that are cut, or a server that is killed, by whoever runs this: it prints how far it is.
enum Recovery {
    private static var options: AMQPConnectionOptions {
        var options = AMQPConnectionOptions()
        options.reconnect.delayMin = .milliseconds(50)
        options.reconnect.delayMax = .seconds(1)
        options.heartbeat = .seconds(10)
        return options
    }

    /// `COUNT QUEUE`: publishes so many and consumes them, over a connection each; all must come.
    static func storm(_ url: String, _ words: [String]) async throws {
        guard words.count == 2, let count = Int(words[0]) else { throw Wrong("COUNT QUEUE") }
        let queue = words[1]
        try await AMQPConnection.withConnection(to: url, options: options) { publisher in
            try await publisher.withChannel { channel in
                try await channel.declareQueue(queue, durable: true)
                async let consumed = consume(url, queue, count)
                // One after the other, and many at once.
                try await publish(channel, queue, 0..<count / 10)
                try await channel.pipelined(window: 200) { pipeline in
                    for number in count / 10..<count {
                        try await pipeline.publish("\(number)", routingKey: queue, persistent: true)
                        if number % (count / 10) == 0 { print("published \(number)") }
                        // A fast server would have it all before anybody can cut.
                        if number % 20 == 0 { try await Task.sleep(for: .milliseconds(1)) }
                    }
                }
                print("confirmed \(count)")
                let (distinct, extra, losses) = try await consumed
                try check(distinct == count, "\(distinct) of \(count)")
                print("consumed \(distinct), \(extra) of them more than once, over \(losses) losses")
                try await channel.deleteQueue(queue)
            }
        }
    }

    private static func publish(_ channel: AMQPChannel, _ queue: String, _ numbers: Range<Int>) async throws {
        for number in numbers {
            try await channel.publish("\(number)", routingKey: queue, persistent: true)
            if number == numbers.upperBound / 2 { print("published \(number)") }
        }
    }

    private static func consume(_ url: String, _ queue: String, _ count: Int) async throws -> (distinct: Int, extra: Int, losses: Int) {
        try await AMQPConnection.withConnection(to: url, options: options) { connection in
            let losses = Mutex(0)
            let states = connection.states
            let counting = Task { for await state in states { if case .disconnected = state { losses.withLock { $0 += 1 } } } }
            defer { counting.cancel() }
            return try await connection.withChannel { channel in
                var seen: Set<String> = [], extra = 0
                try await channel.consume(queue, prefetch: 100) { deliveries in
                    for try await delivery in deliveries {
                        if !seen.insert(delivery.text).inserted { extra += 1 }
                        try await delivery.ack()
                        if seen.count == count { return }
                    }
                }
                return (seen.count, extra, losses.withLock { $0 })
            }
        }
    }

    /// A server-named queue with its binding and consumer, under way while it is cut: each "next" on this side is published after a loss.
    static func topology(_ url: String, _ words: [String]) async throws {
        try await AMQPConnection.withConnection(to: url, options: options) { connection in
            let states = connection.states
            try await connection.withChannel { channel in
                try await channel.declareExchange("interop-recovery", .topic, autoDelete: true)
                let queue = try await channel.declareQueue(exclusive: true)
                let first = queue.name
                try await channel.bindQueue(first, to: "interop-recovery", routingKey: "a.#")
                let deliveries = try await channel.consume(queue, prefetch: 5)
                var iterator = deliveries.makeAsyncIterator()
                try await channel.publish("0", to: "interop-recovery", routingKey: "a.b", mandatory: true)
                let held = try await iterator.next()
                try check(held?.text == "0", "the first")
                print("ready")
                for await state in states { if case .connected = state { break } }
                try await held?.ack()
                try check(queue.name != first, "\(queue.name) is the name of before")
                try await channel.publish("1", to: "interop-recovery", routingKey: "a.c", mandatory: true)
                let bound = try await iterator.next()
                try await channel.publish("2", routingKey: first, mandatory: true)
                let named = try await iterator.next()
                try check(bound?.text == "1" && named?.text == "2", "\(bound?.text ?? "") \(named?.text ?? "")")
                try await bound?.ack()
                try await named?.ack()
            }
        }
    }

    /// Against a server that is short of disk or memory, until whoever runs this starts another one: the publish waits, and says so.
    static func blocked(_ url: String, _ words: [String]) async throws {
        try await AMQPConnection.withConnection(to: url, options: options) { connection in
            let states = connection.states
            try await connection.withChannel { channel in
                let queue = try await channel.declareQueue(exclusive: true)
                try await channel.publishUnconfirmed("makes the server look", routingKey: queue.name)
                for await state in states { if case .blocked(let reason) = state { print("blocked \(reason)"); break } }
                try check(connection.blockedReason != nil, "no reason")
                async let published: Void = channel.publish("x", routingKey: queue.name)
                for await state in states {
                    if case .disconnected = state { break }
                    if case .unblocked = state { break }
                }
                try await published
                try check(connection.blockedReason == nil, connection.blockedReason ?? "")
                print("published")
            }
        }
    }

    /// `SECONDS`: a handler that blocks its thread for so long, with heartbeats as the URL says.
    static func busy(_ url: String, _ words: [String]) async throws {
        guard let seconds = words.first.flatMap({ Double($0) }) else { throw Wrong("SECONDS") }
        var options = options
        options.reconnect = .never
        try await AMQPConnection.withConnection(to: url, options: options) { connection in
            try await connection.withChannel { channel in
                let queue = try await channel.declareQueue(exclusive: true)
                try await channel.publish("x", routingKey: queue.name)
                try await channel.consume(queue) { deliveries in
                    for try await delivery in deliveries {
                        let end = ContinuousClock.now + .seconds(seconds)
                        while ContinuousClock.now < end {}
                        try await delivery.ack()
                        return
                    }
                }
                let left = try await channel.declareQueue(queue.name, passive: true)
                try check(left.messageCount == 0, "it was not acknowledged")
            }
        }
    }
}
