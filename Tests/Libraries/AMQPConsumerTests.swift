import MartletAMQPProtocol
import MartletPipe
import Testing

@testable import MartletAMQP

/// Consuming, and what ends a channel: in memory, on a virtual clock.
@MainActor @Suite(.timeLimit(.minutes(10))) struct AMQPConsumerTests {
    private let server = AMQPScriptedServer()

    private func failure<Result>(_ result: Swift.Result<Result, any Error>?) -> AMQPError? {
        if case .failure(let error)? = result { error as? AMQPError } else { nil }
    }

    private var options: AMQPConnectionOptions {
        var options = AMQPConnectionOptions()
        options.reconnect = .never
        return options
    }

    @Test func `deliveries come in order, and what becomes of each is told the server`() async {
        var texts: [String] = []
        let task = server.runChannel(options) { channel in
            try await channel.consume("q", prefetch: 10) { deliveries in
                for try await delivery in deliveries {
                    texts.append("\(delivery.text) \(delivery.routingKey) \(delivery.properties.isPersistent) \(delivery.isRedelivered)")
                    switch delivery.deliveryTag {
                    case 1: try await delivery.ack()
                    case 2: try await delivery.nack()
                    case 3: try await delivery.nack(requeue: false)
                    case 4: try await delivery.reject(requeue: false)
                    case 5: try await delivery.reject()
                    default: try await delivery.ack(multiple: true); return
                    }
                }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        #expect(server.newest.contains("1 basic.qos 10"))
        for tag in 1...7 as ClosedRange<UInt64> { server.deliver("m\(tag)", tag: tag, redelivered: tag == 2) }
        #expect(await server.end(of: task) != nil)
        #expect(texts == (1...6).map { "m\($0) q true \($0 == 2)" })
        let said = server.newest.filter { $0.hasPrefix("1 basic.") && !$0.contains("qos") && !$0.contains("consume") }
        #expect(
            said == [
                "1 basic.ack 1", "1 basic.nack 2 requeue", "1 basic.nack 3", "1 basic.reject 4", "1 basic.reject 5 requeue", "1 basic.ack 6 multiple",
                "1 basic.cancel martlet-1", "1 basic.nack 7 requeue",
            ])
    }

    @Test func `consumers that take messages as acknowledged say nothing of them`() async {
        let task = server.runChannel(options) { channel in
            try await channel.consume("q", acknowledged: true) { deliveries in
                for try await delivery in deliveries {
                    try await delivery.ack()
                    if delivery.deliveryTag == 2 { return }
                }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        for tag in 1...3 as ClosedRange<UInt64> { server.deliver("m", tag: tag) }
        #expect(await server.end(of: task) != nil)
        #expect(!server.newest.contains { $0.contains("ack") })
    }

    @Test func `not iterating stops the reading where no prefetch bounds it, and heartbeats survive that`() async throws {
        var options = options
        options.limits.undeliveredMax = 10
        options.heartbeat = .seconds(10)
        server.network.readSizeMax = 256
        let gate = Gate()
        var inbox: AMQPInbox?
        var taken = 0
        let task = server.runChannel(options) { channel in
            try await channel.consume("q", prefetch: 0) { deliveries in
                inbox = deliveries.inbox
                await gate.pass()
                for try await delivery in deliveries {
                    try await delivery.ack()
                    taken += 1
                    if taken == 300 { return }
                }
            }
        }
        #expect(await server.until { inbox != nil })
        for tag in 1...300 as ClosedRange<UInt64> { server.deliver("x", tag: tag) }
        await server.settle()
        let waiting = try #require(inbox).count
        #expect((10..<30).contains(waiting))
        for _ in 0..<24 { await server.advance(by: .milliseconds(2_500)) }
        #expect(inbox?.count == waiting)
        #expect(server.heartbeatCount >= 6)
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(taken == 300)
    }

    @Test func `a handler that publishes is not stopped by its own back-pressure`() async {
        var options = options
        options.limits.undeliveredMax = 10
        server.network.readSizeMax = 256
        var taken = 0
        let task = server.runChannel(options) { channel in
            try await channel.consume("q", prefetch: 0) { deliveries in
                for try await delivery in deliveries {
                    try await channel.publish(delivery.body, routingKey: "r")
                    try await delivery.ack()
                    taken += 1
                    if taken == 100 { return }
                }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        for tag in 1...100 as ClosedRange<UInt64> { server.deliver("x", tag: tag) }
        #expect(await server.end(of: task) != nil)
        #expect(taken == 100)
    }

    @Test func `batches hold what is there`() async {
        var sizes: [Int] = []
        let task = server.runChannel(options) { channel in
            let deliveries = try await channel.consume("q")
            while deliveries.inbox.count < 5 { await Task.yield() }
            var batches = deliveries.makeAsyncIterator()
            while sizes.reduce(0, +) < 5, let batch = try await batches.nextBatch(atMost: 3) { sizes.append(batch.count) }
            deliveries.cancel()
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        for tag in 1...5 as ClosedRange<UInt64> { server.deliver("x", tag: tag) }
        #expect(await server.end(of: task) != nil)
        #expect(sizes == [3, 2])
    }

    @Test func `a consumer that the server ends throws after what had arrived`() async {
        var taken = 0
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            try await channel.consume("q") { deliveries in
                await gate.pass()
                for try await _ in deliveries { taken += 1 }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        server.deliver("x", tag: 1)
        server.send(.basicCancel(.init(consumerTag: Array("martlet-1".utf8), noWait: true)))
        await server.settle()
        gate.open()
        guard case .consumerCancelled("q")? = failure(await server.end(of: task)) else { Issue.record("it did not end"); return }
        #expect(taken == 1)
    }

    @Test func `answers to consume and cancel may come after those to what was asked later`() async {
        server.ignores = ["1 basic.consume q martlet-1", "1 basic.cancel martlet-1"]
        let task = server.runChannel(options) { channel in
            async let consumed = channel.consume("q")
            try await channel.declareQueue("first")
            let deliveries = try await consumed
            deliveries.cancel()
            try await channel.declareQueue("second")
            var iterator = deliveries.makeAsyncIterator()
            return try await iterator.next() == nil
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        #expect(await server.hears("1 queue.declare first"))
        server.send(.basicConsumeOk(.init(consumerTag: Array("martlet-1".utf8))))
        #expect(await server.hears("1 queue.declare second"))
        server.send(.basicCancelOk(.init(consumerTag: Array("martlet-1".utf8))))
        let hasEnded = try? await server.end(of: task)?.get()
        #expect(hasEnded == true)
    }

    @Test func `get answers a message and how many are left, or nothing`() async throws {
        server.ignores = ["1 basic.get full"]
        let task = server.runChannel(options) { channel in
            let none = try await channel.get("empty")
            let one = try await channel.get("full")
            try await one?.delivery.ack()
            return "\(none == nil) \(one?.delivery.text ?? "") \(one?.messageCount ?? -1)"
        }
        #expect(await server.hears("1 basic.get full"))
        server.send(
            .content(
                channel: 1, .basicGetOk(.init(deliveryTag: 4, routingKey: Array("full".utf8), messageCount: 8)), properties: AMQPProperties(),
                body: Array("hello".utf8)))
        #expect(try await server.end(of: task)?.get() == "true hello 8")
        #expect(server.newest.contains("1 basic.ack 4"))
    }

    @Test func `recover makes old deliveries count no more`() async {
        server.ignores = ["1 basic.recover"]
        var texts: [String] = []
        let task = server.runChannel(options) { channel in
            try await channel.consume("q") { deliveries in
                var first: AMQPDelivery?
                for try await delivery in deliveries {
                    texts.append(delivery.text)
                    if first == nil {
                        first = delivery
                        while deliveries.inbox.count < 1 { await Task.yield() }
                        try await channel.recover()
                        try await first?.ack()
                    } else {
                        try await delivery.ack()
                        if texts.count == 3 { return }
                    }
                }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        server.deliver("a", tag: 1)
        server.deliver("b", tag: 2)
        #expect(await server.hears("1 basic.recover"))
        server.send(.basicRecoverOk)
        server.deliver("a", tag: 3, redelivered: true)
        server.deliver("b", tag: 4, redelivered: true)
        #expect(await server.end(of: task) != nil)
        #expect(texts == ["a", "a", "b"])
        #expect(server.newest.filter { $0.contains("basic.ack") } == ["1 basic.ack 3", "1 basic.ack 4"])
    }

    // MARK: Exceptions

    @Test func `a channel exception fails what waits on its channel with code, text, class and method, and no other`() async throws {
        server.ignores = ["1 queue.declare q", "1 queue.purge r"]
        var errors: [String] = []
        let task = server.run(options) { connection in
            let other = try await connection.openChannel()
            let channel = try await connection.openChannel()
            _ = other
            async let consumed: Void = other.consume("c") { deliveries in for try await _ in deliveries {} }
            async let declared = other.declareQueue("q", durable: true)
            do { _ = try await declared } catch { errors.append("\(error)") }
            do { try await consumed } catch { errors.append("\(error)") }
            do { try await other.publish("x", routingKey: "k") } catch { errors.append("\(error)") }
            try await channel.publish("still here", routingKey: "k")
        }
        #expect(await server.hears("1 queue.declare q"))
        #expect(await server.hears("1 basic.consume c martlet-1"))
        server.close(.preconditionFailed, "inequivalent arg 'durable' for queue 'q'", about: .queueDeclare)
        #expect(try await server.end(of: task)?.get() != nil)
        #expect(errors.count == 3)
        for error in errors {
            #expect(error.contains("406 PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' (queue.declare)"))
        }
        #expect(server.newest.contains("1 channel.close-ok"))
        #expect(server.bodies == ["still here"])
    }

    @Test func `a connection exception fails everything and is not tried again`() async throws {
        server.ignores = ["1 queue.declare q"]
        let task = server.runChannel { channel in try await channel.declareQueue("q") }
        #expect(await server.hears("1 queue.declare q"))
        server.close(.commandInvalid, "no", about: .queueDeclare, on: 0)
        let error = failure(await server.end(of: task))
        #expect("\(try #require(error))".contains("503 COMMAND_INVALID - no (queue.declare)"))
        #expect(await server.hears("0 connection.close-ok"))
        #expect(server.dialCount == 1)
    }

    @Test func `a delivery longer than the limit closes its channel`() async {
        var options = options
        options.limits.bodySizeMax = 10
        let task = server.runChannel(options) { channel in
            try await channel.consume("q") { deliveries in for try await _ in deliveries {} }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        server.deliver("eleven byte", tag: 1)
        guard case .bodyTooLarge(11)? = failure(await server.end(of: task)) else { Issue.record("it was taken"); return }
        #expect(server.newest.contains("1 channel.close"))
    }

    @Test func `a cancelled task waits no longer, and its consumer is cancelled`() async {
        var isEnded = false
        var channelTask: Task<Void, any Error>?
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            channelTask = Task { try await channel.consume("q") { deliveries in for try await _ in deliveries {} } }
            if case .failure? = await channelTask?.result { isEnded = true }
            await gate.pass()
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        channelTask?.cancel()
        #expect(await server.until { isEnded })
        #expect(await server.hears("1 basic.cancel martlet-1"))
        gate.open()
        #expect(await server.end(of: task) != nil)
    }

    // MARK: Transactions

    @Test func `a transaction commits at its end, rolls back when its body throws, and keeps the order`() async {
        struct Refused: Error {}
        let task = server.runChannel(options) { channel in
            let deliveries = try await channel.consume("q")
            var iterator = deliveries.makeAsyncIterator()
            let delivery = try await iterator.next()
            try await channel.withTransaction { channel in
                try await channel.publish("1", routingKey: "r")
                try await delivery?.ack()
                try await channel.publish("2", routingKey: "r")
            }
            do {
                try await channel.withTransaction { channel in
                    try await channel.publish("3", routingKey: "r")
                    throw Refused()
                }
            } catch is Refused {}
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        server.deliver("x", tag: 1)
        #expect(await server.end(of: task) != nil)
        let said = server.newest.drop { $0 != "1 tx.select" }
        #expect(
            said.prefix(8) == [
                "1 tx.select", "1 basic.publish  r", "1 basic.ack 1", "1 basic.publish  r", "1 tx.commit", "1 tx.select", "1 basic.publish  r", "1 tx.rollback",
            ])
        #expect(!server.newest.contains("1 confirm.select"))
    }
}
