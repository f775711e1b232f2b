import MartletAMQPGateway
import MartletAMQPProtocol
import MartletBytes
import MartletCore
import MartletMQTTProtocol
import MartletShard
import MartletSimulation
import Testing

/// Clients that mean no good, or have bad luck.
@Suite struct AMQPAttackTests {
    private func code(_ client: AMQPPipeClient) -> String { String(client.takeRefusal()?.prefix(3) ?? "none") }

    @Test("A delivery tag that nobody gave out is unknown, also the largest there is", arguments: [false, true], [2, UInt64.max - 1, UInt64.max])
    func strangeTag(multiple: Bool, tag: UInt64) {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q")
        client.publish("1", to: "q")
        #expect(client.get("q")?.tag == 1)
        client.ack(tag, multiple: multiple)
        #expect(client.takeRefusal() == "406 PRECONDITION_FAILED - unknown delivery tag \(tag)")
        client.openChannel(1)
        #expect(client.get("q")?.isRedelivered == true)
    }

    @Test("A pattern of many wildcards is held against cached routes in no time", .timeLimit(.minutes(10))) func manyWildcards() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declareExchange("t", "topic")
        client.declare("q")
        let address = Array(repeating: "a", count: 100).joined(separator: ".")
        client.publish("1", to: address, exchange: "t")
        client.bind("q", to: "t", Array(repeating: "#.a", count: 40).joined(separator: ".") + ".b")
        client.publish("2", to: address, exchange: "t")
        client.bind("q", to: "t", Array(repeating: "#.a", count: 40).joined(separator: ".") + ".#")
        client.publish("3", to: address, exchange: "t")
        _ = client.take()
        #expect(client.get("q")?.text == "3")
    }

    @Test("An exchange may go while what came through it is on its way to another loop") func exchangeGoesWithLettersUnderWay() {
        let broker = PipeBroker(shards: 2)
        let amqp = broker.amqpClient(), mqtt = broker.connected("m", on: 1)
        mqtt.subscribe("#", qos: 1)
        for turn in 0..<3 {
            amqp.declareExchange("x\(turn)", "fanout")
            amqp.call(.exchangeBind(.init(destination: Array("amq.topic".utf8), source: Array("x\(turn)".utf8))))
            _ = amqp.take()
            amqp.sendTogether { client in
                client.publish("m", to: "a.b", exchange: "x\(turn)") { $0.deliveryMode = 2 }
                client.call(.exchangeDelete(.init(exchange: Array("x\(turn)".utf8))))
                client.declareExchange("y\(turn)", "direct")
            }
            #expect(amqp.takeRefusal() == nil)
        }
        broker.run()
        let counts = Dictionary(uniqueKeysWithValues: broker.shards[0].core.value.tableCounts.map { ($0.name, $0.count) })
        #expect(counts["removedHubs"] == 0)
        #expect(broker.shards[0].core.value.hasForgottenHubs == false)
    }

    @Test("When a queue is deleted, what its consumers held of a channel's prefetch goes to the other queues at once") func creditOfDeletedQueue() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.prefetch(1, isGlobal: true)
        for queue in ["a", "b"] {
            client.declare(queue)
            client.consume(queue, tag: queue)
        }
        client.publish("1", to: "a")
        client.publish("2", to: "b")
        #expect(client.takeTexts() == ["1"])
        client.call(.queueDelete(.init(queue: Array("a".utf8))))
        #expect(client.takeTexts() == ["2"])
    }

    @Test("Acknowledgements in one read do not each bring a tick's worth of deliveries") func pumpsOfOneTick() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q")
        client.publishMany((0..<9000).map { "\($0)" }, to: "q")
        client.consume("q")
        broker.run()
        #expect(client.take().count >= 9000)
        let before = broker.shards[0].core.value.counters.delivered
        client.sendTogether(turns: 1) { client in
            client.nack(0, multiple: true)
            for _ in 0..<10 { client.call(.basicQos(.init(prefetchCount: 0, global: true))) }
        }
        let inOneTick = broker.shards[0].core.value.counters.delivered - before
        #expect(inOneTick > 0 && inOneTick < 4000, "\(inOneTick)")
        broker.run(40)
        #expect(client.takeMessages().count == 9000)
    }
    @Test("A mandatory message comes back also when earlier ones wait for the disk", arguments: [false, true]) func returnWhileWaiting(isTransaction: Bool) {
        let broker = PipeBroker(latency: .milliseconds(10))
        let client = broker.amqpClient()
        client.declare("q", durable: true)
        client.call(isTransaction ? .txSelect : .confirmSelect(.init()))
        _ = client.take()
        client.publish("kept", to: "q") { $0.deliveryMode = 2 }
        client.publish("lost", to: "nowhere", mandatory: true)
        if isTransaction { client.call(.txCommit) }
        broker.advance(by: .milliseconds(40))
        let events = client.take()
        let places = events.indices.filter { if case .content(_, .basicReturn, _, _) = events[$0] { true } else { false } }
        #expect(places == [0])
        #expect(events.count > 1)
    }

    @Test("tx.commit is refused as a whole when an exchange is gone; what was acknowledged in it comes back") func commitWithoutExchange() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q")
        client.publish("1", to: "q")
        client.declareExchange("x", "fanout")
        client.call(.txSelect)
        _ = client.take()
        let got = client.get("q")
        client.publish("2", to: "q")
        client.publish("3", to: "", exchange: "x")
        client.ack(got?.tag ?? 0)
        client.call(.exchangeDelete(.init(exchange: Array("x".utf8))))
        _ = client.take()
        client.call(.txCommit)
        #expect(code(client) == "404")
        client.openChannel(1)
        #expect(client.get("q")?.text == "1")
        #expect(client.get("q") == nil)
    }

    @Test("Confirms that are due leave before an exception", arguments: [false, true]) func confirmsBeforeException(isConnections: Bool) {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q")
        client.call(.confirmSelect(.init()))
        _ = client.take()
        client.sendTogether { client in
            for number in 1...3 { client.publish("\(number)", to: "q") }
            if isConnections { client.call(.basicQos(.init(prefetchSize: 1))) } else { client.publish("4", to: "", exchange: "no such") }
        }
        #expect(client.takeMethods().first == .basicAck(.init(deliveryTag: 3, multiple: true)))
    }

    @Test("Who asks for more than he reads is answered no further until he has read; then everything comes") func askingWithoutReading() {
        let broker = PipeBroker()
        let client = broker.amqpClient(), other = broker.amqpClient()
        client.declare("q")
        client.publishMany([String(repeating: "x", count: 100_000)], to: "q")
        broker.run()
        func got() -> UInt64 { broker.amqpGateways[0].samples.first { $0.name == "got" }?.value ?? 0 }
        client.sendTogether(turns: 1) { client in
            for tag: UInt64 in 1...200 {
                client.call(.basicGet(.init(queue: Array("q".utf8))))
                client.call(.basicReject(.init(deliveryTag: tag, requeue: true)))
            }
        }
        broker.run(5)
        #expect(got() > 0 && got() < 60, "\(got())")
        other.declare("mine", exclusive: true)
        #expect(!other.takeMethods().isEmpty)
        var all: [AMQPPipeClient.Received] = []
        for _ in 0..<40 { all += client.takeMessages() }
        #expect(all.map(\.tag) == Array(1...200))
        #expect(got() == 200)
    }

    @Test("A message for many consumers of one slow connection makes them wait after it") func fanOutToOne() {
        let broker = PipeBroker()
        let slow = broker.amqpClient(), publisher = broker.amqpClient()
        for number in 0..<20 {
            slow.declare("q\(number)")
            slow.bind("q\(number)", to: "amq.fanout")
            slow.consume("q\(number)", noAck: true)
        }
        _ = slow.take()
        let before = broker.shards[0].core.value.counters.delivered
        let text = String(repeating: "x", count: 60_000)
        publisher.sendTogether(turns: 1) { client in for _ in 0..<20 { client.publish(text, to: "", exchange: "amq.fanout") } }
        broker.run(30)
        let given = broker.shards[0].core.value.counters.delivered - before
        #expect(given < 200, "\(given)")
        var count = 0
        for _ in 0..<60 { count += slow.takeMessages().count }
        #expect(count == 400)
    }
}
