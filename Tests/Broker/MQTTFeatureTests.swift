import MartletBytes
import MartletCollections
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletSimulation
import Testing

/// Wills with a delay, expiry, topic aliases, subscription identifiers, AUTH, slow subscribers: through the whole broker.
@Suite struct MQTTFeatureTests {
    typealias Form = MQTTGatewayTests.Form

    private func broker(_ form: Form, _ change: (inout MQTTGatewayOptions) -> Void = { _ in }) -> PipeBroker {
        PipeBroker(shards: form.shards, latency: form.latency, change)
    }

    private func text(_ message: MQTTPublish.Owned) -> String { String(decoding: message.payload, as: UTF8.self) }

    // MARK: Wills

    private func client(_ broker: PipeBroker, delay: UInt32, sessionExpiry: UInt32 = 600, cleanStart: Bool = true) -> PipeClient {
        broker.connected("c", cleanStart: cleanStart, sessionExpiry: sessionExpiry) {
            $0.will = .init(topic: Array("gone".utf8), payload: Array("bye".utf8), qos: 1, delaySeconds: delay)
        }
    }

    @Test("[MQTT-3.1.3-9] A will waits for its delay, and is not published if the client comes back", arguments: MQTTGatewayTests.forms)
    func willDelay(form: Form) {
        let broker = broker(form)
        let watcher = broker.connected("w", on: 1)
        watcher.subscribe("gone", qos: 1)
        client(broker, delay: 5).drop()
        broker.advance(by: .seconds(4))
        #expect(watcher.takeTexts() == [])
        let back = client(broker, delay: 5, cleanStart: false)
        broker.advance(by: .seconds(4))
        #expect(watcher.takeTexts() == [])
        back.drop()
        broker.advance(by: .seconds(6))
        #expect(watcher.takeTexts() == ["bye"])
    }

    @Test("A will's delay ends with its session: by expiry, or by a clean start", arguments: [true, false]) func willEndsWithSession(expires: Bool) {
        let broker = PipeBroker(shards: 2)
        let watcher = broker.connected("w", on: 1)
        watcher.subscribe("gone", qos: 1)
        client(broker, delay: 100, sessionExpiry: 10).drop()
        broker.advance(by: .seconds(8))
        #expect(watcher.takeTexts() == [])
        if expires { broker.advance(by: .seconds(4)) } else { _ = broker.connected("c", cleanStart: true) }
        #expect(watcher.takeTexts() == ["bye"])
    }

    // MARK: Expiry

    @Test("[MQTT-3.3.2-5] An expired message is not delivered; [MQTT-3.3.2-6] what waited says how long it has left", arguments: MQTTGatewayTests.forms)
    func expiry(form: Form) {
        let broker = broker(form)
        var client = broker.connected("s", on: 1, cleanStart: false, sessionExpiry: 600)
        client.subscribe("t", qos: 1)
        client.drop()
        let publisher = broker.connected("p")
        let user: [UInt8] = [0x26, 0, 1, 0x6B, 0, 1, 0x76]
        publisher.publish("short", to: "t", qos: 1, identifier: 1, properties: [2, 0, 0, 0, 5])
        publisher.publish("long", to: "t", qos: 1, identifier: 2, properties: user + [2, 0, 0, 1, 44])
        publisher.publish("ever", to: "t", qos: 1, identifier: 3)
        broker.advance(by: .seconds(10))
        client = broker.connected("s", on: 0, cleanStart: false, sessionExpiry: 600)
        let messages = client.takeMessages()
        #expect(messages.map(text) == ["long", "ever"])
        #expect(messages.first?.properties == user + [2, 0, 0, 1, 34])
    }

    // MARK: Topic aliases

    @Test("A client's topic alias stands for its topic, and is not passed on", arguments: MQTTGatewayTests.forms) func theirAliases(form: Form) {
        let broker = broker(form) { $0.limits.topicAliasMax = 10 }
        let client = broker.connected("s", on: 1)
        client.subscribe("#", qos: 1)
        let publisher = broker.connected("p")
        let user: [UInt8] = [0x26, 0, 1, 0x6B, 0, 1, 0x76]
        publisher.publish("1", to: "a/b", qos: 1, identifier: 1, properties: [0x23, 0, 3] + user)
        publisher.publish("2", to: "", qos: 1, identifier: 2, properties: [0x23, 0, 3])
        publisher.publish("3", to: "c", qos: 1, identifier: 3, properties: [0x23, 0, 3])
        publisher.publish("4", to: "", properties: [0x23, 0, 3])
        broker.advance(by: .milliseconds(20))
        let messages = client.takeMessages()
        #expect(messages.map { "\(String(decoding: $0.topic, as: UTF8.self)):\(text($0))" } == ["a/b:1", "a/b:2", "c:3", "c:4"])
        #expect(messages.first { text($0) == "1" }?.properties == user)
        #expect(messages.first { text($0) == "2" }?.properties == [])
    }

