import MartletBytes
import MartletCore
import MartletEventLoop
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletPipe
import MartletShard
import MartletSimulation
import Testing

/// MQTT through the whole broker, in memory and on a virtual clock: with 1, 2 and 4 shards, with and without a journal that is late.
@Suite struct MQTTGatewayTests {
    struct Form: Sendable, CustomTestStringConvertible {
        var shards: Int
        var latency: Duration?
        var testDescription: String { "\(shards) shards, \(latency.map { "journal \($0) late" } ?? "no journal")" }
    }
    static let forms = [1, 2, 4].flatMap { [Form(shards: $0), Form(shards: $0, latency: .milliseconds(5))] }

    private func broker(_ form: Form, _ change: (inout MQTTGatewayOptions) -> Void = { _ in }) -> PipeBroker {
        PipeBroker(shards: form.shards, latency: form.latency, change)
    }

    @Test("A message reaches every matching subscriber once, at the lower QoS, across shards and versions", arguments: forms) func publishing(form: Form) {
        let broker = broker(form)
        let filters = [("a/b", 0), ("a/+", 1), ("#", 1), ("a/#", 0), ("x", 1)] as [(String, UInt8)]
        let subscribers = filters.enumerated().map { index, filter in
            let client = broker.connected("s\(index)", on: index, version: index % 2 == 0 ? .v5 : .v3_1_1)
            client.subscribe(filter.0, qos: filter.1)
            return client
        }
        let publisher = broker.connected("p", on: 1)
        publisher.publish("zero", to: "a/b")
        publisher.publish("one", to: "a/b", qos: 1, identifier: 7)
        #expect(publisher.takePubacks() == [7])
        for (index, client) in subscribers.enumerated() {
            let messages = client.takeMessages()
            #expect(messages.map { String(decoding: $0.payload, as: UTF8.self) } == (index == 4 ? [] : ["zero", "one"]))
            #expect(messages.map(\.qos) == (index == 4 ? [] : [0, min(1, filters[index].1)]))
        }
    }

    @Test("Overlapping filters of one client give it a message once, at the highest QoS", arguments: forms) func overlapping(form: Form) {
        let broker = broker(form)
        let client = broker.connected("s", on: 1)
        client.subscribe("a/#", qos: 0)
        client.subscribe("a/+", qos: 1)
        broker.connected("p").publish("x", to: "a/b", qos: 1, identifier: 1)
        #expect(client.takeMessages().map(\.qos) == [1])
    }

    @Test("v5 properties pass from v5 to v5 untouched, and not to v3.1.1", arguments: forms) func properties(form: Form) {
        let broker = broker(form)
        let new = broker.connected("new", on: 1), old = broker.connected("old", on: 2, version: .v3_1_1)
        for client in [new, old] { client.subscribe("t", qos: 1) }
        let properties: [UInt8] = [0x26, 0, 1, 0x6B, 0, 1, 0x76, 0x03, 0, 2, 0x61, 0x62]
        broker.connected("p").publish("x", to: "t", qos: 1, identifier: 1, properties: properties)
        #expect(new.takeMessages().map(\.properties) == [properties])
        #expect(old.takeMessages().map(\.properties) == [[]])
    }

    @Test("[MQTT-4.6.0-2] PUBACKs leave in the order of the PUBLISHes, though the first waits for the journal", arguments: [1, 2, 4])
    func pubackOrder(shards: Int) {
        let broker = PipeBroker(shards: shards, latency: .milliseconds(50))
        let durable = broker.connected("durable", on: 1, sessionExpiry: 600), transient = broker.connected("transient", on: 2)
        durable.subscribe("d", qos: 1)
        transient.subscribe("t", qos: 1)
        broker.advance(by: .milliseconds(400))
        let publisher = broker.connected("p"), other = broker.connected("other", on: 3)
        publisher.publish("1", to: "d", qos: 1, identifier: 1)
        publisher.publish("2", to: "t", qos: 1, identifier: 2)
        publisher.publish("3", to: "nobody", qos: 1, identifier: 3)
        other.publish("4", to: "t", qos: 1, identifier: 4)
        #expect(publisher.takePubacks() == [])
        #expect(durable.takeTexts() == [], "not before it is on disk")
        #expect(other.takePubacks() == [4])
        #expect(transient.takeTexts() == ["2", "4"])
        broker.advance(by: .milliseconds(50))
        #expect(publisher.takePubacks() == [1, 2, 3])
        #expect(durable.takeTexts() == ["1"])
    }

