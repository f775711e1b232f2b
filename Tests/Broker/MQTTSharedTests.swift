import MartletBytes
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletSimulation
import Testing

/// Shared subscriptions through the whole broker: members on any shard, with and without a journal that is late.
@Suite struct MQTTSharedTests {
    typealias Form = MQTTGatewayTests.Form

    private func broker(_ form: Form) -> PipeBroker { PipeBroker(shards: form.shards, latency: form.latency) }

    private func publish(_ count: Int, _ broker: PipeBroker, qos: UInt8 = 1, from start: Int = 0) {
        let publisher = broker.connected("p", on: 1)
        for index in start..<start + count { publisher.publish("\(index)", to: "jobs/\(index % 3)", qos: qos, identifier: qos == 0 ? 0 : UInt16(index + 1)) }
        broker.advance(by: .milliseconds(20))
        publisher.drop()
    }

    @Test("[MQTT-4.8.2-3] Each message goes to one member, and to all groups and other subscribers", arguments: MQTTGatewayTests.forms, [0, 1, 2] as [UInt8])
    func sharing(form: Form, qos: UInt8) {
        let broker = broker(form)
        let members = (0..<3).map { broker.connected("m\($0)", on: $0, version: $0 == 2 ? .v3_1_1 : .v5) }
        for member in members { member.subscribe("$share/workers/jobs/+", qos: qos) }
        let other = broker.connected("o", on: 2), plain = broker.connected("q", on: 3)
        other.subscribe("$share/others/jobs/#", qos: qos)
        plain.subscribe("jobs/#", qos: qos)
        publish(30, broker, qos: qos)
        let parts = members.map { $0.takeTexts() }
        #expect(parts.flatMap { $0 }.compactMap { Int($0) }.sorted() == Array(0..<30))
        #expect(parts.allSatisfy { $0.count >= 5 })
        for part in parts { #expect(part.compactMap { Int($0) } == part.compactMap { Int($0) }.sorted()) }
        #expect(other.takeTexts().count == 30)
        #expect(plain.takeTexts().count == 30)
    }

    @Test("A member that leaves, in whatever way, loses nothing", arguments: MQTTGatewayTests.forms, ["drop", "unsubscribe", "end"])
    func leaving(form: Form, way: String) {
        let broker = broker(form)
        let leaver = broker.connected("a", on: 1, sessionExpiry: way == "drop" ? 600 : 0) { $0.receiveMaximum = 3 }
        let stayer = broker.connected("b", on: 0)
        for member in [leaver, stayer] { member.subscribe("$share/g/jobs/#", qos: 1) }
        publish(20, broker)
        // What it has and does not acknowledge.
        let held = leaver.takeMessages()
        #expect(held.count == 3)
        var seen = stayer.takeTexts().compactMap { Int($0) }
        switch way {
        case "unsubscribe":
            leaver.send(.unsubscribe(packetIdentifier: 9, filters: [Array("$share/g/jobs/#".utf8)]))
            // What was begun is completed by the one who has it.
            for message in held { leaver.puback(message.packetIdentifier) }
            seen += held.compactMap { Int(String(decoding: $0.payload, as: UTF8.self)) }
        case "end": leaver.disconnect()
        default: leaver.drop()
        }
        broker.advance(by: .milliseconds(20))
        seen += stayer.takeTexts().compactMap { Int($0) }
        #expect(seen.sorted() == Array(0..<20))
        publish(5, broker, from: 20)
        #expect(stayer.takeTexts().compactMap { Int($0) } == Array(20..<25))
    }

    @Test("[MQTT-4.8.2-5] What was given at QoS 2 stays with its session, and nobody else gets it", arguments: MQTTGatewayTests.forms)
    func onceStays(form: Form) {
        let broker = broker(form)
        var leaver = broker.connected("a", on: 1, cleanStart: false, sessionExpiry: 60) { $0.receiveMaximum = 2 }
        let stayer = broker.connected("b", on: 0)
        for member in [leaver, stayer] { member.subscribe("$share/g/jobs/#", qos: 2) }
        publish(10, broker, qos: 2)
        let held = leaver.takeMessages().map { String(decoding: $0.payload, as: UTF8.self) }
        #expect(held.count == 2)
        leaver.drop()
        broker.advance(by: .milliseconds(20))
        let others = stayer.takeTexts()
        #expect((others + held).compactMap { Int($0) }.sorted() == Array(0..<10))
        leaver = broker.connected("a", on: 0, cleanStart: false, sessionExpiry: 60)
        broker.advance(by: .milliseconds(20))
        let again = leaver.takeMessages()
        #expect(again.map { String(decoding: $0.payload, as: UTF8.self) } == held)
        #expect(again.allSatisfy { $0.duplicate })
        leaver.drop()
        broker.advance(by: .seconds(120))
        #expect(stayer.takeTexts() == [])
    }

    @Test("What a member was given at QoS 1 goes to another when it is gone, though it was published at QoS 2", arguments: MQTTGatewayTests.forms)
    func loweredGoesOn(form: Form) {
        let broker = broker(form)
        let leaver = broker.connected("a", on: 1, cleanStart: false, sessionExpiry: 60) { $0.receiveMaximum = 2 }
        let stayer = broker.connected("b", on: 0)
        for member in [leaver, stayer] { member.subscribe("$share/g/jobs/#", qos: 1) }
        publish(10, broker, qos: 2)
        #expect(leaver.takeMessages().count == 2)
        leaver.drop()
        broker.advance(by: .milliseconds(20))
        #expect(stayer.takeTexts().compactMap { Int($0) }.sorted() == Array(0..<10))
    }

    @Test("With all members away, messages wait for the first that comes back", arguments: MQTTGatewayTests.forms) func waiting(form: Form) {
        let broker = broker(form)
        for (index, name) in ["a", "b"].enumerated() {
            let member = broker.connected(name, on: index, cleanStart: false, sessionExpiry: 600)
            member.subscribe("$share/g/jobs/#", qos: 1)
            member.drop()
        }
        publish(6, broker)
        let member = broker.connected("b", on: 0, cleanStart: false, sessionExpiry: 600)
        broker.advance(by: .milliseconds(20))
        #expect(member.takeTexts().compactMap { Int($0) } == Array(0..<6))
    }

    @Test("The last member takes the group along; the next finds it new", arguments: MQTTGatewayTests.forms) func ending(form: Form) {
        let broker = broker(form)
        let first = broker.connected("a", on: 1)
        first.subscribe("$share/g/jobs/#", qos: 1)
        first.drop()
        broker.advance(by: .milliseconds(20))
        publish(3, broker)
        let second = broker.connected("b", on: 0)
        second.subscribe("$share/g/jobs/#", qos: 1)
        #expect(second.takeTexts() == [])
        publish(3, broker, from: 3)
        #expect(second.takeTexts().compactMap { Int($0) } == [3, 4, 5])
    }

    @Test("A member has its own QoS and subscription identifier", arguments: MQTTGatewayTests.forms) func ownOptions(form: Form) {
        let broker = broker(form)
        let member = broker.connected("a", on: 1)
        for (identifier, qos) in [(7, 1), (8, 0)] as [(UInt32, UInt8)] {
            let subscription = MQTTSubscription(filter: Array("$share/g/jobs/#".utf8), options: MQTTSubscriptionOptions(qos: qos))
            member.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: identifier, subscriptions: [subscription]))
            broker.advance(by: .milliseconds(20))
            publish(1, broker)
            let messages = member.takeMessages()
            #expect(messages.map(\.qos) == [qos])
            #expect(messages.map(\.properties) == [[0x0B, UInt8(identifier)]])
            for message in messages where message.qos > 0 { member.puback(message.packetIdentifier) }
        }
    }

    @Test("Under members that come and go at random every acknowledged message is given at least once", arguments: MQTTGatewayTests.forms, 1...3)
    func churn(form: Form, seed: Int) {
        let broker = broker(form)
        var random = SeededRandom(UInt64(seed))
        var members: [String: PipeClient] = [:], seen: Set<Int> = []
        func collect(_ name: String) {
            for message in members[name]?.takeMessages() ?? [] where message.qos == 1 {
                if let number = Int(String(decoding: message.payload, as: UTF8.self)) { seen.insert(number) }
                members[name]?.puback(message.packetIdentifier)
            }
        }
        // One always stays subscribed, so that the group lasts.
        let anchor = broker.connected("anchor", on: 1, cleanStart: false, sessionExpiry: 6000)
        anchor.subscribe("$share/g/jobs/#", qos: 1)
        anchor.drop()
        let publisher = broker.connected("p", on: 0)
        for number in 0..<200 {
            publisher.publish("\(number)", to: "jobs/x", qos: 1, identifier: UInt16(number + 1))
            let name = "m\(Int.random(in: 0..<4, using: &random))"
            switch Int.random(in: 0..<5, using: &random) {
            case 0:
                members[name]?.drop()
                members[name] = nil
            case 1:
                let member = broker.connected(name, on: Int.random(in: 0..<4, using: &random), cleanStart: Bool.random(using: &random), sessionExpiry: 60) {
                    $0.receiveMaximum = 4
                }
                // What comes with SUBACK is not to be passed over.
                let wanted = MQTTSubscription(filter: Array("$share/g/jobs/#".utf8), options: MQTTSubscriptionOptions(qos: 1))
                member.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: 0, subscriptions: [wanted]))
                members[name] = member
            case 2: members[name]?.send(.unsubscribe(packetIdentifier: 3, filters: [Array("$share/g/jobs/#".utf8)]))
            case 3: collect(name)
            default: broker.advance(by: .milliseconds(4))
            }
        }
        let last = broker.connected("anchor", on: 0, cleanStart: false, sessionExpiry: 6000)
        members["anchor"] = last
        for _ in 0..<60 where seen.count < 200 {
            broker.advance(by: .milliseconds(20))
            for name in members.keys { collect(name) }
        }
        #expect(seen.count == 200)
    }
}
