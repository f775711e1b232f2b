import MartletBytes
import MartletMQTTProtocol
import Testing

@testable import MartletMQTT

/// What outlives a connection: sessions, subscriptions, what is under way. In memory, on a virtual clock.
@MainActor @Suite(.timeLimit(.minutes(10))) struct MQTTReconnectTests {
    private let server = ScriptedServer()

    private var options: MQTTClientOptions {
        var options = MQTTClientOptions()
        options.reconnect.jitter = 0
        options.reconnect.delayMin = .seconds(1)
        options.reconnect.delayMax = .seconds(8)
        return options
    }

    private func failure<Result>(_ result: Swift.Result<Result, any Error>?) -> MQTTClientError? {
        if case .failure(let error)? = result { error as? MQTTClientError } else { nil }
    }

    private func isOpen(_ count: Int) async -> Bool {
        await server.until { server.connections.count == count && server.connections.last?.events.isEmpty == false }
    }

    /// Breaks the connection and waits for the next.
    private func cutAndReturn(sessionPresent: Bool, after: Duration = .seconds(1)) async {
        let count = server.connections.count
        server.connack = MQTTConnack(sessionPresent: sessionPresent)
        server.cut()
        await server.settle()
        await server.advance(by: after)
        #expect(await isOpen(count + 1))
        await server.settle()
    }

    private var newest: [MQTTServerEvent.Owned] { server.connections.last?.events ?? [] }
    /// PUBLISH and PUBREL of the newest connection: `P1` is a PUBLISH of identifier 1, `D1` the same with DUP, `R1` its PUBREL.
    private var sent: [String] {
        newest.compactMap {
            switch $0 {
            case .publish(let publish): "\(publish.duplicate ? "D" : "P")\(publish.packetIdentifier)"
            case .pubrel(let identifier, _): "R\(identifier)"
            default: nil
            }
        }
    }

    @Test func `waits double from the least to the most, and chance takes at most its part`() {
        var reconnect = MQTTReconnect()
        (reconnect.delayMin, reconnect.delayMax, reconnect.jitter) = (.seconds(1), .seconds(10), 0.5)
        #expect((1...6).map { reconnect.delay(before: $0, chance: 0) } == [1, 2, 4, 8, 10, 10].map { .seconds($0) })
        #expect(reconnect.delay(before: 3, chance: 1) == .seconds(2))
        #expect(reconnect.delay(before: .max, chance: 0) == .seconds(10))
    }

    @Test func `attempts come after growing waits, and the states tell of them`() async {
        let gate = Gate()
        var waits: [Duration] = []
        let task = server.run(options) { client in
            let states = client.states
            await gate.pass()
            for await state in states {
                if case .reconnecting(_, let wait) = state { waits.append(wait) }
                if case .connected = state { return }
            }
        }
        #expect(await isOpen(1))
        await server.settle()
        server.isReachable = false
        server.cut()
        await server.settle()
        for (seconds, count) in [(1, 2), (2, 3), (4, 4), (8, 5)] {
            await server.advance(by: .milliseconds(seconds * 1_000 - 1))
            #expect(server.dialCount == count - 1)
            await server.advance(by: .milliseconds(2))
            #expect(server.dialCount == count)
        }
        server.isReachable = true
        await server.advance(by: .seconds(9))
        #expect(await isOpen(2))
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(waits == [1, 2, 4, 8, 8].map { .seconds($0) })
    }

    @Test func `unacknowledged messages are sent again in their order, with DUP and their identifiers`() async {
        server.acknowledges = false
        let task = server.run(options) { client in
            try await client.pipelined { pipeline in
                for number in 0..<5 { try await pipeline.publish("\(number)", to: "a", qos: number == 1 || number == 3 ? .exactlyOnce : .atLeastOnce) }
            }
        }
        #expect(await server.until { server.published.count == 5 })
        server.send(.puback(packetIdentifier: 1, reason: .success))
        server.send(.pubrec(packetIdentifier: 2, reason: .success))
        #expect(await server.until { sent.last == "R2" })
        await cutAndReturn(sessionPresent: true)
        #expect(sent == ["D3", "D4", "D5", "R2"])
        for identifier in [3, 5] as [UInt16] { server.send(.puback(packetIdentifier: identifier, reason: .success)) }
        server.send(.pubcomp(packetIdentifier: 2, reason: .success))
        server.send(.pubrec(packetIdentifier: 4, reason: .success))
        #expect(await server.until { sent.last == "R4" })
        server.send(.pubcomp(packetIdentifier: 4, reason: .success))
        #expect(await server.end(of: task) != nil)
    }

    @Test func `a session that is lost publishes anew what the server had not taken over`() async {
        server.acknowledges = false
        let task = server.run(options) { client in
            try await client.pipelined { pipeline in
                for number in 0..<3 { try await pipeline.publish("\(number)", to: "a", qos: .exactlyOnce) }
            }
        }
        #expect(await server.until { server.published.count == 3 })
        server.send(.pubrec(packetIdentifier: 1, reason: .success))
        #expect(await server.until { sent.last == "R1" })
        server.acknowledges = true
        await cutAndReturn(sessionPresent: false)
        #expect(await server.end(of: task) != nil)
        let again = newest.compactMap { if case .publish(let publish) = $0 { publish } else { nil } }
        #expect(again.map { String(decoding: $0.payload, as: UTF8.self) } == ["1", "2"])
        #expect(again.allSatisfy { !$0.duplicate })
    }

    @Test(arguments: ["PUBLISH", "PUBREC", "PUBREL", "PUBCOMP"])
    func `a QoS 2 message is published once wherever the connection breaks`(_ lost: String) async {
        server.acknowledges = false
        let task = server.run(options) { client in try await client.publish("x", to: "a", qos: .exactlyOnce) }
        #expect(await server.until { server.published.count == 1 })
        if lost == "PUBREL" || lost == "PUBCOMP" {
            server.send(.pubrec(packetIdentifier: 1, reason: .success))
            #expect(await server.until { sent.last == "R1" })
        }
        server.acknowledges = true
        await cutAndReturn(sessionPresent: true)
        #expect(await server.end(of: task) != nil)
        #expect(sent == (lost == "PUBREL" || lost == "PUBCOMP" ? ["R1"] : ["D1", "R1"]))
    }

    /// Publishes a QoS 2 message to the client with the connection cut after `step` packets of the exchange; the server goes on as its session says.
    @Test(arguments: 0..<4, [true, false])
    func `an arriving QoS 2 message comes once wherever the connection breaks`(_ step: Int, _ takesEarly: Bool) async {
        let gate = Gate()
        var texts: [String] = []
        let task = server.run(options) { client in
            try await client.subscribe(to: "a", qos: .exactlyOnce) { messages in
                if !takesEarly { await gate.pass() }
                for try await message in messages {
                    texts.append(message.text)
                    if message.text == "end" { return }
                }
            }
        }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        let received = { self.newest.contains { if case .pubrec = $0 { true } else { false } } }
        server.publish("once", to: "a", qos: 2, identifier: 7)
        if step == 0 { server.cut() } else { await server.settle() }  // step 1: PUBREC is lost
        var isReleased = false
        if step > 1 {
            gate.open()
            #expect(await server.until(received))
            server.send(.pubrel(packetIdentifier: 7, reason: .success))  // step 2: PUBREL is lost, 3: PUBCOMP
            isReleased = true
            if step == 3 { await server.settle() }
        }
        await cutAndReturn(sessionPresent: true)
        if isReleased {
            server.send(.pubrel(packetIdentifier: 7, reason: .success))
        } else {
            server.publish("once", to: "a", qos: 2, identifier: 7, duplicate: true)
            gate.open()
            #expect(await server.until(received))
            server.send(.pubrel(packetIdentifier: 7, reason: .success))
        }
        #expect(await server.until { newest.contains { if case .pubcomp = $0 { true } else { false } } })
        server.publish("once", to: "a", qos: 2, identifier: 7)  // the identifier is free again: another message
        server.publish("end", to: "a")
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(texts == ["once", "once", "end"])
    }

    @Test func `a QoS 1 message that nobody has taken yet is not doubled by a resumed session`() async {
        let gate = Gate()
        var texts: [String] = []
        let task = server.run(options) { client in
            try await client.subscribe(to: "a", qos: .atLeastOnce) { messages in
                await gate.pass()
                for try await message in messages {
                    texts.append(message.text)
                    if message.text == "3" { return }
                }
            }
        }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        server.publish("1", to: "a", qos: 1, identifier: 1)
        server.publish("2", to: "a", qos: 1, identifier: 2)
        await server.settle()
        await cutAndReturn(sessionPresent: true)
        server.publish("1", to: "a", qos: 1, identifier: 1, duplicate: true)
        server.publish("2", to: "a", qos: 1, identifier: 2, duplicate: true)
        server.publish("3", to: "a", qos: 1, identifier: 3)
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(texts == ["1", "2", "3"])
        #expect(await server.until { server.hasDisconnect })
        #expect(server.acknowledged == [1, 2, 3])
    }

    @Test(arguments: [true, false]) func `a subscription goes on over a reconnect`(_ sessionPresent: Bool) async {
        var texts: [String] = []
        let task = server.run(options) { client in
            try await client.subscribe(to: ["a", "$share/g/b/+"], MQTTSubscribing(qos: .atLeastOnce, retainAsPublished: true, retained: .ifNew)) { messages in
                for try await message in messages {
                    texts.append(message.text)
                    if texts.count == 2 { return }
                }
            }
        }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        server.publish("1", to: "a")
        await server.settle()
        await cutAndReturn(sessionPresent: sessionPresent)
        let asked = newest.compactMap { if case .subscribe(_, _, let subscriptions) = $0 { subscriptions } else { nil } }
        let both = ["a", "$share/g/b/+"].map {
            MQTTSubscription(filter: Array($0.utf8), options: MQTTSubscriptionOptions(qos: 1, retainAsPublished: true, retainHandling: 1))
        }
        #expect(asked == (sessionPresent ? [] : [both]))
        server.publish("2", to: "b/x")
        #expect(await server.end(of: task) != nil)
        #expect(texts == ["1", "2"])
    }

    @Test func `a subscription that is refused when it is made again ends with the reason`() async {
        server.acknowledges = true
        let task = server.run(options) { client in
            try await client.subscribe(to: "a") { messages in for try await _ in messages {} }
        }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        server.acknowledges = false
        await cutAndReturn(sessionPresent: false)
        guard case .subscribe(let identifier, _, _)? = newest.last else {
            Issue.record("no SUBSCRIBE")
            return
        }
        server.send(.suback(packetIdentifier: identifier, reasons: [.notAuthorized]))
        guard case .rejected(.subscribe("a"), .notAuthorized)? = failure(await server.end(of: task)) else {
            Issue.record("expected a refusal")
            return
        }
    }

    @Test func `what is published without a connection waits for one, up to a limit`() async {
        var options = options
        options.limits.offlineCountMax = 3
        var refused = 0
        var done = 0
        let gate = Gate()
        let task = server.run(options) { client in
            await gate.pass()
            let tasks = (0..<5).map { number in
                Task {
                    do throws(MQTTClientError) {
                        try await client.publish("\(number)", to: "a", qos: number == 0 ? .atMostOnce : .exactlyOnce)
                        done += 1
                    } catch {
                        if case .offlineQueueFull(_, count: 3) = error { refused += 1 }
                    }
                }
            }
            for task in tasks { await task.value }
        }
        #expect(await isOpen(1))
        await server.settle()
        server.isReachable = false
        server.cut()
        await server.settle()
        gate.open()
        #expect(await server.until { refused == 2 })
        #expect(done == 0)
        server.isReachable = true
        await server.advance(by: .seconds(2))
        #expect(await server.end(of: task) != nil)
        #expect((done, refused) == (3, 2))
    }

    @Test(arguments: [MQTTReason.notAuthorized, .badUserNameOrPassword, .unsupportedProtocolVersion, .banned])
    func `a refusal that trying again cannot cure ends it`(_ reason: MQTTReason) async {
        let task = server.run(options) { client in try await client.subscribe(to: "a") { messages in for try await _ in messages {} } }
        #expect(await server.until { server.hasSubscription })
        await server.settle()
        server.connack = MQTTConnack(reason: reason)
        server.cut()
        await server.settle()
        await server.advance(by: .seconds(2))
        guard case .refused(_, reason, _)? = failure(await server.end(of: task)) else {
            Issue.record("expected a refusal")
            return
        }
        await server.advance(by: .seconds(60))
        #expect(server.dialCount == 2)
    }

    @Test func `a session that was taken over is not fought for`() async {
        let task = server.run(options) { client in await client.untilLost() }
        #expect(await isOpen(1))
        await server.settle()
        server.send(.disconnect(reason: .sessionTakenOver, text: ""))
        guard case .success(.connectionLost(_, .disconnected(.sessionTakenOver, _)))? = await server.end(of: task) else {
            Issue.record("expected the loss of the connection")
            return
        }
    }

    @Test func `a connection that its own predecessor takes over is made again`() async {
        let gate = Gate()
        let task = server.run(options) { _ in await gate.pass() }
        #expect(await isOpen(1))
        await cutAndReturn(sessionPresent: true)
        server.send(.disconnect(reason: .sessionTakenOver, text: ""))
        await server.settle()
        await server.advance(by: .seconds(2))
        #expect(await isOpen(3))
        gate.open()
        guard case .success? = await server.end(of: task) else {
            Issue.record("expected the end of the scope")
            return
        }
    }

    @Test(arguments: [false, true]) func `the first connection fails at once, or is tried until it holds`(_ includesFirst: Bool) async {
        var options = options
        options.reconnect.includesFirst = includesFirst
        server.isReachable = false
        var isRun = false
        let task = server.run(options) { _ in isRun = true }
        #expect(await server.until { server.dialCount == 1 })
        await server.settle()
        server.isReachable = true
        await server.advance(by: .seconds(2))
        let result = await server.end(of: task)
        #expect(isRun == includesFirst)
        #expect((failure(result) == nil) == includesFirst)
        #expect(server.dialCount == (includesFirst ? 2 : 1))
    }

    @Test func `CONNECT keeps the session over a loss, and DISCONNECT gives it back`() async {
        let gate = Gate()
        let task = server.run(options) { _ in await gate.pass() }
        #expect(await isOpen(1))
        await cutAndReturn(sessionPresent: true)
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(await server.until { server.hasDisconnect })
        let connects = server.events.compactMap { if case .connect(let connect) = $0 { connect } else { nil } }
        #expect(connects.map(\.cleanStart) == [true, false])
        #expect(connects.map(\.sessionExpiry) == [300, 300])
        #expect(server.events.contains { if case .disconnect(_, sessionExpiry: 0) = $0 { true } else { false } })
    }

    @Test func `leaving while there is no connection does not wait for one`() async {
        let gate = Gate()
        let task = server.run(options) { _ in await gate.pass() }
        #expect(await isOpen(1))
        await server.settle()
        server.isReachable = false
        server.cut()
        await server.settle()
        gate.open()
        guard case .success? = await server.end(of: task) else {
            Issue.record("expected the end")
            return
        }
    }

    @Test func `a server that takes connections and drops them is not hammered`() async {
        let gate = Gate()
        let task = server.run(options) { _ in await gate.pass() }
        #expect(await isOpen(1))
        for wait in [1, 2, 4, 8, 8] {
            await server.settle()
            let count = server.connections.count
            server.cut()
            await server.settle()
            await server.advance(by: .milliseconds(wait * 1_000 - 1))
            #expect(server.connections.count == count)
            await server.advance(by: .milliseconds(2))
            #expect(server.connections.count == count + 1)
        }
        gate.open()
        #expect(await server.end(of: task) != nil)
    }
}
