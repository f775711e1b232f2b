import MartletBytes
import MartletMQTTProtocol
import MartletPipe
import Synchronization
import Testing

@testable import MartletMQTT

/// The client against a server machine, in memory and on a virtual clock.
@MainActor @Suite(.timeLimit(.minutes(10))) struct MQTTClientPairTests {
    private let server = ScriptedServer()

    private func failure<Result>(_ result: Swift.Result<Result, any Error>?) -> MQTTClientError? {
        if case .failure(let error)? = result { error as? MQTTClientError } else { nil }
    }

    /// Without reconnecting: a loss is seen.
    private func options(keepAlive: Duration = .seconds(10), undeliveredMax: Int = 1_024) -> MQTTClientOptions {
        var options = MQTTClientOptions()
        options.reconnect = .never
        options.keepAlive = keepAlive
        options.limits.undeliveredMax = undeliveredMax
        return options
    }

    @Test func `a QoS 1 publish returns when it is acknowledged, and leaving says DISCONNECT`() async throws {
        server.acknowledges = false
        var isPublished = false
        let task = server.run { client in
            try await client.publish("21.5", to: "home/kitchen", qos: .atLeastOnce, retain: true)
            isPublished = true
        }
        #expect(await server.until { server.published.count == 1 })
        await server.settle()
        #expect(!isPublished)
        #expect(server.published.first?.retain == true)
        server.send(.puback(packetIdentifier: server.published[0].packetIdentifier, reason: .success))
        #expect(await server.end(of: task) != nil)
        #expect(isPublished)
        #expect(await server.until { server.hasDisconnect })
    }

    @Test func `a PUBACK with a failure is thrown with its reason`() async throws {
        server.acknowledges = false
        let task = server.run { client in try await client.publish("x", to: "secret", qos: .atLeastOnce) }
        #expect(await server.until { server.published.count == 1 })
        server.send(.puback(packetIdentifier: server.published[0].packetIdentifier, reason: .notAuthorized))
        let error = failure(await server.end(of: task))
        #expect(error?.isNotAuthorized == true)
        #expect("\(try #require(error))".contains("publish to \"secret\""))
    }

    @Test func `a refused connection throws the reason`() async throws {
        server.connack = MQTTConnack(reason: .badUserNameOrPassword)
        let error = failure(await server.end(of: server.run { _ in }))
        #expect(error?.isNotAuthorized == true)
        #expect("\(try #require(error))".contains("Bad User Name or Password"))
    }

    @Test func `a server that does not answer CONNECT is given up`() async {
        server.connack = nil
        let task = server.run { _ in }
        #expect(await server.until { !server.events.isEmpty })
        await server.advance(by: .seconds(11))
        #expect(failure(await server.end(of: task))?.isUnreachable == true)
    }

    @Test func `keep-alive goes on while a handler is busy`() async {
        let gate = Gate()
        let task = server.run(options()) { client in
            try await client.subscribe(to: "a") { messages in
                for try await _ in messages { await gate.pass(); return }
            }
        }
        #expect(await server.until { server.hasSubscription })
        server.publish("x", to: "a")
        for _ in 0..<12 { await server.advance(by: .seconds(5)) }
        #expect(server.pingCount >= 5)
        #expect(!server.hasDisconnect)
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(await server.until { server.hasUnsubscription && server.hasDisconnect })
    }

    @Test func `a silent server is noticed`() async {
        let task = server.run(options()) { client in
            try await client.subscribe(to: "a") { messages in for try await _ in messages {} }
        }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        server.isListening = false
        for _ in 0..<8 { await server.advance(by: .seconds(5)) }
        guard case .connectionLost(_, .violation(.keepAliveExpired))? = failure(await server.end(of: task)) else {
            Issue.record("expected the loss of the connection")
            return
        }
    }

    @Test func `a lost connection ends every wait, after what had arrived`() async {
        server.acknowledges = true
        var texts: [String] = []
        var publishError: MQTTClientError?
        let gate = Gate()
        let task = server.run(options()) { client in
            try await client.subscribe(to: "a", qos: .atLeastOnce) { messages in
                await gate.pass()
                do throws(MQTTClientError) { try await client.publish("x", to: "b", qos: .atLeastOnce) } catch { publishError = error }
                for try await message in messages { texts.append(message.text) }
            }
        }
        #expect(await server.until { server.hasSubscription })
        server.publish("1", to: "a", qos: 1, identifier: 7)
        await server.settle()
        server.network.end(server.serverEnd)
        await server.settle()
        gate.open()
        guard case .connectionLost(_, .ended)? = failure(await server.end(of: task)) else {
            Issue.record("expected the loss of the connection")
            return
        }
        #expect(texts == ["1"])
        #expect(publishError != nil)
    }

    @Test func `who waits for something else can wait for the end of the connection`() async {
        let task = server.run(options()) { client in await client.untilLost() }
        #expect(await server.until { !server.events.isEmpty })
        await server.settle()
        server.network.end(server.serverEnd)
        guard case .success(.connectionLost(_, .ended))? = await server.end(of: task) else {
            Issue.record("expected the loss of the connection")
            return
        }
    }

    @Test func `not iterating stops the reading and the keep-alive survives it`() async {
        let arrived = Counter()
        var options = options(undeliveredMax: 10)
        options.trace = { if $0.contains("received PUBLISH") { arrived.add() } }
        server.network.readSizeMax = 64
        let gate = Gate()
        var taken = 0
        let task = server.run(options) { client in
            try await client.subscribe(to: "a") { messages in
                await gate.pass()
                for try await _ in messages {
                    taken += 1
                    if taken == 500 { return }
                }
            }
        }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        for _ in 0..<500 { server.publish("x", to: "a") }
        await server.settle()
        #expect((10..<30).contains(arrived.count))
        for _ in 0..<12 { await server.advance(by: .seconds(5)) }
        #expect(arrived.count < 30)
        #expect(server.pingCount >= 5)
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(taken == 500)
    }

    @Test func `a handler that publishes is not stopped by its own back-pressure`() async {
        server.network.readSizeMax = 64
        var taken = 0
        let task = server.run(options(undeliveredMax: 10)) { client in
            try await client.subscribe(to: "a") { messages in
                for try await message in messages {
                    try await client.publish(message.payload, to: "b", qos: .atLeastOnce)
                    taken += 1
                    if taken == 200 { return }
                }
            }
        }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        for _ in 0..<200 { server.publish("x", to: "a") }
        #expect(await server.end(of: task) != nil)
        #expect(taken == 200)
        #expect(server.published.count == 200)
    }

    @Test func `an arriving QoS 1 message is acknowledged when it is taken, in order`() async {
        let gate = Gate()
        let task = server.run { client in
            try await client.subscribe(to: "a", qos: .atLeastOnce) { messages in
                var iterator = messages.makeAsyncIterator()
                _ = try await iterator.next()
                await gate.pass()
                _ = try await iterator.nextBatch()
            }
        }
        #expect(await server.until { server.hasSubscription })
        for identifier in 1...3 as ClosedRange<UInt16> { server.publish("x", to: "a", qos: 1, identifier: identifier) }
        await server.settle()
        #expect(server.acknowledged == [1])
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(await server.until { server.hasDisconnect })
        #expect(server.acknowledged == [1, 2, 3])
    }

    @Test func `a pipeline keeps the server's receive maximum`() async {
        server.acknowledges = false
        server.connack?.receiveMaximum = 2
        let task = server.run { client in
            try await client.pipelined { pipeline in
                for number in 0..<5 { try await pipeline.publish("\(number)", to: "a", qos: .atLeastOnce) }
            }
        }
        for round in 0..<5 {
            #expect(await server.until { server.published.count > round })
            await server.settle()
            #expect(server.published.count == min(5, round + 2))
            server.send(.puback(packetIdentifier: server.published[round].packetIdentifier, reason: .success))
        }
        #expect(await server.end(of: task) != nil)
        #expect(server.published.map { String(decoding: $0.payload, as: UTF8.self) } == ["0", "1", "2", "3", "4"])
    }

    @Test func `a slow socket makes publishers wait and loses nothing`() async {
        server.network.capacity = 1_000
        var options = options()
        options.limits.outputMax = 4_000
        options.limits.pipelineBytesMax = 8_000
        var handed = 0
        server.isListening = false
        let task = server.run(options) { client in
            try await client.pipelined { pipeline in
                for number in 0..<500 {
                    try await pipeline.publish("\(number)" + String(repeating: ".", count: 100), to: "a")
                    handed += 1
                }
            }
        }
        server.isListening = true
        #expect(await server.until { handed > 0 })
        server.isListening = false
        await server.settle()
        #expect(handed < 300)
        server.isListening = true
        #expect(await server.end(of: task) != nil)
        #expect(await server.until { server.hasDisconnect })
        #expect(server.published.count == 500)
    }

    @Test func `cancelling a task ends its wait and the connection in good order`() async {
        server.acknowledges = false
        let task = server.run { client in try await client.publish("x", to: "a", qos: .atLeastOnce) }
        #expect(await server.until { server.published.count == 1 })
        task.cancel()
        guard case .cancelled? = failure(await server.end(of: task)) else {
            Issue.record("expected a cancelled publish")
            return
        }
        #expect(await server.until { server.hasDisconnect })
    }

    @Test func `cancelling an iterating task unsubscribes`() async {
        let task = server.run { client in
            try await client.subscribe(to: "a") { messages in for try await _ in messages {} }
        }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        task.cancel()
        #expect(failure(await server.end(of: task)) != nil)
        #expect(await server.until { server.hasUnsubscription && server.hasDisconnect })
    }

    @Test func `what a kept session brings before the subscription is not lost`() async {
        server.connack = MQTTConnack(sessionPresent: true)
        var options = options()
        options.cleanStart = false
        options.sessionExpiry = .seconds(60)
        let gate = Gate()
        var text: String?
        let task = server.run(options) { client in
            await gate.pass()
            text = try await client.subscribe(to: "a/+", qos: .atLeastOnce, staysSubscribed: true) { messages in
                var iterator = messages.makeAsyncIterator()
                return try await iterator.next()?.text
            }
        }
        #expect(await server.until { !server.events.isEmpty })
        server.publish("early", to: "a/b", qos: 1, identifier: 9)
        await server.settle()
        #expect(server.acknowledged.isEmpty)
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(text == "early")
        #expect(await server.until { server.hasDisconnect })
        #expect(server.acknowledged == [9])
        #expect(!server.hasUnsubscription)
    }

    @Test func `overlapping subscriptions both get a message that the server sends once`() async {
        var counts = [0, 0]
        let task = server.run { client in
            try await client.subscribe(to: "a/#") { all in
                try await client.subscribe(to: "a/+") { some in
                    var (first, second) = (all.makeAsyncIterator(), some.makeAsyncIterator())
                    if try await first.next() != nil { counts[0] += 1 }
                    if try await second.next() != nil { counts[1] += 1 }
                }
            }
        }
        #expect(await server.until { server.events.count { if case .subscribe = $0 { true } else { false } } == 2 })
        server.publish("x", to: "a/b")
        #expect(await server.end(of: task) != nil)
        #expect(counts == [1, 1])
    }

    @Test func `a misuse is a sentence and costs nothing but the call`() async throws {
        var errors: [MQTTClientError] = []
        let task = server.run { client in
            do throws(MQTTClientError) { try await client.publish("x", to: "a/+") } catch { errors.append(error) }
            try await client.publish("y", to: "a", qos: .atLeastOnce)
        }
        #expect(await server.end(of: task) != nil)
        #expect(server.published.count == 1)
        #expect("\(try #require(errors.first))".hasPrefix("cannot publish to \"a/+\": "))
    }
}

/// Counted on the loop's thread, read by the test.
final class Counter: Sendable {
    private let value = Atomic<Int>(0)
    var count: Int { value.load(ordering: .relaxed) }
    func add() { value.wrappingAdd(1, ordering: .relaxed) }
}
