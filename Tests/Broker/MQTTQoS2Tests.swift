import MartletBytes
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletSimulation
import Testing

/// Exactly once, through the whole broker: every packet of the exchange may be the last before the connection breaks.
@Suite struct MQTTQoS2Tests {
    typealias Form = MQTTGatewayTests.Form

    private func broker(_ form: Form) -> PipeBroker { PipeBroker(shards: form.shards, latency: form.latency) }

    @Test("[MQTT-4.3.3-10] A QoS 2 message that is sent again before its PUBREL is published once", arguments: MQTTGatewayTests.forms)
    func receivedOnce(form: Form) {
        let broker = broker(form)
        let subscriber = broker.connected("s", on: 1)
        subscriber.subscribe("t", qos: 2)
        var publisher = broker.connected("p", cleanStart: false, sessionExpiry: 600)
        publisher.publish("once", to: "t", qos: 2, identifier: 5)
        publisher.drop()
        publisher = broker.connected("p", cleanStart: false, sessionExpiry: 600)
        publisher.send(.publish(MQTTPublish.Owned(topic: [0x74], payload: Array("once".utf8), packetIdentifier: 5, qos: 2, duplicate: true)))
        broker.advance(by: .milliseconds(20))
        #expect(publisher.take().contains(.pubrec(packetIdentifier: 5, reason: .success)))
        publisher.send(.pubrel(packetIdentifier: 5, reason: .success))
        broker.advance(by: .milliseconds(20))
        #expect(publisher.take() == [.pubcomp(packetIdentifier: 5, reason: .success)])
        publisher.send(.pubrel(packetIdentifier: 5, reason: .success))
        broker.advance(by: .milliseconds(20))
        #expect(publisher.take() == [.pubcomp(packetIdentifier: 5, reason: .packetIdentifierNotFound)])
        #expect(subscriber.takeTexts() == ["once"])
        // Released, the identifier stands for the next message.
        publisher.publish("next", to: "t", qos: 2, identifier: 5)
        broker.advance(by: .milliseconds(20))
        #expect(subscriber.takeTexts() == ["next"])
    }

    @Test("PUBREC waits for the disk", arguments: [1, 2]) func pubrecWaits(shards: Int) {
        let broker = PipeBroker(shards: shards, latency: .milliseconds(5))
        let subscriber = broker.connected("s", on: 1, sessionExpiry: 600)
        subscriber.subscribe("t", qos: 2)
        let publisher = broker.connected("p")
        publisher.publish("x", to: "t", qos: 2, identifier: 1)
        #expect(publisher.take().contains(.pubrec(packetIdentifier: 1, reason: .success)) == false)
        broker.advance(by: .milliseconds(20))
        #expect(publisher.take() == [.pubrec(packetIdentifier: 1, reason: .success)])
    }

    @Test("A session that comes back after any packet of the exchange gets the message once", arguments: MQTTGatewayTests.forms, [0, 1, 2])
    func deliveredOnce(form: Form, packets: Int) {
        let broker = broker(form)
        var client = broker.connected("s", on: 1, cleanStart: false, sessionExpiry: 600)
        client.subscribe("t", qos: 2)
        let publisher = broker.connected("p")
        publisher.publish("a", to: "t", qos: 2, identifier: 1)
        publisher.publish("b", to: "t", qos: 2, identifier: 2)
        broker.advance(by: .milliseconds(20))
        let first = client.takeMessages()
        #expect(first.map(\.qos) == [2, 2])
        let identifier = first[0].packetIdentifier
        if packets >= 1 { client.send(.pubrec(packetIdentifier: identifier, reason: .success)) }
        broker.advance(by: .milliseconds(20))
        if packets >= 1 { #expect(client.take() == [.pubrel(packetIdentifier: identifier, reason: .success)]) }
        if packets >= 2 { client.send(.pubcomp(packetIdentifier: identifier, reason: .success)) }
        client.drop()
        client = broker.connected("s", on: 0, cleanStart: false, sessionExpiry: 600)
        broker.advance(by: .milliseconds(20))
        let again = client.take()
        let expected: [String]
        switch packets {
        case 0: expected = ["a!", "b!"]
        case 1: expected = ["PUBREL", "b!"]
        default: expected = ["b!"]
        }
        let seen = again.compactMap { event -> String? in
            switch event {
            case .publish(let publish): String(decoding: publish.payload, as: UTF8.self) + (publish.duplicate ? "!" : "")
            case .pubrel(identifier, .success): "PUBREL"
            default: nil
            }
        }
        #expect(seen == expected)
        if packets < 2 { client.send(.pubcomp(packetIdentifier: identifier, reason: .success)) }
        publisher.publish("c", to: "t", qos: 2, identifier: 3)
        broker.advance(by: .milliseconds(20))
        #expect(client.takeTexts() == ["c"])
    }

    @Test("[MQTT-4.3.3-9] A PUBREC that refuses ends the exchange; one for nothing is answered so") func refusedPubrec() {
        let broker = PipeBroker()
        let client = broker.connected("s") { $0.receiveMaximum = 1 }
        client.subscribe("t", qos: 2)
        let publisher = broker.connected("p")
        for identifier in 1...2 as ClosedRange<UInt16> { publisher.publish("\(identifier)", to: "t", qos: 2, identifier: identifier) }
        let first = client.takeMessages()
        #expect(first.count == 1)
        client.send(.pubrec(packetIdentifier: first[0].packetIdentifier, reason: .unspecifiedError))
        #expect(client.takeTexts() == ["2"])
        client.send(.pubrec(packetIdentifier: 777, reason: .success))
        #expect(client.take() == [.pubrel(packetIdentifier: 777, reason: .packetIdentifierNotFound)])
    }

    @Test("The lower of the message's and the subscription's QoS is delivered", arguments: [0, 1, 2] as [UInt8], [0, 1, 2] as [UInt8])
    func lowerQoS(published: UInt8, wanted: UInt8) {
        let broker = PipeBroker(shards: 2)
        let client = broker.connected("s", on: 1)
        client.subscribe("t", qos: wanted)
        broker.connected("p").publish("x", to: "t", qos: published, identifier: published == 0 ? 0 : 1)
        #expect(client.takeMessages().map(\.qos) == [min(published, wanted)])
    }

    @Test("MQTT 3.1 and 3.1.1 clients speak QoS 2 too", arguments: [MQTTVersion.v3_1, .v3_1_1]) func oldVersions(version: MQTTVersion) {
        let broker = PipeBroker()
        let client = broker.connected("s", version: version)
        client.subscribe("t", qos: 2)
        client.publish("x", to: "t", qos: 2, identifier: 9)
        let events = client.take()
        #expect(events.contains(.pubrec(packetIdentifier: 9, reason: .success)))
        let given = events.compactMap { if case .publish(let publish) = $0 { publish } else { nil } }
        #expect(given.map(\.qos) == [2])
        client.send(.pubrel(packetIdentifier: 9, reason: .success))
        client.send(.pubrec(packetIdentifier: given[0].packetIdentifier, reason: .success))
        #expect(client.take() == [.pubcomp(packetIdentifier: 9, reason: .success), .pubrel(packetIdentifier: given[0].packetIdentifier, reason: .success)])
    }
}
