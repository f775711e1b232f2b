import MartletBytes
import MartletCollections
import MartletCore
import MartletMQTTProtocol
import MartletShard
import MartletSimulation
import Testing

/// Whatever clients do, in whatever order: at least once, exactly once, in order, and nothing is left when all are gone.
@Suite struct MQTTModelTests {
    private static let topics = ["t/0", "t/1", "u/0"], filters = ["t/0", "t/+", "#", "u/0", "u/#"], group = "$share/g/#"

    private struct Published {
        let number: Int
        let publisher: String
        let topic: String
        let qos: UInt8
        /// By subscriber: the QoS it is owed.
        var owed: [String: UInt8]
        /// A session ended that may have had it.
        var isBlurred = false
    }

    private static func matches(_ filter: String, _ topic: String) -> Bool {
        filter == "#" || filter == topic || filter.hasSuffix("+") && topic.hasPrefix("t/") || filter == "u/#" && topic.hasPrefix("u/")
    }

    @Test("Random clients", arguments: MQTTGatewayTests.forms, 0..<4 as Range<UInt64>) func random(form: MQTTGatewayTests.Form, seed: UInt64) {
        var random = SeededRandom(seed &* 31 + UInt64(form.shards) + (form.latency == nil ? 0 : 1000))
        let broker = PipeBroker(shards: form.shards, latency: form.latency)
        let actors = (0..<6).map { MQTTModelActor(broker, "c\($0)", $0 % 3 == 2 ? .v3_1_1 : .v5) }
        func connect(_ actor: MQTTModelActor) {
            actor.connect(on: Int.random(in: 0..<4, using: &random), window: UInt16.random(in: 1...6, using: &random))
        }
        for actor in actors { connect(actor) }
        // Members of the group take it exactly once; the first stays one.
        for actor in actors[0..<3] { actor.subscribe(Self.group, qos: 2) }
        var all: [Published] = []
        for _ in 0..<300 {
            let actor = actors.randomElement(using: &random)!
            switch Int.random(in: 0..<22, using: &random) {
            case 0..<7:
                guard actor.canPublish else { continue }
                let topic = Self.topics.randomElement(using: &random)!, qos = UInt8.random(in: 0...2, using: &random)
                var owed: [String: UInt8] = [:]
                for other in actors {
                    let wanted = other.filters.filter { Self.matches($0.key, topic) }.map(\.value).max()
                    if let wanted { owed[other.name] = min(wanted, qos) }
                }
                all.append(Published(number: all.count, publisher: actor.name, topic: topic, qos: qos, owed: owed))
                actor.publish(all.count - 1, to: topic, qos: qos)
            case 7..<12: actor.answer(Int.random(in: 1...8, using: &random))
            case 12: actor.drop()
            case 13: if actor.isConnected { actor.forgetConnection() }; connect(actor)
            case 14, 15: if !actor.isConnected { connect(actor) }
            case 16: if actor.isConnected { actor.subscribe(Self.filters.randomElement(using: &random)!, qos: UInt8.random(in: 0...2, using: &random)) }
            case 17:
                guard actor.isConnected, let filter = actor.filters.keys.sorted().randomElement(using: &random) else { continue }
                if filter != Self.group { actor.unsubscribe(filter) }
            case 18:
                guard actor.isConnected, actor !== actors[0] else { continue }
                if actor.filters[Self.group] == nil { actor.subscribe(Self.group, qos: 2) } else { actor.unsubscribe(Self.group) }
            case 19 where seed % 2 == 1 && actor !== actors[0]:
                let lost = actor.connectClean(on: Int.random(in: 0..<4, using: &random))
                for number in all.indices { all[number].owed[actor.name] = nil; all[number].isBlurred = true }
                for number in lost { all[number].owed = [:] }
            default: broker.advance(by: .milliseconds(Int.random(in: 1...8, using: &random)))
            }
        }
        settleDown(broker, actors, connect)
        check(all, actors)
        leave(broker, actors)
    }

    private func settleDown(_ broker: PipeBroker, _ actors: [MQTTModelActor], _ connect: (MQTTModelActor) -> Void) {
        for actor in actors where !actor.isConnected { connect(actor) }
        for _ in 0..<300 {
            for actor in actors { actor.answer(1000) }
            broker.advance(by: .milliseconds(20))
            for actor in actors { actor.answer(1000) }
            // What waits for the disk is nobody's yet.
            broker.advance(by: .milliseconds(20))
            if actors.allSatisfy({ $0.isIdle() }) { break }
        }
        for actor in actors { #expect(actor.isIdle(), "\(actor.name) waits for something") }
    }

    private func check(_ all: [Published], _ actors: [MQTTModelActor]) {
        for actor in actors { #expect(actor.violations == []) }
        var shared: [Int: Int] = [:]
        for actor in actors {
            var plain: [Int: Int] = [:]
            for receipt in actor.receipts { plain[receipt.number, default: 0] += 1 }
            for published in all {
                let got = plain[published.number, default: 0]
                guard let qos = published.owed[actor.name] else { shared[published.number, default: 0] += got; continue }
                // What is more than it is owed came by the group, or again at QoS 1.
                if qos == 1 { #expect(got >= 1, "\(actor.name) lacks \(published)") }
                if qos == 2 {
                    #expect(got >= 1 && (published.isBlurred || got <= 2), "\(actor.name) has \(got) of \(published)")
                    shared[published.number, default: 0] += got - 1
                }
                if qos == 1 || qos == 0 { shared[published.number, default: 0] += qos == 1 ? max(0, got - 1) : got }
            }
        }
        for published in all where published.qos > 0 && !published.isBlurred {
            let count = shared[published.number, default: 0]
            // Exactly once where nothing else could blur it.
            let isClear = published.qos == 2 && !published.owed.values.contains { $0 < 2 }
            if isClear { #expect(count == 1, "the group has \(count) of \(published)") } else { #expect(count >= 0) }
        }
        order(all, actors)
    }

    /// [MQTT-4.6.0-5]: of one publisher on one topic at one QoS, in the order of publishing, but for what comes again.
    private func order(_ all: [Published], _ actors: [MQTTModelActor]) {
        for actor in actors where actor.filters[Self.group] == nil {
            var last: [String: Int] = [:]
            var seen: Set<Int> = []
            for receipt in actor.receipts where receipt.qos == 2 && seen.insert(receipt.number).inserted {
                let published = all[receipt.number]
                guard published.owed[actor.name] == 2 else { continue }
                let key = "\(published.publisher) \(published.topic)"
                #expect(last[key, default: -1] < receipt.number, "\(actor.name): \(receipt.number) after \(last[key]!)")
                last[key] = receipt.number
            }
        }
    }

    private func leave(_ broker: PipeBroker, _ actors: [MQTTModelActor]) {
        for actor in actors { actor.drop() }
        broker.advance(by: .seconds(8 * 86_400))
        broker.advance(by: .seconds(10))
        for shard in 0..<broker.shards.count {
            let client = broker.connected("last", on: shard)
            client.publish("", to: "nobody")
            client.drop()
        }
        broker.run()
        #expect(broker.router.bindingCount == 0)
        for shard in broker.shards {
            let used = shard.core.value.tableCounts.filter { $0.count != 0 }.map { "\($0.name) \($0.count)" }
            #expect(used == [])
            #expect(shard.core.value.storedBytes == 0)
        }
    }
}
