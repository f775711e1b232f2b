import MartletBytes
import MartletCore
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletShard
import MartletSimulation
import Testing

/// What a client was told holds after the power was lost in the next moment.
@Suite struct MQTTJournalAnswerTests {
    private func isPresent(_ client: PipeClient) -> Bool? {
        client.events.compactMap { if case .connack(let connack) = $0 { connack.sessionPresent } else { nil } }.first
    }

    /// Until it hears something like this, and no further.
    private func hears(_ place: RestartingBroker, _ client: PipeClient, _ isWanted: (MQTTClientEvent.Owned) -> Bool) -> Bool {
        for _ in 0..<4000 {
            if client.events.contains(where: isWanted) { return true }
            place.broker.advance(by: .microseconds(100))
            client.read()
        }
        return false
    }

    // MARK: PUBREC

    @Test("A QoS 2 message that was refused leaves no identifier behind, whatever stands before its answer", arguments: [1, 2, 4], [MQTTVersion.v5, .v3_1_1])
    func refused(shards: Int, version: MQTTVersion) {
        let place = RestartingBroker(shards: shards)
        let subscriber = place.connected("s", on: 1)
        subscriber.subscribe("t", qos: 2)
        place.rest()
        subscriber.drop()
        var publisher = place.connected("p", version: version)
        publisher.publish("a", to: "t", qos: 2, identifier: 1)
        for shard in place.broker.shards { shard.core.value.isJournalFull = true }
        publisher.publish("b", to: "t", qos: 2, identifier: 2)
        #expect(!publisher.events.contains { if case .pubrec = $0 { true } else { false } }, "the first waits for the disk, and the other for it")
        #expect(hears(place, publisher) { $0 == .pubrec(packetIdentifier: 1, reason: .success) })
        let refusals = publisher.take().filter { if case .pubrec(2, _) = $0 { true } else { false } }
        #expect(refusals == (version == .v5 ? [.pubrec(packetIdentifier: 2, reason: .quotaExceeded)] : []))
        place.broker.run()
        #expect(publisher.hasEnded == (version != .v5), "[MQTT-3.3.5-2] of 3.1.1: acknowledged, or the end of the connection")
        place.crash()
        publisher = place.connected("p", version: version)
        publisher.send(.pubrel(packetIdentifier: 1, reason: .success))
        publisher.send(.publish(MQTTPublish.Owned(topic: [0x74], payload: [0x63], packetIdentifier: 2, qos: 2, duplicate: version != .v5)))
        place.rest()
        #expect(publisher.take().contains(.pubrec(packetIdentifier: 2, reason: .success)))
        publisher.send(.pubrel(packetIdentifier: 2, reason: .success))
        place.rest()
        let again = place.connected("s", on: 1)
        place.rest()
        #expect(again.takeTexts() == ["a", "c"])
    }

    @Test("Before v5 what is refused ends the connection: nothing that was published after it is taken before it [MQTT-3.3.5-2]", arguments: [1, 2] as [UInt8])
    func refusalBeforeV5(qos: UInt8) {
        let place = RestartingBroker(shards: 1)
        let subscriber = place.connected("s", on: 1), publisher = place.connected("p", version: .v3_1_1)
        subscriber.subscribe("t", qos: 2)
        place.rest()
        for shard in place.broker.shards { shard.core.value.isJournalFull = true }
        publisher.send(.publish(MQTTPublish.Owned(topic: [0x74], payload: [0x61], packetIdentifier: 1, qos: qos)))
        for shard in place.broker.shards { shard.core.value.isJournalFull = false }
        publisher.send(.publish(MQTTPublish.Owned(topic: [0x74], payload: [0x62], packetIdentifier: 2, qos: qos)))
        place.rest()
        #expect(publisher.hasEnded)
        #expect(subscriber.takeTexts() == [])
        let again = place.connected("p", version: .v3_1_1)
        for (identifier, text) in [(1, 0x61), (2, 0x62)] as [(UInt16, UInt8)] {
            again.send(.publish(MQTTPublish.Owned(topic: [0x74], payload: [text], packetIdentifier: identifier, qos: qos, duplicate: true)))
        }
        place.rest()
        #expect(subscriber.takeTexts() == ["a", "b"])
    }

