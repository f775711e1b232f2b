import MartletBytes
import MartletMQTTProtocol
import Testing

@testable import MartletMQTT

/// What MQTT 5 adds to messages, connections and subscriptions. In memory.
@MainActor @Suite(.timeLimit(.minutes(10))) struct MQTTFeatureTests {
    private let server = ScriptedServer()

    private func failure<Result>(_ result: Swift.Result<Result, any Error>?) -> MQTTClientError? {
        if case .failure(let error)? = result { error as? MQTTClientError } else { nil }
    }

    private var all: MQTTProperties {
        var properties = MQTTProperties()
        properties.isText = true
        properties.messageExpiry = .seconds(90)
        properties.contentType = "text/plain"
        properties.responseTopic = "answers/1"
        properties.correlationData = [1, 0, 255]
        properties.userProperties = [MQTTUserProperty("b", "1"), MQTTUserProperty("a", "2"), MQTTUserProperty("b", "3")]
        return properties
    }

    @Test func `all properties go out and come in, user properties in order`() async throws {
        let properties = all
        var arrived: MQTTMessage?
        let task = server.run { client in
            try await client.publish("x", to: "a", properties: properties)
            arrived = try await client.subscribe(to: "b") { messages in
                var iterator = messages.makeAsyncIterator()
                return try await iterator.next()
            }
        }
        #expect(await server.until { server.hasSubscription })
        let sent = try #require(server.published.first)
        server.publish("y", to: "b", properties: sent.properties + [0x0B, 1])
        #expect(await server.end(of: task) != nil)
        #expect(arrived == MQTTMessage(topic: "b", payload: Array("y".utf8), properties: properties))
        #expect(arrived?.subscriptionIdentifiers == [1])
        #expect(arrived?.properties["b"] == "1")
    }

    @Test func `before v5 properties are left out`() async {
        var options = MQTTClientOptions()
        options.version = .v3_1_1
        let properties = all
        let task = server.run(options) { client in try await client.publish("x", to: "a", qos: .exactlyOnce, properties: properties) }
        #expect(await server.end(of: task) != nil)
        #expect(server.published.map(\.properties) == [[]])
    }

    @Test func `a property that is too long is refused before anything is sent`() async {
        var properties = MQTTProperties()
        properties.correlationData = [UInt8](repeating: 0, count: 65_536)
        let task = server.run { [properties] client in try await client.publish("x", to: "a", properties: properties) }
        guard case .misuse(.publish("a"), .fieldTooLong)? = failure(await server.end(of: task)) else {
            Issue.record("accepted")
            return
        }
    }

    @Test func `a will goes with its delay and properties`() async throws {
        var options = MQTTClientOptions()
        options.will = MQTTWillMessage(topic: "gone", payload: [7], qos: .exactlyOnce, retain: true, delay: .seconds(5), properties: all)
        options.userProperties = [MQTTUserProperty("who", "me")]
        #expect(await server.end(of: server.run(options) { _ in }) != nil)
        guard case .connect(let connect)? = server.events.first else {
            Issue.record("no CONNECT")
            return
        }
        let will = try #require(connect.will)
        #expect((will.topic, will.payload, will.qos, will.retain, will.delaySeconds) == (Array("gone".utf8), [7], 2, true, 5))
        #expect(try will.properties == all.encoded())
        #expect(try connect.userProperties == MQTTProperties.encoded(options.userProperties))
    }

    @Test func `topics get aliases as far as both sides allow, in each connection anew`() async {
        var options = MQTTClientOptions()
        options.publishAliasMax = 2
        options.reconnect.jitter = 0
        server.connack?.topicAliasMax = 10
        let gate = Gate()
        let task = server.run(options) { client in
            for topic in ["a", "b", "c", "a", "b", "c"] { try await client.publish("x", to: topic, qos: .atLeastOnce) }
            await gate.pass()
            try await client.publish("x", to: "b", qos: .atLeastOnce)
        }
        #expect(await server.until { server.published.count == 6 })
        #expect(server.published.map { String(decoding: $0.topic, as: UTF8.self) } == ["a", "b", "c", "", "", "c"])
        #expect(server.published.map { $0.properties.last ?? 0 } == [1, 2, 0, 1, 2, 0])
        await server.settle()
        server.cut()
        await server.settle()
        await server.advance(by: .seconds(1))
        gate.open()
        #expect(await server.end(of: task) != nil)
        #expect(server.published.last?.topic == Array("b".utf8))
        #expect(server.published.last?.properties.last == 1)
    }

    @Test func `a server's aliases are resolved, and one it never set ends the connection`() async {
        var options = MQTTClientOptions()
        options.reconnect = .never
        var topics: [String] = []
        let task = server.run(options) { client in
            try await client.subscribe(to: "#") { messages in for try await message in messages { topics.append(message.topic) } }
        }
        #expect(await server.until { server.hasSubscription })
        server.publish("x", to: "long/topic", properties: [0x23, 0, 3])
        server.publish("x", to: "", properties: [0x23, 0, 3])
        server.publish("x", to: "", properties: [0x23, 0, 4])
        guard case .connectionLost(_, .violation(.topicAliasInvalid))? = failure(await server.end(of: task)) else {
            Issue.record("expected the end")
            return
        }
        #expect(topics == ["long/topic", "long/topic"])
        #expect(server.events.contains { if case .disconnect(.topicAliasInvalid, _) = $0 { true } else { false } })
    }

    @Test func `a request gets the answer with its correlation data, whatever comes before`() async throws {
        server.connack?.responseAddress = "replies/7"
        let task = server.run { client in
            async let first = client.request("1", to: "work")
            async let second = client.request("2", to: "work")
            return try await [first.text, second.text]
        }
        #expect(await server.until { server.published.count == 2 })
        let requests = server.published
        #expect(server.events.count { if case .subscribe = $0 { true } else { false } } == 1)
        func property(_ publish: MQTTPublish.Owned) -> MQTTProperties {
            MQTTProperties(ByteRange(0, publish.properties.count), in: publish.properties.span)
        }
        let topic = try #require(property(requests[0]).responseTopic)
        #expect(topic.hasPrefix("replies/7/"))
        server.publish("stray", to: topic)
        for request in requests.reversed() {
            var answer = MQTTProperties()
            answer.correlationData = property(request).correlationData
            server.publish("re " + String(decoding: request.payload, as: UTF8.self), to: topic, properties: try answer.encoded())
        }
        guard case .success(let texts)? = await server.end(of: task) else {
            Issue.record("no answer")
            return
        }
        #expect(texts == ["re 1", "re 2"])
    }

    @Test func `a request that nobody answers says so`() async {
        let task = server.run { client in try await client.request("1", to: "work", timeout: .milliseconds(50)) }
        var isEnded = false
        Task {
            _ = await task.result
            isEnded = true
        }
        while !isEnded {
            _ = await server.until { isEnded }
        }
        guard case .noResponse("work", _)? = failure(await task.result.mapError { $0 }) else {
            Issue.record("expected no response")
            return
        }
    }

    /// Says each byte one higher.
    private struct Increment: MQTTAuthenticator {
        struct Wrong: Error {}
        var method: String { "increment" }
        func initialData() async throws -> [UInt8]? { [1] }
        func answer(to challenge: [UInt8]) async throws -> [UInt8]? {
            if challenge.isEmpty { throw Wrong() }
            return challenge.map { $0 + 1 }
        }
        func finished(with data: [UInt8]?) throws { if data != [9] { throw Wrong() } }
    }

    private func authenticating() -> MQTTClientOptions {
        var options = MQTTClientOptions()
        options.authenticator = Increment()
        return options
    }

    @Test func `an authentication goes step by step and checks the server in the end`() async {
        server.connack = nil
        let task = server.run(authenticating()) { _ in "in" }
        #expect(await server.until { !server.events.isEmpty })
        guard case .connect(let connect)? = server.events.first else {
            Issue.record("no CONNECT")
            return
        }
        #expect((connect.authenticationMethod, connect.authenticationData) == (Array("increment".utf8), [1]))
        for step in [3, 5] as [UInt8] {
            server.send(.auth(MQTTAuth.Owned(reason: .continueAuthentication, method: Array("increment".utf8), data: [step])))
            #expect(await server.until { if case .auth(let auth)? = server.events.last { auth.data == [step + 1] } else { false } })
        }
        var connack = MQTTConnack()
        connack.authenticationMethod = Array("increment".utf8)
        connack.authenticationData = [9]
        server.send(.connack(connack))
        guard case .success("in")? = await server.end(of: task) else {
            Issue.record("not let in")
            return
        }
    }

    @Test(arguments: [true, false]) func `an authenticator that throws ends it, whether at a challenge or at the server's proof`(_ atChallenge: Bool) async {
        server.connack = nil
        let task = server.run(authenticating()) { _ in }
        #expect(await server.until { !server.events.isEmpty })
        if atChallenge {
            server.send(.auth(MQTTAuth.Owned(reason: .continueAuthentication, method: Array("increment".utf8), data: [])))
        } else {
            var connack = MQTTConnack()
            connack.authenticationMethod = Array("increment".utf8)
            connack.authenticationData = [8]
            server.send(.connack(connack))
        }
        guard case .authenticationFailed("increment", _)? = failure(await server.end(of: task)) else {
            Issue.record("expected a failure")
            return
        }
        #expect(server.dialCount == 1)
    }

    @Test func `an identifier that the server assigned is the client's`() async {
        server.connack?.assignedClientID = Array("given".utf8)
        guard case .success("given")? = await server.end(of: server.run { client in client.clientID }) else {
            Issue.record("another identifier")
            return
        }
    }

    @Test func `packet identifiers are unique until all are taken`() {
        var identifiers = MQTTIdentifiers()
        var seen: Set<UInt16> = []
        while let identifier = identifiers.take() { seen.insert(identifier) }
        #expect(seen.count == 65_535)
        #expect(!seen.contains(0))
        identifiers.giveBack(77)
        #expect(identifiers.take() == 77)
        #expect(identifiers.take() == nil)
    }
}
