import MartletAMQPProtocol
import MartletPipe
import Testing

@testable import MartletAMQP

/// The client against a server machine, in memory and on a virtual clock: what one connection does.
@MainActor @Suite(.timeLimit(.minutes(10))) struct AMQPClientTests {
    private let server = AMQPScriptedServer()

    private func failure<Result>(_ result: Swift.Result<Result, any Error>?) -> AMQPError? {
        if case .failure(let error)? = result { error as? AMQPError } else { nil }
    }

    /// Without reconnecting: a loss is seen.
    private var options: AMQPConnectionOptions {
        var options = AMQPConnectionOptions()
        options.reconnect = .never
        return options
    }

    // MARK: Opening and closing

    @Test func `a scope opens the connection and closes it with its channels`() async {
        let task = server.run(options) { connection in
            try await connection.withChannel { channel in try await channel.declareExchange("logs", .fanout) }
        }
        #expect(await server.end(of: task) != nil)
        #expect(
            server.newest == [
                "0 connection.start-ok", "0 connection.tune-ok", "0 connection.open", "1 channel.open", "1 exchange.declare logs fanout", "1 channel.close",
                "0 connection.close",
            ])
    }

    @Test func `a refused login throws the server's words, and is not tried again`() async throws {
        server.ignores = ["0 connection.start-ok"]
        let task = server.run { _ in }
        #expect(await server.hears("0 connection.start-ok"))
        server.send(.connectionClose(.init(replyCode: 403, replyText: Array("ACCESS_REFUSED - Login was refused".utf8))), on: 0)
        let error = failure(await server.end(of: task))
        #expect(error?.isAccessRefused == true)
        #expect("\(try #require(error))".contains("403 ACCESS_REFUSED - Login was refused"))
        #expect(server.dialCount == 1)
    }

    @Test func `a mechanism that the server does not offer is not sent`() async {
        var options = options
        options.login = .external
        let error = failure(await server.end(of: server.run(options) { _ in }))
        guard case .mechanismNotOffered(_, "PLAIN AMQPLAIN")? = error else { Issue.record("\(String(describing: error))"); return }
    }

    @Test func `a server that does not open the connection is given up`() async {
        server.ignores = ["0 connection.open"]
        let task = server.run(options) { _ in }
        #expect(await server.hears("0 connection.open"))
        await server.advance(by: .seconds(11))
        #expect(failure(await server.end(of: task))?.isUnreachable == true)
    }

    @Test func `heartbeats go on while a handler is busy, and a silent server is lost`() async {
        var options = options
        options.heartbeat = .seconds(10)
        let gate = Gate()
        let task = server.runChannel(options) { channel in
            try await channel.consume("q") { deliveries in
                for try await _ in deliveries { await gate.pass() }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        server.deliver("x", tag: 1)
        for _ in 0..<24 { await server.advance(by: .milliseconds(2_500)) }
        #expect(server.heartbeatCount >= 6)
        #expect(!server.newest.contains("0 connection.close"))
        server.isListening = false
        for _ in 0..<9 { await server.advance(by: .milliseconds(2_500)) }
        gate.open()
        guard case .connectionLost(_, .violation(.heartbeatMissed))? = failure(await server.end(of: task)) else {
            Issue.record("the silence was not noticed")
            return
        }
    }

    @Test func `closing sends what was published first`() async {
        let task = server.runChannel(options) { channel in
            for number in 0..<5 { try await channel.publishUnconfirmed("\(number)", to: "logs", routingKey: "k") }
        }
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == ["0", "1", "2", "3", "4"])
    }

    // MARK: Publishing

    @Test func `a publish returns when it is confirmed, and the channel is put into confirm mode once`() async {
        server.confirms = false
        var isPublished = false
        let task = server.runChannel(options) { channel in
            try await channel.publish("21.5", routingKey: "q", persistent: true)
            isPublished = true
            try await channel.publish("21.6", routingKey: "q")
        }
        #expect(await server.hears("1 basic.publish  q"))
        await server.settle()
        #expect(!isPublished)
        server.send(.basicAck(.init(deliveryTag: 1)))
        #expect(await server.until { isPublished })
        server.send(.basicAck(.init(deliveryTag: 2)))
        #expect(await server.end(of: task) != nil)
        #expect(server.newest.count { $0 == "1 confirm.select" } == 1)
    }

    @Test func `a nack is thrown, and names where it was published`() async {
        server.confirms = false
        let task = server.runChannel(options) { channel in try await channel.publish("x", to: "logs", routingKey: "k") }
        #expect(await server.until { server.bodies.count == 1 })
        server.send(.basicNack(.init(deliveryTag: 1)))
        guard case .nacked("logs", "k")? = failure(await server.end(of: task)) else { Issue.record("no nack"); return }
    }

    @Test func `a mandatory message that comes back is thrown with code and text, and others are confirmed`() async {
        server.confirms = false
        var isOther = false
        let task = server.run(options) { connection in
            try await connection.withChannel { channel in
                async let other: Void = channel.publish("y", routingKey: "there", mandatory: true)
                do { try await channel.publish("x", routingKey: "nowhere", mandatory: true) } catch {
                    try await other
                    isOther = true
                    throw error
                }
            }
        }
        #expect(await server.until { server.bodies.count == 2 })
        let tag: UInt64 = server.bodies == ["y", "x"] ? 2 : 1
        server.send(
            .content(
                channel: 1, .basicReturn(.init(replyCode: 312, replyText: Array("NO_ROUTE".utf8), routingKey: Array("nowhere".utf8))),
                properties: AMQPProperties(), body: Array("x".utf8)))
        server.send(.basicAck(.init(deliveryTag: 2, multiple: true)))
        guard case .returned(312, "NO_ROUTE", "", "nowhere")? = failure(await server.end(of: task)) else { Issue.record("not returned, tag \(tag)"); return }
        #expect(isOther)
    }

    @Test func `what comes back and nobody waits for is in returns`() async {
        var back: [String] = []
        let task = server.runChannel(options) { channel in
            let returns = channel.returns
            try await channel.publishUnconfirmed("x", to: "logs", routingKey: "nowhere", mandatory: true)
            for await message in returns {
                back.append("\(message.code) \(message.text) \(message.exchange) \(message.routingKey) \(String(decoding: message.body, as: UTF8.self))")
                return
            }
        }
        #expect(await server.until { server.bodies.count == 1 })
        server.send(
            .content(
                channel: 1,
                .basicReturn(.init(replyCode: 312, replyText: Array("NO_ROUTE".utf8), exchange: Array("logs".utf8), routingKey: Array("nowhere".utf8))),
                properties: AMQPProperties(), body: Array("x".utf8)))
        #expect(await server.end(of: task) != nil)
        #expect(back == ["312 NO_ROUTE logs nowhere x"])
    }

    @Test func `a pipeline has a window and ends when all are confirmed, in whatever order`() async {
        server.confirms = false
        let task = server.runChannel(options) { channel in
            try await channel.pipelined(window: 4) { pipeline in
                for number in 0..<6 { try await pipeline.publish("\(number)", routingKey: "q") }
            }
        }
        #expect(await server.until { server.bodies.count == 4 })
        await server.settle()
        #expect(server.bodies.count == 4)
        server.send(.basicAck(.init(deliveryTag: 3)))
        server.send(.basicAck(.init(deliveryTag: 2)))
        #expect(await server.until { server.bodies.count == 6 })
        server.send(.basicAck(.init(deliveryTag: 1)))
        await server.settle()
        #expect(!server.newest.contains("1 channel.close"))
        server.send(.basicAck(.init(deliveryTag: 6, multiple: true)))
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == (0..<6).map(String.init))
    }

    @Test func `a blocked connection holds publishers and nothing else, and says so`() async {
        var states: [String] = []
        let task = server.run(options) { connection in
            let changes = connection.states
            let record = Task { @MainActor in
                for await state in changes {
                    if case .blocked(let reason) = state { states.append("blocked \(reason)") }
                    if case .unblocked = state { states.append("unblocked") }
                }
            }
            try await connection.withChannel { channel in
                try await channel.publish("1", routingKey: "q")
                _ = try await channel.declareQueue("asked")
                while connection.blockedReason == nil { await Task.yield() }
                async let held: Void = channel.publish("2", routingKey: "q")
                async let other: AMQPQueue = connection.withChannel { try await $0.declareQueue("other") }
                _ = try await other
                try await held
            }
            await connection.close()
            await record.value
        }
        #expect(await server.hears("1 queue.declare asked"))
        server.send(.connectionBlocked(.init(reason: Array("low on memory".utf8))), on: 0)
        #expect(await server.hears("2 queue.declare other"))
        await server.settle()
        #expect(server.bodies == ["1"])
        server.send(.connectionUnblocked, on: 0)
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == ["1", "2"])
        #expect(states == ["blocked low on memory", "unblocked"])
    }

    @Test func `closing a channel does not wait for ever for what the server holds`() async {
        var isClosed = false
        let task = server.run(options) { connection in
            let states = connection.states
            try await connection.withChannel { channel in
                _ = try await channel.declareQueue("asked")
                for await state in states { if case .blocked = state { break } }
                try await channel.publishUnconfirmed("held", routingKey: "q")
            }
            isClosed = true
            for await state in states { if case .unblocked = state { break } }
            try await connection.withChannel { try await $0.publish("taken", routingKey: "q") }
        }
        #expect(await server.hears("1 queue.declare asked"))
        await server.settle()
        server.send(.connectionBlocked(.init(reason: Array("low on memory".utf8))), on: 0)
        await server.settle()
        await server.advance(by: .seconds(4))
        #expect(!isClosed && !server.newest.contains("1 channel.close"))
        await server.advance(by: .seconds(2))
        #expect(isClosed && server.newest.contains("1 channel.close"))
        server.send(.connectionUnblocked, on: 0)
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == ["taken"])
    }

    @Test func `channel flow stops the publishers of its channel`() async {
        let task = server.runChannel(options) { channel in
            _ = try await channel.declareQueue("asked")
            try await channel.publish("1", routingKey: "q")
        }
        #expect(await server.hears("1 channel.open"))
        server.send(.channelFlow(.init(active: false)))
        #expect(await server.hears("1 channel.flow-ok"))
        #expect(await server.hears("1 queue.declare asked"))
        await server.settle()
        #expect(server.bodies.isEmpty)
        server.send(.channelFlow(.init(active: true)))
        #expect(await server.end(of: task) != nil)
        #expect(server.bodies == ["1"])
    }

    @Test func `a body longer than a frame goes and comes in pieces`() async throws {
        server.limits.frameMax = 4_096
        let long = String(repeating: "0123456789", count: 2_000)
        var taken = ""
        let task = server.runChannel(options) { channel in
            try await channel.publish(long, routingKey: "q")
            try await channel.consume("q") { deliveries in
                for try await delivery in deliveries {
                    taken = delivery.text
                    try await delivery.ack()
                    return
                }
            }
        }
        #expect(await server.hears("1 basic.consume q martlet-1"))
        server.deliver(long, tag: 1)
        #expect(await server.end(of: task) != nil)
        #expect(taken == long)
        #expect(server.newest.contains("1 basic.ack 1"))
    }

    @Test func `a name that is too long is the caller's mistake, and the channel lives`() async {
        let task = server.runChannel(options) { channel in
            let long = String(repeating: "x", count: 256)
            var mistakes = 0
            do { try await channel.publish("x", routingKey: long) } catch AMQPError.misuse { mistakes += 1 }
            do { _ = try await channel.declareQueue(long) } catch AMQPError.misuse { mistakes += 1 }
            do { _ = try await channel.declareQueue("q", arguments: AMQPTable([.init(Array(long.utf8), true)])) } catch AMQPError.misuse { mistakes += 1 }
            try await channel.publish("y", routingKey: "q")
            return mistakes
        }
        let mistakes = try? await server.end(of: task)?.get()
        #expect(mistakes == 3)
        #expect(server.bodies == ["y"])
    }
}
