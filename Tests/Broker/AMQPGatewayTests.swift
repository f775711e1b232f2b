import MartletAMQPGateway
import MartletAMQPProtocol
import MartletBytes
import MartletCore
import MartletMQTTProtocol
import MartletShard
import MartletSimulation
import Testing

/// What AMQP's clients see that real ones see too is in Tests/Interop, against both brokers; here is what takes several loops, a disk that
/// is late, limits, or a look inside.
@Suite struct AMQPGatewayTests {
    @Test("A message is confirmed and delivered only when it is on disk; a transient one at once") func durability() {
        let broker = PipeBroker(latency: .milliseconds(10))
        let client = broker.amqpClient()
        client.declare("q", durable: true)
        client.call(.confirmSelect(.init()))
        client.consume("q", noAck: true)
        _ = client.take()
        client.publish("kept", to: "q") { $0.deliveryMode = 2 }
        #expect(client.take() == [])
        broker.advance(by: .milliseconds(20))
        let events = client.take()
        #expect(AMQPPipeClient.messages(events).map(\.text) == ["kept"])
        #expect(events.contains(.method(channel: 1, .basicAck(.init(deliveryTag: 1, multiple: false)))))
        client.publish("light", to: "q")
        #expect(client.takeTexts() == ["light"])
    }

    @Test("Memory is short: messages are left in a journal that can be read again, and in memory where it cannot", arguments: [true, false])
    func memoryIsShort(keepsRecords: Bool) {
        var limits = CoreLimits()
        limits.residentBytesMax = 1000
        let broker = PipeBroker(latency: .milliseconds(1), keepsRecords: keepsRecords, limits: limits)
        let client = broker.amqpClient(), texts = (1...200).map { "\($0)" }
        client.declare("q", durable: true)
        for text in texts { client.publish(text, to: "q") { $0.deliveryMode = 2 } }
        broker.advance(by: .milliseconds(20))
        client.consume("q", noAck: true)
        broker.advance(by: .milliseconds(20))
        #expect(client.takeTexts() == texts)
        #expect((broker.shards[0].core.value.counters.paged > 0) == keepsRecords)
    }

