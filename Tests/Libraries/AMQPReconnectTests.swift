import MartletAMQPProtocol
import Testing

@testable import MartletAMQP

/// What outlives a connection: topology, channels, consumers, what is under way. In memory, on a virtual clock.
@MainActor @Suite(.timeLimit(.minutes(10))) struct AMQPReconnectTests {
    private let server = AMQPScriptedServer()

    private var options: AMQPConnectionOptions {
        var options = AMQPConnectionOptions()
        options.reconnect.jitter = 0
        options.reconnect.delayMin = .seconds(1)
        options.reconnect.delayMax = .seconds(8)
        return options
    }

    private func failure<Result>(_ result: Swift.Result<Result, any Error>?) -> AMQPError? {
        if case .failure(let error)? = result { error as? AMQPError } else { nil }
    }

    /// Breaks the connection and waits for the next.
    private func cutAndReturn(after: Duration = .seconds(1)) async {
        let count = server.connections.count
        server.cut()
        await server.settle()
        await server.advance(by: after)
        #expect(await server.until { server.connections.count == count + 1 && server.newest.contains("0 connection.open") })
        await server.settle()
    }

    /// What the newest connection was told after its opening.
    private var again: [String] { Array(server.newest.dropFirst(3)) }
    private func place(_ line: String) -> Int { again.firstIndex(of: line) ?? -1 }

    @Test func `everything is made anew in its order: exchanges, queues, bindings, channels with their mode, prefetch and consumers`() async {
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            try await channel.declareExchange("logs", .topic, durable: true)
            try await channel.declareExchange("more", .fanout)
            try await channel.bindExchange("more", to: "logs", routingKey: "a.#")
            try await channel.declareQueue("q", durable: true)
            try await channel.bindQueue("q", to: "logs", routingKey: "a.*")
            try await channel.setPrefetch(50)
            try await channel.publish("x", to: "logs", routingKey: "a.b")
            let deliveries = try await channel.consume("q", prefetch: 7)
            await gate.pass()
            deliveries.cancel()
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        await cutAndReturn()
        #expect(again.first == "2 channel.open")
        let bindings: Set = ["2 exchange.bind more logs a.#", "2 queue.bind q logs a.*"]
        #expect(Set(again[1...3]) == ["2 exchange.declare logs topic", "2 exchange.declare more fanout", "2 queue.declare q"])
        #expect(again[3] == "2 queue.declare q")
        #expect(Set(again[4...5]) == bindings)
        #expect(
            again.filter { $0.hasPrefix("1 ") } == [
                "1 channel.open", "1 confirm.select", "1 basic.qos 50 global", "1 basic.qos 7", "1 basic.consume q martlet-1",
            ])
        #expect(place("2 channel.close") > 5)
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(server.newest.contains("1 basic.cancel martlet-1"))
    }

    @Test func `a queue that the server named gets its new name everywhere`() async {
        let gate = Gate()
        var names: [String] = []
        var texts: [String] = []
        let task = server.runChannel(options) { channel in
            let queue = try await channel.declareQueue(exclusive: true)
            names.append(queue.name)
            let first = queue.name
            try await channel.bindQueue(queue.name, to: "amq.topic", routingKey: "a.#")
            try await channel.consume(queue) { deliveries in
                for try await delivery in deliveries {
                    texts.append(delivery.text)
                    if texts.count == 2 { break }
                }
            }
            await gate.pass()
            names.append(queue.name)
            try await channel.publish("by the old name", routingKey: first)
            try await channel.purgeQueue(first)
            try await channel.deleteQueue(queue.name)
        }
        #expect(await server.hears("1 basic.consume amq.gen-1 martlet-1"))
        server.deliver("a", tag: 1)
        #expect(await server.until { texts.count == 1 })
        await cutAndReturn()
        #expect(again.contains("2 queue.declare"))
        #expect(again.contains("2 queue.bind amq.gen-2 amq.topic a.#"))
        #expect(again.contains("1 basic.consume amq.gen-2 martlet-1"))
        await cutAndReturn(after: .seconds(2))
        #expect(again.contains("2 queue.bind amq.gen-3 amq.topic a.#"))
        #expect(again.contains("1 basic.consume amq.gen-3 martlet-1"))
        server.deliver("b", tag: 1)
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(names == ["amq.gen-1", "amq.gen-3"])
        #expect(texts == ["a", "b"])
        #expect(server.newest.contains("1 basic.publish  amq.gen-3"))
        #expect(server.newest.contains("1 queue.purge amq.gen-3"))
        #expect(server.newest.contains("1 queue.delete amq.gen-3"))
    }

    @Test func `a server-named queue that is not exclusive is looked for before another is made`() async {
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            let queue = try await channel.declareQueue()
            await gate.pass()
            return queue.name
        }
        #expect(await server.hears("1 queue.declare"))
        await server.settle()
        await cutAndReturn()
        #expect(again.contains("2 queue.declare amq.gen-1 passive"))
        #expect(!again.contains("2 queue.declare"))
        server.refuse = { $0.hasSuffix("passive") ? .channelClose(.init(replyCode: 404, replyText: Array("NOT_FOUND".utf8))) : nil }
        await cutAndReturn(after: .seconds(2))
        #expect(place("2 queue.declare") > place("2 queue.declare amq.gen-1 passive"))
        gate.open()
        let name = try? await server.end(of: task)?.get()
        #expect(name == "amq.gen-2")
    }

    @Test func `what was deleted, or deletes itself, is not made anew`() async {
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            try await channel.declareExchange("gone", .fanout)
            try await channel.declareExchange("self", .fanout, autoDelete: true)
            try await channel.declareQueue("q")
            try await channel.declareQueue("consumed", autoDelete: true)
            try await channel.declareQueue("stays", autoDelete: true)
            try await channel.bindQueue("q", to: "gone")
            try await channel.bindQueue("stays", to: "self")
            try await channel.bindQueue("q", to: "amq.fanout")
            try await channel.deleteExchange("gone")
            try await channel.unbindQueue("stays", from: "self")
            try await channel.consume("consumed") { _ in }
            try await channel.deleteQueue("q")
            await gate.pass()
        }
        #expect(await server.hears("1 queue.delete q"))
        await server.settle()
        await cutAndReturn()
        #expect(again.filter { $0.hasPrefix("2 ") } == ["2 channel.open", "2 queue.declare stays", "2 channel.close"])
        gate.open()
        #expect(await server.end(of: task) != nil)
    }

    @Test func `what is not confirmed is published again in its order, before anything new, and nothing that was`() async {
        server.confirms = false
        let task = server.runChannel(options) { channel in
            try await channel.pipelined { pipeline in
                for number in 0..<5 { try await pipeline.publish("\(number)", routingKey: "q") }
            }
            try await channel.publish("new", routingKey: "q")
        }
        #expect(await server.until { server.bodies.count == 5 })
        server.send(.basicAck(.init(deliveryTag: 2)))
        server.send(.basicAck(.init(deliveryTag: 4)))
        await server.settle()
        server.confirms = true
        await cutAndReturn()
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == ["0", "1", "2", "3", "4", "0", "2", "4", "new"])
        #expect(again.prefix(3) == ["1 channel.open", "1 confirm.select", "1 basic.publish  q"])
    }

    @Test func `a publish that shall leave at most once fails with its connection`() async {
        var options = options
        options.reconnect.republishes = false
        server.confirms = false
        let task = server.runChannel(options) { channel in try await channel.publish("x", routingKey: "q") }
        #expect(await server.until { server.bodies.count == 1 })
        server.cut()
        await server.settle()
        await server.advance(by: .seconds(1))
        guard case .connectionLost? = failure(await server.end(of: task)) else { Issue.record("it did not fail"); return }
        #expect(server.bodies == ["x"])
    }

    @Test func `calls wait for the next connection, and what had no answer is asked again`() async {
        server.ignores = ["1 queue.declare q"]
        var isDeclared = false
        let task = server.runChannel(options) { channel in
            try await channel.declareQueue("q")
            isDeclared = true
            try await channel.publish("x", routingKey: "q")
        }
        #expect(await server.hears("1 queue.declare q"))
        server.ignores = []
        server.cut()
        await server.settle()
        #expect(!isDeclared)
        await server.advance(by: .seconds(1))
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == ["x"])
        #expect(server.heard.count { $0 == "1 queue.declare q" } == 2)
    }

    @Test func `acknowledgements of before do nothing, and what nobody took is not there twice`() async {
        var texts: [String] = []
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            try await channel.consume("q") { deliveries in
                for try await delivery in deliveries {
                    texts.append(delivery.text)
                    if texts.count == 1 { await gate.pass() }
                    try await delivery.ack()
                    if texts.count == 3 { return }
                }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        server.deliver("a", tag: 1)
        server.deliver("b", tag: 2)
        #expect(await server.until { texts == ["a"] })
        await cutAndReturn()
        server.deliver("a", tag: 1, redelivered: true)
        server.deliver("b", tag: 2, redelivered: true)
        await server.settle()
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(texts == ["a", "a", "b"])
        #expect(again.filter { $0.contains("basic.ack") } == ["1 basic.ack 1", "1 basic.ack 2"])
    }

    @Test func `a transaction that lost its connection fails at the commit, and the next is whole`() async {
        let gate = Gate()
        var failures = 0
        let task = server.runChannel(options) { channel in
            do {
                try await channel.withTransaction { channel in
                    try await channel.publish("1", routingKey: "q")
                    await gate.pass()
                    try await channel.publish("2", routingKey: "q")
                }
            } catch AMQPError.transactionLost { failures += 1 }
            try await channel.withTransaction { channel in
                for number in 3...4 { try await channel.publish("\(number)", routingKey: "q") }
            }
        }
        #expect(await server.until { server.bodies == ["1"] })
        await cutAndReturn()
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(failures == 1)
        let said = again.filter { $0.contains("tx.") || $0.contains("publish") }
        #expect(
            said == [
                "1 tx.select", "1 basic.publish  q", "1 tx.rollback", "1 tx.rollback", "1 tx.select", "1 basic.publish  q", "1 basic.publish  q", "1 tx.commit",
            ])
    }

    @Test func `a commit without an answer fails, since nobody knows`() async {
        server.ignores = ["1 tx.commit"]
        let task = server.runChannel(options) { channel in
            try await channel.withTransaction { channel in try await channel.publish("1", routingKey: "q") }
        }
        #expect(await server.hears("1 tx.commit"))
        await cutAndReturn()
        guard case .connectionLost? = failure(await server.end(of: task)) else { Issue.record("it did not fail"); return }
    }

    @Test func `what the server refuses to make anew is given up and told, and the rest goes on`() async {
        var told: [String] = []
        let gate = Gate()
        let task = server.run(options) { connection in
            let states = connection.states
            let record = Task { @MainActor in
                for await state in states { if case .notRecovered(let method, let error) = state { told.append("\(method): \(error.isPreconditionFailed)") } }
            }
            try await connection.withChannel { channel in
                try await channel.declareExchange("changed", .fanout)
                try await channel.declareQueue("q")
                try await channel.bindQueue("q", to: "changed")
                await gate.pass()
                try await channel.publish("x", routingKey: "q")
            }
            await connection.close()
            await record.value
        }
        #expect(await server.hears("1 queue.bind q changed "))
        await server.settle()
        server.refuse = { line in
            line == "2 exchange.declare changed fanout"
                ? .channelClose(.init(replyCode: 406, replyText: Array("PRECONDITION_FAILED - inequivalent".utf8))) : nil
        }
        await cutAndReturn()
        #expect(again.contains("2 queue.declare q"))
        #expect(!again.contains("2 queue.bind q changed "))
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(told == ["exchange.declare: true"])
        #expect(server.bodies == ["x"])
    }

    @Test func `an exclusive queue that the server still holds for the lost connection is tried again`() async {
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            try await channel.declareQueue("mine", exclusive: true)
            await gate.pass()
            try await channel.publish("x", routingKey: "mine")
        }
        #expect(await server.hears("1 queue.declare mine"))
        await server.settle()
        server.refuse = { $0 == "2 queue.declare mine" ? .channelClose(.init(replyCode: 405, replyText: Array("RESOURCE_LOCKED".utf8))) : nil }
        await cutAndReturn()
        #expect(!again.contains("1 channel.open"))
        server.refuse = { _ in nil }
        await server.advance(by: .seconds(2))
        #expect(await server.until { server.connections.count == 3 && again.contains("1 channel.open") })
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == ["x"])
    }

    @Test func `a consumer whose queue is gone throws the channel's exception`() async {
        let task = server.runChannel(options) { channel in
            try await channel.consume("elsewhere") { deliveries in for try await _ in deliveries {} }
        }
        #expect(await server.hears("1 basic.consume elsewhere martlet-1"))
        await server.settle()
        server.refuse = { $0.contains("basic.consume") ? .channelClose(.init(replyCode: 404, replyText: Array("NOT_FOUND - no queue".utf8))) : nil }
        await cutAndReturn()
        #expect(failure(await server.end(of: task))?.isNotFound == true)
    }

    @Test func `a channel closes at once while there is no connection`() async {
        var isClosed = false
        let task = server.run(options) { connection in
            let channel = try await connection.openChannel()
            for await state in connection.states { if case .reconnecting = state { break } }
            try await channel.publishUnconfirmed("x", routingKey: "q")
            await channel.close()
            isClosed = true
            try await connection.withChannel { try await $0.publish("y", routingKey: "q") }
        }
        #expect(await server.hears("1 channel.open"))
        await server.settle()
        server.cut()
        #expect(await server.until { isClosed })
        await server.advance(by: .seconds(1))
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == ["y"])
    }

    @Test func `an exclusive consumer that the server still holds for the lost connection is tried again`() async {
        var texts: [String] = []
        let task = server.runChannel(options) { channel in
            try await channel.consume("q", exclusive: true) { deliveries in
                for try await delivery in deliveries {
                    texts.append(delivery.text)
                    return
                }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        await server.settle()
        server.refuse = {
            $0.contains("basic.consume") ? .channelClose(.init(replyCode: 403, replyText: Array("ACCESS_REFUSED - in exclusive use".utf8))) : nil
        }
        await cutAndReturn()
        server.refuse = { _ in nil }
        await server.advance(by: .seconds(2))
        #expect(await server.until { server.connections.count == 3 && again.contains("1 basic.consume q martlet-1") })
        server.deliver("a", tag: 1)
        #expect(await server.end(of: task) != nil)
        #expect(texts == ["a"])
    }

    @Test func `attempts come after growing waits, and only so many messages wait for them`() async {
        var options = options
        options.limits.offlineCountMax = 2
        options.reconnect.attemptsMax = 3
        var failures: [String] = []
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            await gate.pass()
            let calls = (0..<3).map { number in Task { @MainActor in try await channel.publish("\(number)", routingKey: "q") } }
            for call in calls {
                switch await call.result {
                case .failure(AMQPError.offlineQueueFull(_, let count)): failures.append("full \(count)")
                case .failure(AMQPError.connectionLost): failures.append("lost")
                case .failure(let error): failures.append("\(error)")
                case .success: failures.append("published")
                }
            }
        }
        #expect(await server.hears("1 channel.open"))
        await server.settle()
        server.isReachable = false
        server.cut()
        await server.settle()
        gate.open()
        await server.settle()
        for (seconds, count) in [(1, 2), (2, 3), (4, 4)] {
            await server.advance(by: .milliseconds(seconds * 1_000 - 1))
            #expect(server.dialCount == count - 1)
            await server.advance(by: .milliseconds(2))
            #expect(server.dialCount == count)
        }
        #expect(await server.end(of: task) != nil)
        #expect(failures == ["lost", "lost", "full 2"])
    }

    @Test func `a server that shuts down is returned to, a refused user is not`() async {
        let task = server.runChannel(options) { channel in
            try await channel.consume("q") { deliveries in for try await _ in deliveries {} }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        server.close(.connectionForced, "broker forced connection closure with reason 'shutdown'", about: .basicQos, on: 0)
        await server.settle()
        await server.advance(by: .seconds(1))
        #expect(await server.until { server.connections.count == 2 && again.contains("1 basic.consume q martlet-1") })
        server.ignores = ["0 connection.start-ok"]
        server.cut()
        await server.settle()
        await server.advance(by: .seconds(2))
        #expect(await server.until { server.connections.count == 3 && server.newest.contains("0 connection.start-ok") })
        server.send(.connectionClose(.init(replyCode: 403, replyText: Array("ACCESS_REFUSED".utf8))), on: 0)
        #expect(failure(await server.end(of: task))?.isAccessRefused == true)
        #expect(server.dialCount == 3)
    }
}