    // MARK: CONNACK

    @Test("A session that a clean start has ended does not come back once CONNACK was sent", arguments: [1, 2, 4], [0, 600] as [UInt32])
    func cleanStart(shards: Int, sessionExpiry: UInt32) {
        let place = RestartingBroker(shards: shards)
        var client = place.connected("meter", on: 1)
        client.subscribe("t", qos: 1)
        place.rest()
        client.drop()
        client = place.broker.client()
        client.connect("meter", cleanStart: true, sessionExpiry: sessionExpiry)
        #expect(isPresent(client) == nil, "it waits for the disk")
        #expect(hears(place, client) { if case .connack = $0 { true } else { false } })
        #expect(isPresent(client) == false)
        place.crash()
        place.connected("p", sessionExpiry: 0).publish("x", to: "t", qos: 1, identifier: 1)
        place.rest()
        client = place.connected("meter")
        place.rest()
        #expect(isPresent(client) == (sessionExpiry > 0))
        #expect(client.takeTexts() == [])
    }

    @Test("A connection that is lost before its CONNACK, and one that takes it over, do no harm", arguments: [1, 2]) func lostBefore(shards: Int) {
        let place = RestartingBroker(shards: shards)
        let first = place.broker.client(), second = place.broker.client(on: 1)
        for client in [first, second] { client.connect("meter", cleanStart: false, sessionExpiry: 600) }
        #expect(isPresent(first) == nil && isPresent(second) == nil)
        second.drop()
        place.rest()
        #expect(first.take() == [])
        let third = place.connected("meter", sessionExpiry: 600)
        #expect(isPresent(third) == true)
        third.subscribe("t", qos: 1)
        place.rest()
        third.publish("x", to: "t", qos: 1, identifier: 2)
        place.rest()
        #expect(third.takeTexts() == ["x"])
        #expect(place.broker.gateways.reduce(0) { $0 + $1.connectionCount } == 1)
    }

    // MARK: Shared subscriptions

    static let forms = MQTTJournalTests.forms

    @Test("What a group has given to one member exactly once is that member's over a crash, after any packet of the exchange", arguments: forms, [0, 1, 2])
    func shared(form: MQTTJournalTests.Form, packets: Int) throws {
        let place = RestartingBroker(shards: form.before)
        var (a, b) = (place.connected("a", on: 1), place.connected("b", on: 0))
        for (member, isStaying) in [(b, false), (a, true)] {
            member.subscribe("$share/g/jobs/#", qos: 2, identifier: 1)
            place.rest()
            if !isStaying { member.drop() }
        }
        _ = a.take()
        let publisher = place.connected("p", on: 2, sessionExpiry: 0)
        for number in 1...3 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "jobs/x", qos: 2, identifier: number) }
        place.rest()
        let given = a.takeMessages()
        #expect(given.map(\.qos) == [2, 2, 2])
        if packets >= 1 { a.send(.pubrec(packetIdentifier: given[0].packetIdentifier, reason: .success)) }
        place.rest()
        if packets >= 2 { a.send(.pubcomp(packetIdentifier: given[0].packetIdentifier, reason: .success)) }
        place.rest()
        place.crash(shards: form.after)
        b = place.connected("b", on: 2)
        place.rest()
        #expect(b.takeTexts() == [])
        a = place.connected("a", on: 3)
        place.rest()
        let again = a.takeMessages()
        #expect(again.map(\.payload) == given.map(\.payload).suffix(packets == 0 ? 3 : 2))
        #expect(again.map(\.packetIdentifier) == given.map(\.packetIdentifier).suffix(again.count))
        #expect(again.allSatisfy { $0.duplicate })
        for message in again { a.send(.pubrec(packetIdentifier: message.packetIdentifier, reason: .success)) }
        place.rest()
        for message in given { a.send(.pubcomp(packetIdentifier: message.packetIdentifier, reason: .success)) }
        place.rest()
        #expect(try place.contents().messages == 0)
        place.crash(shards: form.before)
        b = place.connected("b")
        place.rest()
        #expect(b.takeTexts() == [])
    }
}