    @Test("An alias that was not set ends the connection with 0x94") func unknownAlias() {
        let broker = PipeBroker { $0.limits.topicAliasMax = 10 }
        let publisher = broker.connected("p")
        publisher.publish("x", to: "", properties: [0x23, 0, 3])
        #expect(publisher.take().contains { if case .disconnect(.topicAliasInvalid, _, _) = $0 { true } else { false } })
    }

    @Test("A client that takes topic aliases is sent them, no more than it takes") func ourAliases() {
        let broker = PipeBroker(shards: 2)
        let client = broker.connected("s", on: 1) { $0.topicAliasMax = 2 }
        client.subscribe("#")
        let publisher = broker.connected("p")
        for topic in ["a", "b", "c", "a", "c", "b"] { publisher.publish("x", to: topic) }
        let seen = client.takeMessages().map { "\(String(decoding: $0.topic, as: UTF8.self))\($0.properties)" }
        #expect(seen == ["a[35, 0, 1]", "b[35, 0, 2]", "c[]", "[35, 0, 1]", "c[]", "[35, 0, 2]"])
    }

    // MARK: Subscription identifiers

    @Test("[MQTT-3.3.4-3] A message names every subscription it matches, and is sent once", arguments: MQTTGatewayTests.forms) func identifiers(form: Form) {
        let broker = broker(form)
        let client = broker.connected("s", on: 1), other = broker.connected("o", on: 2)
        for (filter, identifier) in [("a/#", 5), ("a/b", 300), ("+/b", 0)] as [(String, UInt32)] {
            let subscription = MQTTSubscription(filter: Array(filter.utf8), options: MQTTSubscriptionOptions(qos: 1))
            client.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: identifier, subscriptions: [subscription]))
        }
        _ = client.take()
        other.subscribe("a/#", qos: 1)
        broker.connected("p").publish("x", to: "a/b", qos: 1, identifier: 1)
        let messages = client.takeMessages()
        #expect(messages.count == 1)
        #expect(messages.first?.properties == [0x0B, 5, 0x0B, 0xAC, 2] || messages.first?.properties == [0x0B, 0xAC, 2, 0x0B, 5])
        #expect(other.takeMessages().map(\.properties) == [[]])
    }

    @Test("[MQTT-3.3.1-12] RETAIN is passed on to those who want it as published alone", arguments: MQTTGatewayTests.forms) func retainAsPublished(form: Form) {
        let broker = broker(form)
        let client = broker.connected("s", on: 1), plain = broker.connected("q", on: 2)
        let wanted = MQTTSubscription(filter: [0x74], options: MQTTSubscriptionOptions(qos: 1, retainAsPublished: true))
        client.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: 0, subscriptions: [wanted]))
        plain.subscribe("t", qos: 1)
        let publisher = broker.connected("p")
        for retain in [true, false] { publisher.send(.publish(MQTTPublish.Owned(topic: [0x74], payload: [1], packetIdentifier: 1, qos: 1, retain: retain))) }
        #expect(client.takeMessages().map(\.retain) == [true, false])
        #expect(plain.takeMessages().map(\.retain) == [false, false])
    }

    // MARK: Refusals

    @Test("A denied filter is refused with 0x87, before v5 with 0x80; $SYS is the server's own") func denied() {
        let broker = PipeBroker { $0.deniedFilters = [Array("secret/#".utf8)] }
        for version in [MQTTVersion.v5, .v3_1_1] {
            let client = broker.connected("c", version: version)
            let refusal: MQTTReason = version == .v5 ? .notAuthorized : .unspecifiedError
            let wanted = ["secret/#", "$share/g/secret/#", "open"].map { MQTTSubscription(filter: Array($0.utf8), options: MQTTSubscriptionOptions(qos: 1)) }
            client.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: 0, subscriptions: wanted))
            #expect(client.take().contains(.suback(packetIdentifier: 1, reasons: [refusal, refusal, .grantedQoS1])))
            let watcher = broker.connected("w")
            watcher.subscribe("$SYS/#", qos: 1)
            client.publish("mine", to: "$SYS/broker/version", qos: 1, identifier: 2)
            #expect(client.take() == [.puback(packetIdentifier: 2, reason: version == .v5 ? .notAuthorized : .success)])
            #expect(watcher.takeTexts() == [])
        }
    }

    @Test("A subscriber that acknowledges nothing is sent away with 0x97 when its queue is full, and its session stays") func slowSubscriber() {
        let broker = PipeBroker { $0.queueMessagesMax = 10 }
        let client = broker.connected("s", cleanStart: false, sessionExpiry: 600)
        client.subscribe("t", qos: 1)
        let publisher = broker.connected("p") { $0.receiveMaximum = 100 }
        for identifier in 1...12 as ClosedRange<UInt16> {
            publisher.publish("\(identifier)", to: "t", qos: 1, identifier: identifier)
            broker.advance(by: .milliseconds(100))
        }
        #expect(publisher.takePubacks().count == 12)
        #expect(client.take().contains { if case .disconnect(.quotaExceeded, _, _) = $0 { true } else { false } })
        #expect(client.hasEnded)
        #expect(broker.gateways[0].counters.disconnectedSlow == 1)
        let back = broker.connected("s", cleanStart: false, sessionExpiry: 600)
        #expect(back.takeTexts() == (1...10).map(String.init))
    }

    // MARK: AUTH

    /// Two challenges; the answer to each is its bytes backwards.
    final class Backwards: MQTTAuthenticationExchange {
        private var left: [[UInt8]] = [[1, 2, 3], [4, 5]]
        private var expected: [UInt8]?
        func answer(_ data: [UInt8]?) -> MQTTAuthenticationStep {
            if let expected, data != expected { return .refusal }
            guard !left.isEmpty else { return .success([99]) }
            let challenge = left.removeFirst()
            expected = challenge.reversed()
            return .challenge(challenge)
        }
    }

    private func authenticate(_ broker: PipeBroker, on loop: Int = 0, answers: [[UInt8]]) -> (PipeClient, [MQTTClientEvent.Owned]) {
        let client = broker.connected("c", on: loop, cleanStart: false, sessionExpiry: 60) { $0.authenticationMethod = Array("backwards".utf8) }
        var events = client.take()
        for answer in answers {
            client.send(.auth(MQTTAuth.Owned(reason: .continueAuthentication, method: Array("backwards".utf8), data: answer)))
            events += client.take()
        }
        // CONNACK may wait for the disk.
        broker.advance(by: .milliseconds(10))
        return (client, events + client.take())
    }

    @Test("[MQTT-4.12.0-5] Challenges go back and forth until CONNACK, also when the session lives on another shard", arguments: MQTTGatewayTests.forms)
    func authentication(form: Form) {
        let broker = broker(form) { $0.authentication["backwards"] = { Backwards() } }
        for loop in 0..<3 {
            let (client, events) = authenticate(broker, on: loop, answers: [[3, 2, 1], [5, 4]])
            guard events.count == 3, case .connack(let connack) = events[2] else { Issue.record("\(events)"); return }
            #expect(connack.reason == .success)
            #expect(connack.authenticationData == [99])
            // Again, on the open connection.
            client.send(.auth(MQTTAuth.Owned(reason: .reAuthenticate, method: Array("backwards".utf8))))
            for answer in [[3, 2, 1], [5, 4]] as [[UInt8]] {
                client.send(.auth(MQTTAuth.Owned(reason: .continueAuthentication, method: Array("backwards".utf8), data: answer)))
            }
            #expect(client.take().last == .auth(MQTTAuth.Owned(reason: .success, method: Array("backwards".utf8), data: [99])))
        }
    }

    @Test("A wrong answer is refused with 0x87, an unknown method with 0x8C") func refusedAuthentication() {
        let broker = PipeBroker { $0.authentication["backwards"] = { Backwards() } }
        let (client, events) = authenticate(broker, answers: [[3, 2, 1], [0]])
        guard case .connack(let connack)? = events.last else { Issue.record("\(events)"); return }
        #expect(connack.reason == .notAuthorized)
        #expect(client.hasEnded)
        let (open, _) = authenticate(broker, answers: [[3, 2, 1], [5, 4]])
        open.send(.auth(MQTTAuth.Owned(reason: .reAuthenticate, method: Array("backwards".utf8))))
        open.send(.auth(MQTTAuth.Owned(reason: .continueAuthentication, method: Array("backwards".utf8), data: [0])))
        #expect(open.take().last == .disconnect(reason: .notAuthorized, text: ""))
        let unknown = broker.connected("c") { $0.authenticationMethod = Array("unknown".utf8) }
        guard case .connack(let answer)? = unknown.take().first else { Issue.record("no CONNACK"); return }
        #expect(answer.reason == .badAuthenticationMethod)
        let none = PipeBroker().connected("c") { $0.authenticationMethod = Array("backwards".utf8) }
        guard case .connack(let third)? = none.take().first else { Issue.record("no CONNACK"); return }
        #expect(third.reason == .badAuthenticationMethod)
    }
}