    @Test("A session that resumes gets what it had not acknowledged again, as duplicates under the same identifiers, then the rest", arguments: forms)
    func resuming(form: Form) {
        let broker = broker(form)
        let first = broker.connected("meter", on: 1, sessionExpiry: 600)
        first.subscribe("t", qos: 1)
        let publisher = broker.connected("p")
        for number in 1...3 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "t", qos: 1, identifier: number) }
        broker.advance(by: .milliseconds(20))
        let given = first.takeMessages()
        #expect(given.map(\.duplicate) == [false, false, false])
        first.puback(given[1].packetIdentifier)
        first.drop()
        publisher.publish("4", to: "t", qos: 1, identifier: 4)
        publisher.publish("lost", to: "t")
        broker.advance(by: .milliseconds(20))
        // On another loop: the connection goes to where the session is.
        let second = broker.connected("meter", on: 3, cleanStart: false, sessionExpiry: 600)
        let events = second.take()
        guard case .connack(let connack)? = events.first else { Issue.record("no CONNACK: \(events)"); return }
        #expect(connack.sessionPresent)
        let again = events.compactMap { if case .publish(let publish) = $0 { publish } else { nil } }
        #expect(again.map { String(decoding: $0.payload, as: UTF8.self) } == ["1", "3", "4"])
        #expect(again.map(\.duplicate) == [true, true, false])
        #expect(again.prefix(2).map(\.packetIdentifier) == [given[0].packetIdentifier, given[2].packetIdentifier])
        for message in again { second.puback(message.packetIdentifier) }
        second.drop()
        let third = broker.connected("meter", on: 0, cleanStart: false, sessionExpiry: 600)
        #expect(third.takeTexts() == [])
    }

    @Test("A resumed session is given no more at once than the client's receive maximum allows [MQTT-3.3.4-9]") func resumingWithinTheWindow() {
        let broker = PipeBroker()
        let first = broker.connected("meter", sessionExpiry: 600)
        first.subscribe("t", qos: 1)
        let publisher = broker.connected("p")
        for number in 1...10 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "t", qos: 1, identifier: number) }
        #expect(first.takeTexts().count == 10)
        first.drop()
        let second = broker.connected("meter", cleanStart: false, sessionExpiry: 600) { $0.receiveMaximum = 3 }
        var texts: [String] = []
        for _ in 0..<10 {
            let messages = second.takeMessages()
            #expect(messages.count <= 3)
            #expect(messages.filter { !$0.duplicate } == [])
            texts += messages.map { String(decoding: $0.payload, as: UTF8.self) }
            for message in messages { second.puback(message.packetIdentifier) }
        }
        #expect(texts == (1...10).map { "\($0)" })
    }

    @Test("A CONNECT larger than the read area moves to its session's loop whole", arguments: [2, 4]) func largeConnectMoves(shards: Int) {
        let broker = PipeBroker(shards: shards)
        broker.connected("meter", on: 0, sessionExpiry: 600).drop()
        let property: [UInt8] = [0x26, 0, 1, 0x6B, 0xC3, 0x50] + [UInt8](repeating: 0x76, count: 50_000)
        let second = broker.connected("meter", on: 1, cleanStart: false, sessionExpiry: 600) { $0.userProperties = property + property + property }
        guard case .connack(let connack)? = second.take().first else { Issue.record("no CONNACK"); return }
        #expect(connack.sessionPresent)
        second.subscribe("t", qos: 1)
        broker.connected("p", on: 1).publish("x", to: "t", qos: 1, identifier: 1)
        #expect(second.takeTexts() == ["x"])
    }

    @Test("[MQTT-3.1.2-10] Only DISCONNECT 0x00 deletes the will", arguments: [MQTTReason.disconnectWithWillMessage, .unspecifiedError])
    func willAfterDisconnect(reason: MQTTReason) {
        let broker = PipeBroker()
        let watcher = broker.connected("w")
        watcher.subscribe("gone")
        let client = broker.connected("c") { $0.will = .init(topic: Array("gone".utf8), payload: Array("bye".utf8)) }
        client.send(.disconnect(reason: reason, sessionExpiry: nil))
        #expect(watcher.takeTexts() == ["bye"])
    }

    @Test("A connection that ended before its CONNECT was read does not take a newer one's session over") func abandoned() {
        let broker = PipeBroker(shards: 2)
        let kept = broker.connected("c", on: 0)
        let (near, far) = broker.network.makeStream()
        var connect = ByteBuffer(), machine = MQTTClientMachine(limits: MQTTLimits(), now: broker.network.now)
        try? machine.send(.connect(MQTTConnectOptions(clientID: Array("c".utf8))), into: &connect)
        broker.network.write(connect.span.array, to: far)
        broker.network.end(far)
        broker.gateways[1].adopt(Transport(descriptor: near))
        broker.run()
        #expect(kept.hasEnded == false)
        #expect(kept.take().contains { if case .disconnect = $0 { true } else { false } } == false)
    }

    @Test("A clean start ends the session before it", arguments: forms) func cleanStart(form: Form) {
        let broker = broker(form)
        let first = broker.connected("meter", on: 1, sessionExpiry: 600)
        first.subscribe("t", qos: 1)
        first.drop()
        let second = broker.connected("meter", on: 2, sessionExpiry: 600)
        guard case .connack(let connack)? = second.take().first else { Issue.record("no CONNACK"); return }
        #expect(!connack.sessionPresent)
        broker.connected("p").publish("x", to: "t", qos: 1, identifier: 1)
        #expect(second.takeTexts() == [])
    }

    @Test("A session ends when its expiry has passed, and not before", arguments: forms) func sessionExpiry(form: Form) {
        let broker = broker(form)
        let first = broker.connected("meter", on: 1, sessionExpiry: 60)
        first.subscribe("t", qos: 1)
        first.drop()
        broker.advance(by: .seconds(59))
        let second = broker.connected("meter", cleanStart: false, sessionExpiry: 60)
        guard case .connack(let connack)? = second.take().first else { Issue.record("no CONNACK"); return }
        #expect(connack.sessionPresent)
        second.drop()
        broker.advance(by: .seconds(61))
        let third = broker.connected("meter", cleanStart: false, sessionExpiry: 60)
        guard case .connack(let connack)? = third.take().first else { Issue.record("no CONNACK"); return }
        #expect(!connack.sessionPresent)
    }

    @Test("[MQTT-3.1.4-3] A second connection takes the session over, from any loop", arguments: forms) func takeOver(form: Form) {
        let broker = broker(form)
        let first = broker.connected("meter", on: 1)
        first.subscribe("t", qos: 1)
        _ = first.take()
        let second = broker.connected("meter", on: 2)
        #expect(first.take().contains { if case .disconnect(.sessionTakenOver, _, _) = $0 { true } else { false } })
        #expect(first.hasEnded)
        guard case .connack(let connack)? = second.take().first else { Issue.record("no CONNACK"); return }
        #expect(connack.reason == .success)
        second.subscribe("t", qos: 1)
        broker.connected("p").publish("x", to: "t", qos: 1, identifier: 1)
        #expect(second.takeTexts() == ["x"])
        #expect(broker.gateways.map(\.connectionCount).reduce(0, +) == 2)
    }

    @Test("The will is published when the connection breaks, and not after DISCONNECT", arguments: forms) func will(form: Form) {
        let broker = broker(form)
        let watcher = broker.connected("w", on: 1)
        watcher.subscribe("gone/+", qos: 1)
        for (name, breaks) in [("a", true), ("b", false)] {
            let client = broker.connected(name, on: 2) { $0.will = .init(topic: Array("gone/\(name)".utf8), payload: Array("bye".utf8), qos: 1) }
            if breaks { client.drop() } else { client.disconnect() }
        }
        #expect(watcher.takeMessages().map { String(decoding: $0.topic, as: UTF8.self) } == ["gone/a"])
    }

    @Test("Without CONNECT a connection is cut after its time, and with keep-alive after one and a half", arguments: forms) func timeouts(form: Form) {
        let broker = broker(form)
        let silent = broker.client(on: 1), idle = broker.connected("idle", on: 2) { $0.keepAlive = 20 }
        broker.advance(by: .milliseconds(9_900))
        #expect(!silent.hasEnded)
        broker.advance(by: .milliseconds(200))
        #expect(silent.hasEnded)
        broker.advance(by: .seconds(19))
        #expect(!idle.hasEnded)
        broker.advance(by: .seconds(1))
        #expect(idle.hasEnded)
        #expect(idle.take().contains { if case .disconnect(.keepAliveTimeout, _, _) = $0 { true } else { false } })
    }

    @Test("Any bytes end at most their own connection", arguments: 0..<30 as Range<UInt64>) func badInput(seed: UInt64) {
        var random = SeededRandom(seed)
        let broker = PipeBroker(shards: 2)
        let healthy = broker.connected("healthy", on: 1)
        healthy.subscribe("t", qos: 1)
        for index in 0..<20 {
            let bad = index % 2 == 0 ? broker.client(on: index) : broker.connected("bad\(index)", on: index)
            bad.sendRaw((0..<Int.random(in: 1...60, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
        }
        broker.connected("p").publish("still here", to: "t", qos: 1, identifier: 1)
        #expect(healthy.takeTexts().contains("still here"))
    }

    @Test("A subscriber that never reads is bounded: QoS 0 is dropped, QoS 1 waits in its queue and is not lost") func stuckSubscriber() {
        let broker = PipeBroker {
            $0.outputBytesMax = 10_000; $0.receiveMaximum = 10
        }
        let stuck = broker.connected("stuck") { $0.receiveMaximum = 10 }
        stuck.subscribe("zero", qos: 0)
        stuck.subscribe("one", qos: 1, identifier: 2)
        broker.network.capacity = 2000
        stuck.reads = false
        let publisher = broker.connected("p")
        for number in 1...200 as ClosedRange<UInt16> {
            publisher.publish(String(repeating: "x", count: 1000), to: "zero")
            publisher.publish("\(number)", to: "one", qos: 1, identifier: number)
        }
        #expect(publisher.takePubacks().count == 200)
        let held = broker.loops[0][output: 1].count
        #expect(held < 12_000)
        stuck.reads = true
        var texts: [String] = []
        for _ in 0..<300 {
            for message in stuck.takeMessages() {
                if message.qos == 1 { stuck.puback(message.packetIdentifier); texts.append(String(decoding: message.payload, as: UTF8.self)) }
            }
        }
        #expect(texts == (1...200).map { "\($0)" })
        let lost = broker.gateways[0].counters.droppedSlow + broker.shards[0].core.value.counters.droppedSlow
        #expect(lost > 150)
    }

    @Test("[MQTT-3.1.2-25] A packet above the client's maximum is not sent, and what follows is") func packetSizeMax() {
        let broker = PipeBroker()
        let small = broker.connected("small") { $0.packetSizeMax = 50 }
        small.subscribe("t", qos: 1)
        let publisher = broker.connected("p")
        publisher.publish(String(repeating: "x", count: 100), to: "t", qos: 1, identifier: 1)
        publisher.publish("fits", to: "t", qos: 1, identifier: 2)
        #expect(small.takeTexts() == ["fits"])
        #expect(broker.shards[0].core.value.storedBytes == "tfits".utf8.count)
    }

    @Test("The window to a client is the smaller of both receive maxima") func receiveMaximum() {
        let broker = PipeBroker()
        let client = broker.connected("c") { $0.receiveMaximum = 2 }
        client.subscribe("t", qos: 1)
        let publisher = broker.connected("p")
        for number in 1...5 as ClosedRange<UInt16> { publisher.publish("\(number)", to: "t", qos: 1, identifier: number) }
        let first = client.takeMessages()
        #expect(first.count == 2)
        client.puback(first[0].packetIdentifier)
        #expect(client.takeTexts() == ["3"])
        client.puback(999)
        #expect(broker.gateways[0].counters.unknownAcknowledgements == 1)
    }

    @Test("Credentials are asked for, and a refusal says which", arguments: [MQTTVersion.v5, .v3_1_1]) func credentials(version: MQTTVersion) {
        let broker = PipeBroker { $0.authenticate = { name, password in name == Array("u".utf8) && password == Array("p".utf8) } }
        for (name, password, reason) in [("u", "p", MQTTReason.success), ("u", "x", .badUserNameOrPassword), ("", "", .notAuthorized)] {
            let client = broker.client()
            client.connect("c", version: version) {
                $0.userName = name.isEmpty ? nil : Array(name.utf8)
                $0.password = name.isEmpty ? nil : Array(password.utf8)
            }
            guard case .connack(let connack)? = client.take().first else { Issue.record("no CONNACK"); continue }
            #expect(connack.reason == reason)
            #expect(client.hasEnded == (reason != .success))
        }
    }

    @Test("An empty client identifier is given one; in v3.1.1 only with a clean session") func assignedIdentifier() {
        let broker = PipeBroker()
        guard case .connack(let new)? = broker.connected("").take().first else { Issue.record("no CONNACK"); return }
        #expect(new.assignedClientID?.isEmpty == false)
        guard case .connack(let old)? = broker.connected("", version: .v3_1_1).take().first else { Issue.record("no CONNACK"); return }
        #expect(old.reason == .success)
        let refused = broker.client()
        refused.reads = false
        refused.sendRaw([0x10, 12, 0, 4, 0x4D, 0x51, 0x54, 0x54, 4, 0, 0, 0, 0, 0])
        #expect(broker.network.read(from: refused.descriptor) == [0x20, 2, 0, 2], "[MQTT-3.1.3-8]")
    }

    @Test("Unsubscribing stops the messages and says whether there was a subscription", arguments: forms) func unsubscribing(form: Form) {
        let broker = broker(form)
        let client = broker.connected("c", on: 1)
        client.subscribe("a/+", qos: 1)
        client.send(.unsubscribe(packetIdentifier: 9, filters: [Array("a/+".utf8), Array("b".utf8)]))
        #expect(client.take() == [.unsuback(packetIdentifier: 9, reasons: [.success, .noSubscriptionExisted])])
        broker.connected("p").publish("x", to: "a/b", qos: 1, identifier: 1)
        #expect(client.takeTexts() == [])
    }

    @Test("Stopping tells every client and leaves nobody", arguments: forms) func stopping(form: Form) {
        let broker = broker(form)
        let clients = (0..<6).map { broker.connected("c\($0)", on: $0) }
        for client in clients { _ = client.take() }
        for gateway in broker.gateways { gateway.stop() }
        for client in clients {
            #expect(client.take() == [.disconnect(reason: .serverShuttingDown, text: "")])
            #expect(client.hasEnded)
        }
        #expect(broker.gateways.map(\.connectionCount).reduce(0, +) == 0)
    }

    @Test("In any order of ticks, acknowledged QoS 1 messages arrive at least once and in order", arguments: 0..<12 as Range<UInt64>) func anyOrder(
        seed: UInt64
    ) {
        var random = SeededRandom(seed)
        let broker = PipeBroker(shards: 4, latency: .milliseconds(3))
        let subscriber = broker.connected("s", on: 1, sessionExpiry: 600), publishers = (0..<3).map { broker.connected("p\($0)", on: $0 * 2) }
        subscriber.subscribe("t/+", qos: 1)
        var next = [1, 1, 1] as [UInt16], acknowledged = 0, got: [[Int]] = [[], [], []]
        broker.network.readSizeMax = Int.random(in: 1...40, using: &random)
        for round in 0..<400 {
            let who = Int.random(in: 0..<3, using: &random)
            if round < 100 {
                publishers[who].publish("\(next[who])", to: "t/\(who)", qos: 1, identifier: next[who])
                next[who] += 1
            }
            broker.loops.randomElement(using: &random)!.tick(until: broker.network.now)
            if Bool.random(using: &random) { broker.network.advance(by: .milliseconds(1)) }
            for message in subscriber.takeMessages() {
                let topic = String(decoding: message.topic, as: UTF8.self)
                got[Int(String(topic.last!))!].append(Int(String(decoding: message.payload, as: UTF8.self))!)
                subscriber.puback(message.packetIdentifier)
            }
            for publisher in publishers { acknowledged += publisher.takePubacks().count }
        }
        #expect(acknowledged == 100)
        for who in 0..<3 { #expect(got[who] == Array(1..<Int(next[who]))) }
    }
}