    @Test("What one read brings is confirmed by one basic.ack") func confirmsTogether() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q")
        client.call(.confirmSelect(.init()))
        _ = client.take()
        client.publishMany((1...50).map { "\($0)" }, to: "q")
        #expect(client.takeMethods() == [.basicAck(.init(deliveryTag: 50, multiple: true))])
    }

    @Test("A mandatory message comes back before its confirm") func returnBeforeConfirm() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.call(.confirmSelect(.init()))
        _ = client.take()
        client.publish("lost", to: "nowhere", mandatory: true)
        let events = client.take()
        guard case .content(1, .basicReturn(let returned), _, let body) = events.first else { Issue.record("no return: \(events)"); return }
        #expect(returned.replyCode == 312)
        #expect(body == Array("lost".utf8))
        #expect(events.dropFirst() == [.method(channel: 1, .basicAck(.init(deliveryTag: 1, multiple: false)))])
    }

    @Test("A virtual host lives on one loop: who comes in elsewhere is moved there, with what it sent ahead") func movesToItsLoop() {
        var options = AMQPGatewayOptions()
        options.virtualHosts = ["/", "b", "c"].map { Array($0.utf8) }
        let broker = PipeBroker(shards: 2, amqp: options)
        let first = broker.amqpClient(virtualHost: "b"), second = broker.amqpClient(virtualHost: "b"), other = broker.amqpClient(virtualHost: "c")
        #expect(broker.amqpGateways.map(\.connectionCount) == [1, 2])
        first.declare("q")
        first.publish("here", to: "q")
        #expect(second.get("q", noAck: true)?.text == "here")
        #expect(other.get("q") == nil)
        #expect(other.takeRefusal() == nil)
        other.declare("q")
        other.publish("there", to: "q")
        #expect(second.get("q") == nil)
    }

    @Test("MQTT's topics and AMQP's keys meet in amq.topic, on any loop", arguments: [1, 2]) func bridge(loops: Int) {
        let broker = PipeBroker(shards: loops)
        let amqp = broker.amqpClient(), mqtt = broker.connected("m", on: loops - 1)
        mqtt.subscribe("#", qos: 1)
        amqp.declare("q")
        amqp.bind("q", to: "amq.topic", "a.#")
        amqp.bind("q", to: "amq.topic", "d%2Ee.*")
        _ = amqp.take()
        mqtt.publish("1", to: "a/b/c", qos: 1, identifier: 1)
        mqtt.publish("2", to: "d.e/f")
        mqtt.publish("3", to: "x/y")
        let got = [amqp.get("q", noAck: true), amqp.get("q", noAck: true), amqp.get("q", noAck: true)]
        #expect(got.map { $0?.key } == ["a.b.c", "d%2Ee.f", nil])
        #expect(got[0]?.exchange == "amq.topic")
        _ = mqtt.take()
        amqp.publish("4", to: "g.h/i", exchange: "amq.topic")
        amqp.publish("5", to: "", exchange: "amq.topic")
        amqp.declareExchange("in front", "fanout")
        amqp.call(.exchangeBind(.init(destination: Array("amq.topic".utf8), source: Array("in front".utf8))))
        amqp.publish("6", to: "j.k", exchange: "in front") { $0.deliveryMode = 2 }
        broker.run()
        #expect(mqtt.takeMessages().map { "\(String(decoding: $0.topic, as: UTF8.self)) \($0.qos)" } == ["g/h%2Fi 0", "j/k 1"])
    }

    @Test("A message names its exchange also when that is gone, and when another has its place") func nameOfRemovedExchange() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q")
        for name in ["first", "second"] {
            client.declareExchange(name, "fanout")
            client.bind("q", to: name)
            client.publish(name, to: "k", exchange: name)
            client.call(.exchangeDelete(.init(exchange: Array(name.utf8))))
        }
        client.declareExchange("third", "fanout")
        _ = client.take()
        #expect(client.get("q")?.exchange == "first")
        #expect(client.get("q")?.exchange == "second")
        client.ack(0, multiple: true)
        broker.run()
        let counts = Dictionary(uniqueKeysWithValues: broker.shards[0].core.value.tableCounts.map { ($0.name, $0.count) })
        #expect(counts["removedHubs"] == 0)
        #expect(counts["messages"] == 0)
    }

    @Test("A publisher is held when a queue is nearly full, told so, and let go when there is room") func holding() {
        var options = AMQPGatewayOptions()
        options.queueMessagesMax = 100
        let broker = PipeBroker(amqp: options)
        let publisher = broker.amqpClient(), consumer = broker.amqpClient()
        publisher.declare("q")
        for number in 0..<96 {
            publisher.publish("\(number)", to: "q")
            broker.advance(by: .milliseconds(60))
        }
        let said = publisher.takeMethods().filter { if case .connectionBlocked = $0 { true } else { false } }
        #expect(said.count == 1)
        publisher.publish("waits", to: "q")
        broker.advance(by: .seconds(5))
        #expect(broker.shards[0].core.value.counters.published < 97)
        consumer.consume("q", noAck: true)
        broker.advance(by: .seconds(1))
        #expect(consumer.takeTexts().last == "waits")
        #expect(publisher.takeMethods().contains(.connectionUnblocked))
    }

    @Test("A queue that is full refuses: basic.nack, and nobody else is disturbed") func refusal() {
        var options = AMQPGatewayOptions()
        options.queueMessagesMax = 4
        let broker = PipeBroker(amqp: options)
        let client = broker.amqpClient()
        client.declare("q")
        client.declare("other")
        client.call(.confirmSelect(.init()))
        _ = client.take()
        client.publishMany(["1", "2", "3", "4", "5"], to: "q")
        #expect(client.takeMethods().contains(.basicNack(.init(deliveryTag: 5, multiple: false, requeue: false))))
    }

    @Test("A queue that expires goes when nobody has used it for so long, not before") func expiry() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q", arguments: ["x-expires": 1000])
        client.publish("kept", to: "q")
        broker.advance(by: .milliseconds(900))
        client.declare("q", arguments: ["x-expires": 1000])
        broker.advance(by: .milliseconds(900))
        #expect(client.get("q") != nil)
        client.consume("q", tag: "c")
        broker.advance(by: .seconds(5))
        client.call(.basicCancel(.init(consumerTag: Array("c".utf8))))
        broker.advance(by: .milliseconds(900))
        #expect(client.takeRefusal() == nil)
        #expect(broker.shards[0].core.value.tableCounts.first { $0.name == "queues" }?.count == 1)
        broker.advance(by: .milliseconds(200))
        #expect(broker.shards[0].core.value.tableCounts.first { $0.name == "queues" }?.count == 0)
        client.ack(1)
        #expect(client.takeRefusal() == nil)
    }

    @Test(
        "An argument that makes no sense is refused in RabbitMQ's words",
        arguments: [
            ("x-expires", AMQPValue.int64(0), "406 PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/': {value_zero,0}"),
            ("x-expires", -1, "406 PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/': {value_negative,-1}"),
            ("x-expires", "1", "406 PRECONDITION_FAILED - invalid arg 'x-expires' for queue 'q' in vhost '/': \"expected integer, got longstr\""),
        ]) func wrongArguments(name: String, value: AMQPValue, text: String)
    {
        let client = PipeBroker().amqpClient()
        client.declare("q", arguments: AMQPTable([.init(Array(name.utf8), value)]))
        #expect(client.takeRefusal() == text)
    }

    @Test("When all are gone, nothing is left of them") func nothingIsLeft() {
        let broker = PipeBroker()
        let before = broker.shards[0].core.value.tableCounts.map(\.count), hubs = broker.router.bindingCount
        for kind in 0..<4 {
            let client = broker.amqpClient()
            client.declare("mine\(kind)", exclusive: true)
            client.declare("auto\(kind)", autoDelete: true)
            client.declareExchange("x\(kind)", "headers", autoDelete: true)
            client.bind("mine\(kind)", to: "x\(kind)", arguments: ["x-match": "any", "a": 1])
            client.bind("mine\(kind)", to: "amq.topic", "a.*.#")
            client.prefetch(2)
            client.prefetch(3, isGlobal: true)
            client.consume("mine\(kind)")
            client.consume("auto\(kind)")
            client.call(.confirmSelect(.init()))
            for _ in 0..<5 {
                client.publish("m", to: "mine\(kind)")
                client.publish("m", to: "auto\(kind)")
            }
            client.openChannel(2)
            client.call(.txSelect)
            client.publish("staged", to: "mine\(kind)")
            _ = client.get("mine\(kind)")
            if kind == 0 { client.drop() } else if kind == 1 { client.send(.method(channel: 0, .connectionClose(.init(replyCode: 200)))) }
            if kind == 2 { client.sendRaw([1, 2, 3, 4, 5, 6, 7, 8, 9]) }
            if kind == 3 {
                client.call(.queueDeclare(.init(queue: Array("amq.x".utf8))))
                client.number = 1
                client.call(.channelClose(.init(replyCode: 200)))
                client.drop()
            }
            broker.run()
        }
        broker.advance(by: .seconds(30))
        #expect(broker.amqpGateways[0].connectionCount == 0)
        #expect(broker.shards[0].core.value.tableCounts.map(\.count) == before)
        #expect(broker.router.bindingCount == hubs)
    }
}
