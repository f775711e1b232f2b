import MartletBytes
import MartletCollections
import MartletCore
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletPipe
import MartletShard
import MartletSimulation
import Testing

/// What a client could do to hurt the broker or other clients, through the whole broker.
@Suite struct MQTTAttackTests {
    private func text(_ message: MQTTPublish.Owned) -> String { String(decoding: message.payload, as: UTF8.self) }

    @Test("A connection that never says CONNECT is no client, and counted as none") func silentSocket() {
        let broker = PipeBroker(shards: 2) { $0.systemTopicsInterval = .seconds(10) }
        let silent = [broker.client(on: 0), broker.client(on: 1)]
        broker.run()
        let watcher = broker.connected("w")
        watcher.subscribe("$SYS/broker/clients/connected")
        for client in silent { #expect(!client.hasEnded) }
        broker.advance(by: .seconds(20))
        #expect(watcher.takeTexts() == ["1"])
    }

    @Test("The server's own topics are not a client's to publish, not even by its will", arguments: [MQTTVersion.v5, .v3_1_1])
    func reservedWill(version: MQTTVersion) {
        let broker = PipeBroker()
        let watcher = broker.connected("w")
        watcher.subscribe("$SYS/#")
        let client = broker.connected("c", version: version) { $0.will = .init(topic: Array("$SYS/broker/version".utf8), payload: [1], retain: true) }
        client.drop()
        #expect(watcher.takeTexts() == [])
        #expect(broker.router.retainedCount == 0)
    }

    // MARK: QoS 2 and packet identifiers

    private func sendWindow(_ client: PipeClient) -> [UInt16] { client.takeMessages().map(\.packetIdentifier) }

    @Test("What a client has received and not completed counts against its window on the next connection, too", arguments: MQTTGatewayTests.forms)
    func uncompleted(form: MQTTGatewayTests.Form) {
        let broker = PipeBroker(shards: form.shards, latency: form.latency)
        var client = broker.connected("c", on: 1, sessionExpiry: 600) { $0.receiveMaximum = 5 }
        client.subscribe("t", qos: 2)
        let publisher = broker.connected("p")
        for number in 1...15 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "t", qos: 2, identifier: number) }
        broker.advance(by: .milliseconds(20))
        let first = sendWindow(client)
        #expect(first.count == 5)
        for identifier in first { client.send(.pubrec(packetIdentifier: identifier, reason: .success)) }
        client.drop()
        client = broker.connected("c", on: 0, cleanStart: false, sessionExpiry: 600) { $0.receiveMaximum = 5 }
        broker.advance(by: .milliseconds(20))
        let events = client.take()
        #expect(events.filter { if case .pubrel = $0 { true } else { false } }.count == 5)
        #expect(events.filter { if case .publish = $0 { true } else { false } }.count == 0)
        for identifier in first { client.send(.pubcomp(packetIdentifier: identifier, reason: .success)) }
        broker.advance(by: .milliseconds(20))
        #expect(client.takeTexts() == ["6", "7", "8", "9", "10"])
    }

    @Test("An acknowledgement that comes before its message is given again changes nothing") func earlyAcknowledgement() {
        let broker = PipeBroker()
        var client = broker.connected("c", sessionExpiry: 600)
        client.subscribe("t", qos: 1)
        let publisher = broker.connected("p")
        for number in 1...3 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "t", qos: 1, identifier: number) }
        let identifiers = client.takeMessages().map(\.packetIdentifier)
        client.drop()
        client = broker.connected("c", cleanStart: false, sessionExpiry: 600) { $0.receiveMaximum = 1 }
        #expect(client.takeTexts() == ["1"])
        // The second was not sent again yet: puback and pubrec of what an earlier connection gave.
        broker.network.write([0x40, 2, 0, UInt8(identifiers[1])], to: client.descriptor)
        broker.network.write([0x50, 2, 0, UInt8(identifiers[2])], to: client.descriptor)
        broker.run()
        for number in 4...6 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "t", qos: 1, identifier: number) }
        var texts: [String] = []
        client.puback(identifiers[0])
        for _ in 0..<8 {
            for message in client.takeMessages() {
                texts.append(text(message))
                client.puback(message.packetIdentifier)
            }
        }
        #expect(texts == ["2", "3", "4", "5", "6"])
    }

    // MARK: Sizes

    @Test("[MQTT-3.1.2-24] A topic alias does not make a packet larger than the client takes", arguments: 1..<40) func aliasedSize(spare: Int) {
        let broker = PipeBroker()
        let client = broker.connected("c") {
            $0.topicAliasMax = 5
            $0.packetSizeMax = 60
        }
        client.subscribe("topic", qos: 0)
        broker.connected("p").publish(String(repeating: "x", count: 20 + spare), to: "topic")
        // Its machine ends the connection over a packet that is too large. Fixed header 2, topic 2 + 5, properties 1.
        #expect(client.takeTexts().count == (20 + spare + 10 <= 60 ? 1 : 0))
    }

    // MARK: What outlives what

    @Test("A subscription identifier is right though the subscriptions change while a will is under way") func willsAtOnce() {
        let broker = PipeBroker()
        let watcher = broker.connected("w")
        for (filter, identifier) in [("first", 7), ("second", 9), ("second/+", 11)] as [(String, UInt32)] {
            let subscription = MQTTSubscription(filter: Array(filter.utf8), options: MQTTSubscriptionOptions(qos: 0))
            watcher.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: identifier, subscriptions: [subscription]))
        }
        _ = watcher.take()
        let clients = ["first", "second"].map { name in
            let client = broker.connected(name, sessionExpiry: 10) {
                $0.will = .init(topic: Array(name.utf8), payload: Array(name.utf8), delaySeconds: 10)
            }
            client.subscribe("first")
            return client
        }
        for client in clients { broker.network.end(client.descriptor) }
        broker.run()
        broker.network.advance(by: .seconds(11))
        broker.run()
        let identifiers = watcher.takeMessages().map { [String(decoding: $0.topic, as: UTF8.self): $0.properties] }
        #expect(identifiers == [["first": [0x0B, 7]], ["second": [0x0B, 9]]])
    }

    @Test("Who takes the place of a client that was too slow is not sent away for it") func overflowedPlace() {
        let broker = PipeBroker { $0.queueMessagesMax = 2 }
        let publisher = broker.connected("p")
        let slow = broker.connected("s") { $0.receiveMaximum = 1 }
        slow.subscribe("t", qos: 1)
        let other = broker.client()
        let publication: [UInt8] = [0x32, 7, 0, 1, 0x74, 0, 1, 0, 0x78]
        broker.network.write((0..<6).flatMap { _ in publication }, to: publisher.descriptor)
        broker.network.end(slow.descriptor)
        other.connect("o")
        #expect(slow.hasEnded)
        #expect(!other.hasEnded)
        #expect(other.take().count == 1)
    }

    @Test("A group whose members take at most once keeps nothing for them", arguments: [true, false]) func lossyGroup(isLocal: Bool) {
        let broker = PipeBroker(shards: 2)
        let first = broker.connected("a", on: 0), second = broker.connected("b", on: isLocal ? 0 : 1), publisher = broker.connected("p", on: 0)
        for member in [first, second] { member.subscribe("$share/g/t", qos: 0) }
        first.drop()
        for _ in 0..<100 { publisher.publish("x", to: "t", qos: 1, identifier: 1) }
        #expect(second.takeTexts().count == 100)
        #expect(broker.shards.map { $0.core.value.storedCount } == [0, 0])
    }

    @Test("Routes of long topics are not kept") func longTopics() {
        let broker = PipeBroker()
        let subscriber = broker.connected("s"), publisher = broker.connected("p")
        let subscription = MQTTSubscription(filter: Array("#".utf8), options: MQTTSubscriptionOptions(qos: 1))
        subscriber.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: 300, subscriptions: [subscription]))
        _ = subscriber.take()
        let topic = String(repeating: "long", count: 1000)
        for number in 0..<5 {
            publisher.send(.publish(MQTTPublish.Owned(topic: Array("\(number)\(topic)".utf8), payload: [], packetIdentifier: 1, qos: 1, retain: number == 4)))
        }
        #expect(subscriber.takeMessages().map(\.properties) == Array(repeating: [0x0B, 0xAC, 0x02], count: 5))
        #expect(broker.shards[0].core.value.cachedRoutes == 0)
    }
}
