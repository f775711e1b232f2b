import MartletBytes
import MartletCore
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletShard
import MartletSimulation
import Testing

/// What MQTT promises to keep is there after the power was lost, on any number of shards.
@Suite struct MQTTJournalTests {
    struct Form: Sendable, CustomTestStringConvertible {
        var before: Int
        var after: Int
        var testDescription: String { "\(before) shards, then \(after)" }
    }
    static let forms = [Form(before: 1, after: 1), Form(before: 2, after: 2), Form(before: 4, after: 4), Form(before: 4, after: 1), Form(before: 1, after: 4)]

    private func isPresent(_ client: PipeClient) -> Bool {
        client.events.contains { if case .connack(let connack) = $0 { connack.sessionPresent } else { false } }
    }

    private func texts(_ events: [MQTTClientEvent.Owned]) -> [String] {
        events.compactMap { event in
            switch event {
            case .publish(let publish): String(decoding: publish.payload, as: UTF8.self) + (publish.duplicate ? "!" : "")
            case .pubrel(_, .success): "PUBREL"
            default: nil
            }
        }
    }

    @Test("A session is there with its subscriptions, its messages in order, and what was not acknowledged comes again", arguments: forms)
    func session(form: Form) {
        let place = RestartingBroker(shards: form.before)
        var client = place.connected("meter", on: 1)
        client.subscribe("t/+", qos: 1)
        client.subscribe("u", qos: 1, identifier: 2)
        place.rest()
        client.send(.unsubscribe(packetIdentifier: 3, filters: [Array("u".utf8)]))
        place.rest()
        #expect(client.take().contains(.unsuback(packetIdentifier: 3, reasons: [.success])))
        var publisher = place.connected("p", on: 2, sessionExpiry: 0)
        for number in 1...3 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "t/\(number)", qos: 1, identifier: number) }
        place.rest()
        #expect(publisher.takePubacks() == [1, 2, 3])
        let given = client.takeMessages()
        #expect(given.count == 3)
        client.puback(given[0].packetIdentifier)
        place.rest()
        client.drop()
        publisher.publish("4", to: "t/4", qos: 1, identifier: 4)
        place.rest()
        place.crash(shards: form.after)
        publisher = place.connected("p", on: 3, sessionExpiry: 0)
        publisher.publish("5", to: "t/5", qos: 1, identifier: 5)
        publisher.publish("nobody", to: "u", qos: 1, identifier: 6)
        place.rest()
        client = place.connected("meter", on: 2)
        #expect(isPresent(client))
        place.rest()
        #expect(texts(client.take()) == ["2!", "3!", "4!", "5"])
    }

    @Test("SUBACK waits for the disk; what was not answered may be lost, what was is not", arguments: [1, 2]) func subackWaits(shards: Int) {
        let place = RestartingBroker(shards: shards)
        let client = place.connected("meter", on: 1)
        place.rest()
        _ = client.take()
        let subscription = MQTTSubscription(filter: Array("t".utf8), options: MQTTSubscriptionOptions(qos: 1))
        client.send(.subscribe(packetIdentifier: 9, subscriptionIdentifier: 0, subscriptions: [subscription]))
        #expect(client.take().isEmpty)
        place.rest()
        #expect(client.take() == [.suback(packetIdentifier: 9, reasons: [.grantedQoS1])])
    }

    @Test("Options and identifiers of subscriptions survive", arguments: forms) func options(form: Form) {
        let place = RestartingBroker(shards: form.before)
        var client = place.connected("meter", on: 1)
        let options = MQTTSubscriptionOptions(qos: 1, noLocal: true, retainAsPublished: true)
        client.send(
            .subscribe(packetIdentifier: 1, subscriptionIdentifier: 77, subscriptions: [MQTTSubscription(filter: Array("t".utf8), options: options)]))
        place.rest()
        place.crash(shards: form.after)
        client = place.connected("meter", on: 3)
        client.publish("own", to: "t", qos: 1, identifier: 1)
        let publication = MQTTPublish.Owned(topic: Array("t".utf8), payload: Array("kept".utf8), packetIdentifier: 1, qos: 1, retain: true)
        place.connected("p", sessionExpiry: 0).send(.publish(publication))
        place.rest()
        let messages = client.takeMessages()
        #expect(messages.map { String(decoding: $0.payload, as: UTF8.self) } == ["kept"])
        #expect(messages.map(\.retain) == [true])
        #expect(messages.map(\.properties) == [[0x0B, 77]])
    }

    @Test("A shared subscription's members find their group and what waits in it", arguments: forms) func shared(form: Form) {
        let place = RestartingBroker(shards: form.before)
        for (index, name) in ["a", "b"].enumerated() {
            let member = place.connected(name, on: index)
            member.subscribe("$share/g/jobs/#", qos: 1)
            place.rest()
            member.drop()
        }
        let publisher = place.connected("p", on: 1, sessionExpiry: 0)
        for number in 1...6 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "jobs/x", qos: 1, identifier: number) }
        place.rest()
        #expect(publisher.takePubacks().count == 6)
        place.crash(shards: form.after)
        let member = place.connected("b", on: 1)
        place.rest()
        #expect(texts(member.take()) == (1...6).map { "\($0)" })
        let another = place.connected("p", sessionExpiry: 0)
        another.publish("7", to: "jobs/x", qos: 1, identifier: 1)
        place.rest()
        #expect(member.takeTexts() == ["7"])
    }

    // MARK: Exactly once

    @Test("[MQTT-4.3.3-10] A QoS 2 message whose PUBREC was sent is published once, whenever the power is lost", arguments: forms, [true, false])
    func receivedOnce(form: Form, isWanted: Bool) {
        let place = RestartingBroker(shards: form.before)
        let subscriber = place.connected("s", on: 1)
        if isWanted { subscriber.subscribe("t", qos: 2) }
        place.rest()
        subscriber.drop()
        var publisher = place.connected("p", on: 2)
        publisher.publish("once", to: "t", qos: 2, identifier: 5)
        #expect(!publisher.take().contains { if case .pubrec = $0 { true } else { false } }, "it waits for the disk")
        place.rest()
        let reason: MQTTReason = isWanted ? .success : .noMatchingSubscribers
        #expect(publisher.take().contains(.pubrec(packetIdentifier: 5, reason: reason)))
        place.crash(shards: form.after)
        publisher = place.connected("p", on: 0)
        publisher.send(.publish(MQTTPublish.Owned(topic: [0x74], payload: Array("once".utf8), packetIdentifier: 5, qos: 2, duplicate: true)))
        place.rest()
        #expect(publisher.take().contains(.pubrec(packetIdentifier: 5, reason: .success)))
        publisher.send(.pubrel(packetIdentifier: 5, reason: .success))
        #expect(publisher.take().isEmpty, "it waits for the disk")
        place.rest()
        #expect(publisher.take() == [.pubcomp(packetIdentifier: 5, reason: .success)])
        place.crash(shards: form.before)
        publisher = place.connected("p", on: 1)
        publisher.send(.pubrel(packetIdentifier: 5, reason: .success))
        place.rest()
        #expect(publisher.take().contains(.pubcomp(packetIdentifier: 5, reason: .packetIdentifierNotFound)))
        let again = place.connected("s", on: 1)
        place.rest()
        #expect(texts(again.take()) == (isWanted ? ["once"] : []))
    }

    @Test("A client that was given a QoS 2 message gets it once over a crash, after any packet of the exchange", arguments: forms, [0, 1, 2])
    func deliveredOnce(form: Form, packets: Int) {
        let place = RestartingBroker(shards: form.before)
        var client = place.connected("s", on: 1)
        client.subscribe("t", qos: 2)
        place.rest()
        let publisher = place.connected("p", sessionExpiry: 0)
        publisher.publish("a", to: "t", qos: 2, identifier: 1)
        publisher.publish("b", to: "t", qos: 2, identifier: 2)
        place.rest()
        let first = client.takeMessages(), identifier = first[0].packetIdentifier
        #expect(first.map(\.qos) == [2, 2])
        if packets >= 1 {
            client.send(.pubrec(packetIdentifier: identifier, reason: .success))
            #expect(client.take().isEmpty, "it waits for the disk")
            place.rest()
            #expect(client.take() == [.pubrel(packetIdentifier: identifier, reason: .success)])
        }
        if packets >= 2 { client.send(.pubcomp(packetIdentifier: identifier, reason: .success)) }
        place.rest()
        place.crash(shards: form.after)
        client = place.connected("s", on: 2)
        place.rest()
        let again = client.take()
        #expect(texts(again) == [["a!", "b!"], ["PUBREL", "b!"], ["b!"]][packets])
        let identifiers = again.compactMap { if case .publish(let publish) = $0 { publish.packetIdentifier } else { nil } }
        #expect(identifiers == Array(first.map(\.packetIdentifier).suffix(identifiers.count)))
        if packets == 1 { client.send(.pubcomp(packetIdentifier: identifier, reason: .success)) }
        place.rest()
        place.connected("p", sessionExpiry: 0).publish("c", to: "t", qos: 2, identifier: 3)
        place.rest()
        #expect(client.takeTexts() == ["c"])
    }

    @Test("A QoS 2 PUBLISH that left is never followed by another message under its identifier", arguments: 0..<12 as Range<UInt64>)
    func heldUntilDurable(seed: UInt64) {
        var random = SeededRandom(seed)
        let place = RestartingBroker(shards: 2, seed: seed)
        var client = place.connected("s", on: 1), publisher = place.connected("p")
        client.subscribe("t", qos: 2)
        place.rest()
        var mine: Set<UInt16> = [], got: [String] = [], sent: [UInt16: String] = [:], isReceived: Set<UInt16> = []
        func hear() {
            for event in client.take() {
                switch event {
                case .publish(let publish):
                    if mine.insert(publish.packetIdentifier).inserted { got.append(String(decoding: publish.payload, as: UTF8.self)) }
                    client.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success))
                case .pubrel(let identifier, _):
                    mine.remove(identifier)
                    client.send(.pubcomp(packetIdentifier: identifier, reason: .success))
                default: break
                }
            }
            for event in publisher.take() {
                switch event {
                case .pubrec(let identifier, _):
                    isReceived.insert(identifier)
                    publisher.send(.pubrel(packetIdentifier: identifier, reason: .success))
                case .pubcomp(let identifier, _): (sent[identifier], _) = (nil, isReceived.remove(identifier))
                default: break
                }
            }
        }
        func restart() {
            place.crash(shards: Int.random(in: 1...3, using: &random))
            (client, publisher) = (place.connected("s", on: 0), place.connected("p", on: 1))
            #expect(isPresent(client) && isPresent(publisher))
            for (identifier, text) in sent.sorted(by: { $0.key < $1.key }) {
                if isReceived.contains(identifier) {
                    publisher.send(.pubrel(packetIdentifier: identifier, reason: .success))
                } else {
                    publisher.send(
                        .publish(MQTTPublish.Owned(topic: [0x74], payload: Array(text.utf8), packetIdentifier: identifier, qos: 2, duplicate: true)))
                }
            }
        }
        for number in 1...30 as ClosedRange<UInt16> {
            sent[number] = "\(number)"
            publisher.publish("\(number)", to: "t", qos: 2, identifier: number)
            for _ in 0..<Int.random(in: 0...6, using: &random) {
                place.broker.advance(by: .milliseconds(Int.random(in: 1...8, using: &random)))
                hear()
            }
            if Int.random(in: 0..<5, using: &random) == 0 { restart() }
        }
        for _ in 0..<20 {
            place.rest()
            hear()
        }
        #expect(sent.isEmpty)
        #expect(got.sorted() == (1...30).map { "\($0)" }.sorted())
    }

    // MARK: Time

    @Test("A session's lifetime runs on while the server is down", arguments: forms) func lifetime(form: Form) {
        let place = RestartingBroker(shards: form.before)
        var client = place.connected("meter", on: 1, sessionExpiry: 60)
        place.rest()
        client.disconnect()
        place.pass(20)
        place.crash(.seconds(20), shards: form.after)
        place.pass(10)
        client = place.connected("meter", on: 2, sessionExpiry: 60)
        #expect(isPresent(client))
        place.rest()
        // Its connection ends with the server, and its time begins with the next.
        place.crash(.seconds(1000), shards: form.before)
        place.pass(30)
        place.crash(.seconds(20), shards: form.after)
        client = place.connected("meter", sessionExpiry: 60)
        #expect(isPresent(client))
        client.disconnect()
        place.rest()
        place.crash(.seconds(70), shards: form.before)
        place.rest()
        client = place.connected("meter", sessionExpiry: 60)
        #expect(!isPresent(client))
    }

    @Test("The lifetime that DISCONNECT says is the one that counts") func disconnectLifetime() {
        let place = RestartingBroker(shards: 2)
        let client = place.connected("meter", on: 1, sessionExpiry: 60)
        place.rest()
        client.send(.disconnect(reason: .success, sessionExpiry: 1000))
        place.rest()
        place.crash(.seconds(500))
        #expect(isPresent(place.connected("meter")))
    }

    @Test("A message that expires while the server is down is not delivered") func messageExpiry() {
        let place = RestartingBroker(shards: 2)
        let client = place.connected("meter", on: 1)
        client.subscribe("t", qos: 1)
        place.rest()
        client.drop()
        let publisher = place.connected("p", sessionExpiry: 0)
        publisher.publish("old", to: "t", qos: 1, identifier: 1, properties: [0x02, 0, 0, 0, 10])
        publisher.publish("lasting", to: "t", qos: 1, identifier: 2, properties: [0x02, 0, 0, 0, 100])
        place.rest()
        place.crash(.seconds(20))
        let again = place.connected("meter")
        place.rest()
        let messages = again.takeMessages()
        #expect(messages.map { String(decoding: $0.payload, as: UTF8.self) } == ["lasting"])
        #expect((78...80).contains(messages.first?.properties.last ?? 0), "the interval less the time it has waited [MQTT-3.3.2-6]")
    }

    @Test("A will is published once: after its delay, wherever the server was meanwhile", arguments: forms, [true, false])
    func will(form: Form, wasConnected: Bool) {
        let place = RestartingBroker(shards: form.before)
        var watcher = place.connected("w", on: 2)
        watcher.subscribe("gone", qos: 1)
        let client = place.connected("meter", on: 1) {
            $0.will = .init(topic: Array("gone".utf8), payload: Array("bye".utf8), qos: 1, delaySeconds: 30)
        }
        place.rest()
        if !wasConnected {
            client.drop()
            place.pass(10)
        }
        place.crash(.seconds(10), shards: form.after)
        watcher = place.connected("w", on: 1)
        place.pass(5)
        #expect(watcher.takeTexts() == [])
        place.pass(wasConnected ? 26 : 6)
        let messages = watcher.takeMessages()
        #expect(messages.map { String(decoding: $0.payload, as: UTF8.self) } == ["bye"])
        for message in messages { watcher.puback(message.packetIdentifier) }
        place.rest()
        place.crash(.seconds(100), shards: form.before)
        watcher = place.connected("w", on: 1)
        place.pass(100)
        #expect(watcher.takeTexts() == [])
    }

    @Test("A client that comes back in time is not said to be gone; one that says goodbye neither", arguments: [true, false]) func noWill(returns: Bool) {
        let place = RestartingBroker(shards: 2)
        let watcher = place.connected("w")
        watcher.subscribe("gone", qos: 1)
        var client = place.connected("meter", on: 1) {
            $0.will = .init(topic: Array("gone".utf8), payload: Array("bye".utf8), qos: 1, delaySeconds: 30)
        }
        place.rest()
        if !returns { client.disconnect() }
        place.rest()
        place.crash()
        if returns { client = place.connected("meter") }
        place.rest()
        place.crash()
        let again = place.connected("w")
        place.pass(100)
        #expect(again.takeTexts() == [])
    }

    // MARK: What is left

    @Test("When every session is gone, so is everything that was written down for it", arguments: forms) func nothingLeft(form: Form) throws {
        let place = RestartingBroker(shards: form.before)
        for index in 0..<4 {
            let client = place.connected("c\(index)", on: index, sessionExpiry: 60) {
                $0.will = .init(topic: Array("gone".utf8), payload: Array("bye".utf8), qos: 1, delaySeconds: 20)
            }
            client.subscribe("t", qos: 2)
            client.subscribe("$share/g/t", qos: 2, identifier: 2)
            client.publish("x", to: "t", qos: 2, identifier: 7)
            place.rest()
            for message in client.takeMessages().prefix(2) { client.send(.pubrec(packetIdentifier: message.packetIdentifier, reason: .success)) }
            place.rest()
        }
        #expect(try place.contents().definitions.count > 16)
        place.crash(.seconds(10), shards: form.after)
        place.connected("c0", cleanStart: true, sessionExpiry: 0).disconnect()
        place.connected("c1", sessionExpiry: 30).disconnect()
        for _ in 0..<4 { place.pass(40) }
        let contents = try place.contents()
        #expect(contents.definitions == [])
        #expect(contents.messages == 0)
        for shard in place.broker.shards {
            let used = shard.core.value.tableCounts.filter { $0.count != 0 && $0.name != "removedHubs" }.map { "\($0.name) \($0.count)" }
            #expect(used == [])
        }
    }

    @Test("A session that was written down twice is the later one, with what is its", arguments: [1, 2, 4]) func writtenTwice(shards: Int) throws {
        let place = RestartingBroker(shards: shards)
        let client = place.connected("meter", on: 1)
        client.subscribe("t", qos: 1)
        place.rest()
        client.drop()
        place.rest()
        let definitions = try place.contents().definitions
        let session = try #require(definitions.first { $0[1] == 1 && $0[0] == 0 })
        // The same identifier, another queue.
        let later = Array(session[2..<6]) + [0, 0, 0, 0, 0, 0, 3, 0xE8] + Array(session[14...])
        place.broker.shards[0].perform { core, effects in _ = core.define(GatewayID(0), 1, later.span, into: &effects) }
        place.rest()
        place.crash()
        place.connected("p", sessionExpiry: 0).publish("nobody's", to: "t", qos: 1, identifier: 1)
        place.rest()
        let again = place.connected("meter")
        #expect(isPresent(again))
        place.rest()
        #expect(again.takeTexts() == [])
        let left = try place.contents().definitions
        #expect(left.count == 1)
        #expect(left.first.map { Array($0[6..<14]) } == [0, 0, 0, 0, 0, 0, 3, 0xE8])
    }

    @Test("What ends with its connection is not written down", arguments: [1, 2]) func transient(shards: Int) {
        let place = RestartingBroker(shards: shards)
        let client = place.connected("a", on: 1, cleanStart: true, sessionExpiry: 0) { $0.will = .init(topic: [0x77], payload: [1], qos: 2) }
        let publisher = place.connected("p", cleanStart: true, sessionExpiry: 0)
        client.subscribe("t", qos: 2)
        client.subscribe("$share/g/t", qos: 1, identifier: 2)
        for qos in 0...2 as ClosedRange<UInt8> { publisher.publish("\(qos)", to: "t", qos: qos, identifier: qos == 0 ? 0 : UInt16(qos)) }
        #expect(publisher.take().contains(.pubrec(packetIdentifier: 2, reason: .success)))
        client.drop()
        place.rest()
        #expect(place.broker.shards.map { $0.core.value.lastTicket } == Array(repeating: 0, count: shards))
    }
}
