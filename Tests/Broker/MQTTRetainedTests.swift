import MartletBytes
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletSimulation
import Testing

/// Retained messages through the whole broker.
@Suite struct MQTTRetainedTests {
    typealias Form = MQTTGatewayTests.Form

    private func broker(_ form: Form) -> PipeBroker { PipeBroker(shards: form.shards, latency: form.latency) }

    private func retain(_ text: String, _ topic: String, by client: PipeClient, qos: UInt8 = 1, properties: [UInt8] = []) {
        client.send(
            .publish(
                MQTTPublish.Owned(
                    topic: Array(topic.utf8), properties: properties, payload: Array(text.utf8), packetIdentifier: qos == 0 ? 0 : 1, qos: qos, retain: true)))
    }

    /// What SUBSCRIBE brought, sorted: topic, text, QoS, and `r` for RETAIN.
    private func subscribe(_ client: PipeClient, _ filter: String, _ options: MQTTSubscriptionOptions, identifier: UInt32 = 0) -> [String] {
        let wanted = MQTTSubscription(filter: Array(filter.utf8), options: options)
        client.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: identifier, subscriptions: [wanted]))
        client.broker.advance(by: .milliseconds(20))
        return client.takeMessages().map {
            if $0.qos > 0 { client.puback($0.packetIdentifier) }
            return "\(String(decoding: $0.topic, as: UTF8.self)) \(String(decoding: $0.payload, as: UTF8.self)) \($0.qos)\($0.retain ? "r" : "")"
        }.sorted()
    }

    @Test("[MQTT-3.3.1-9] SUBSCRIBE brings what matches, with RETAIN and at the lower QoS; the last one counts", arguments: MQTTGatewayTests.forms)
    func subscribing(form: Form) {
        let broker = broker(form)
        let publisher = broker.connected("p")
        retain("old", "a/1", by: publisher)
        retain("one", "a/1", by: publisher)
        retain("two", "a/2", by: publisher, qos: 0)
        retain("other", "b", by: publisher)
        retain("sys", "$x/1", by: publisher)
        broker.advance(by: .milliseconds(20))
        let client = broker.connected("s", on: 1, sessionExpiry: 60), old = broker.connected("o", on: 2, version: .v3_1_1)
        #expect(subscribe(client, "a/+", MQTTSubscriptionOptions(qos: 2)) == ["a/1 one 1r", "a/2 two 0r"])
        #expect(subscribe(client, "#", MQTTSubscriptionOptions(qos: 0)) == ["a/1 one 0r", "a/2 two 0r", "b other 0r"])
        #expect(subscribe(old, "a/#", MQTTSubscriptionOptions(qos: 1)) == ["a/1 one 1r", "a/2 two 0r"])
        #expect(subscribe(old, "$x/#", MQTTSubscriptionOptions(qos: 1)) == ["$x/1 sys 1r"])
        #expect(subscribe(client, "$share/g/a/#", MQTTSubscriptionOptions(qos: 1)) == [])
    }

    @Test("[MQTT-3.3.1-6] An empty payload removes what is retained, and is passed on itself", arguments: MQTTGatewayTests.forms) func removing(form: Form) {
        let broker = broker(form)
        let publisher = broker.connected("p"), watcher = broker.connected("w", on: 1)
        watcher.subscribe("a", qos: 1)
        retain("x", "a", by: publisher)
        retain("", "a", by: publisher)
        broker.advance(by: .milliseconds(20))
        #expect(watcher.takeTexts() == ["x", ""])
        #expect(subscribe(broker.connected("s", on: 2), "a", MQTTSubscriptionOptions(qos: 1)) == [])
    }

    @Test("[MQTT-3.3.1-10], [MQTT-3.3.1-11] Retain handling: only if new, and never") func retainHandling() {
        let broker = PipeBroker(shards: 2)
        retain("x", "a", by: broker.connected("p"))
        let client = broker.connected("s", on: 1)
        #expect(subscribe(client, "a", MQTTSubscriptionOptions(qos: 1, retainHandling: 2)) == [])
        #expect(subscribe(client, "a", MQTTSubscriptionOptions(qos: 1, retainHandling: 1)) == [])
        #expect(subscribe(client, "a", MQTTSubscriptionOptions(qos: 1, retainHandling: 0)) == ["a x 1r"])
        #expect(subscribe(client, "+", MQTTSubscriptionOptions(qos: 1, retainHandling: 1)) == ["a x 1r"])
    }

    @Test("[MQTT-3.8.3-3] With no local, what the client retained itself is not sent to it", arguments: [1, 2]) func noLocal(shards: Int) {
        let broker = PipeBroker(shards: shards)
        let client = broker.connected("c", on: 1)
        retain("mine", "a/mine", by: client)
        retain("theirs", "a/theirs", by: broker.connected("p"))
        _ = client.take()
        #expect(subscribe(client, "a/#", MQTTSubscriptionOptions(qos: 1, noLocal: true)) == ["a/theirs theirs 1r"])
    }

    @Test("A retained message carries its properties, its subscription identifier and what is left of its expiry; expired it is gone") func properties() {
        let broker = PipeBroker(shards: 2)
        let user: [UInt8] = [0x26, 0, 1, 0x6B, 0, 1, 0x76]
        retain("x", "a", by: broker.connected("p"), properties: user + [2, 0, 0, 0, 60])
        broker.advance(by: .seconds(20))
        let client = broker.connected("s", on: 1)
        client.send(
            .subscribe(
                packetIdentifier: 1, subscriptionIdentifier: 9, subscriptions: [MQTTSubscription(filter: [0x61], options: MQTTSubscriptionOptions(qos: 1))]))
        #expect(client.takeMessages().map(\.properties) == [[0x0B, 9] + user + [2, 0, 0, 0, 40]])
        broker.advance(by: .seconds(41))
        #expect(subscribe(broker.connected("t", on: 1), "a", MQTTSubscriptionOptions(qos: 1)) == [])
    }

    @Test("A will is retained if it says so", arguments: MQTTGatewayTests.forms) func retainedWill(form: Form) {
        let broker = broker(form)
        broker.connected("c") { $0.will = .init(topic: [0x61], payload: Array("bye".utf8), qos: 1, retain: true) }.drop()
        broker.advance(by: .milliseconds(20))
        #expect(subscribe(broker.connected("s", on: 1), "a", MQTTSubscriptionOptions(qos: 1)) == ["a bye 1r"])
    }

    @Test("Thousands of retained messages come to a slow subscriber without loss, and nobody else waits for them") func many() {
        let broker = PipeBroker(shards: 2) { $0.outputBytesMax = 4096 }
        let publisher = broker.connected("p")
        for number in 0..<3000 { retain("\(number)", "many/\(number)", by: publisher, qos: 0) }
        let slow = broker.connected("s", on: 1), quick = broker.connected("q", on: 1)
        slow.reads = false
        for qos in [0, 1] as [UInt8] {
            slow.send(
                .subscribe(
                    packetIdentifier: 1, subscriptionIdentifier: 0,
                    subscriptions: [MQTTSubscription(filter: Array("many/\(qos == 0 ? "#" : "+")".utf8), options: MQTTSubscriptionOptions(qos: qos))]))
        }
        #expect(subscribe(quick, "many/17", MQTTSubscriptionOptions(qos: 0)) == ["many/17 17 0r"])
        slow.reads = true
        var seen: [String] = []
        for _ in 0..<400 where seen.count < 6000 { seen += slow.takeTexts() }
        #expect(seen.count == 6000)
        #expect(Set(seen).count == 3000)
    }
}
