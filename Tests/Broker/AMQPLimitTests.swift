import MartletAMQPGateway
import MartletAMQPProtocol
import MartletBytes
import MartletCore
import MartletShard
import MartletSimulation
import Testing

/// What a client may ask of the broker, and what it is told beyond.
@Suite struct AMQPLimitTests {
    private func broker(_ change: (inout AMQPGatewayOptions) -> Void) -> PipeBroker {
        var options = AMQPGatewayOptions()
        change(&options)
        return PipeBroker(amqp: options)
    }

    private func overLimit(_ broker: PipeBroker) -> UInt64 { broker.amqpGateways[0].samples.first { $0.name == "overLimit" }?.value ?? 0 }

    private func frame(_ type: UInt8, _ channel: UInt16, _ payload: [UInt8]) -> [UInt8] {
        let size = payload.count
        return [type, UInt8(channel >> 8), UInt8(channel & 255)] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: size >> $0) } + payload + [0xCE]
    }

    /// basic.publish of `size` bytes to the queue `q`, of which `count` come.
    private func begun(_ channel: UInt16, size: Int, count: Int) -> [UInt8] {
        let publish: [UInt8] = [0, 60, 0, 40, 0, 0, 0, 1, UInt8(ascii: "q"), 0]
        let header = [0, 60, 0, 0] + (0..<8).map { UInt8(truncatingIfNeeded: size >> (56 - 8 * $0)) } + [0, 0]
        return frame(1, channel, publish) + frame(2, channel, header) + frame(3, channel, [UInt8](repeating: 7, count: count))
    }

    @Test("Messages in pieces on many channels share a bound; beyond it a channel is closed, and what it held is free") func pieces() {
        let broker = broker {
            $0.limits.bodySizeMax = 200_000
            $0.unfinishedBytesMax = 2 << 20
        }
        let client = broker.amqpClient()
        client.declare("q")
        for number in 2...40 { client.openChannel(UInt16(number)) }
        _ = client.take()
        for number in 1...20 { client.sendRaw(begun(UInt16(number), size: 150_000, count: 100_000)) }
        #expect(client.take() == [])
        client.sendRaw(begun(21, size: 150_000, count: 100_000))
        client.number = 21
        #expect(client.takeRefusal() == "311 CONTENT_TOO_LARGE - messages under way or in transactions hold more than 2097152 bytes")
        #expect(overLimit(broker) == 1)
        client.sendRaw(frame(3, 1, [UInt8](repeating: 7, count: 50_000)))
        client.sendRaw(begun(22, size: 150_000, count: 100_000))
        client.number = 22
        #expect(client.takeRefusal() == nil)
        #expect(client.get("q")?.text.utf8.count == nil, "the channel is in the middle of a message")
        client.drop()
        #expect(broker.amqpGateways[0].unfinishedBytes == 0)
    }

    @Test("A transaction stages so much and no more; commit and rollback make room") func staging() {
        let broker = broker {
            $0.limits.bodySizeMax = 1000
            $0.unfinishedBytesMax = 2 << 20
        }
        let client = broker.amqpClient()
        client.declare("q")
        client.call(.txSelect)
        _ = client.take()
        let text = String(repeating: "x", count: 1000)
        for turn in 0..<4 {
            client.publishMany(Array(repeating: text, count: 1500), to: "q")
            client.call(turn % 2 == 0 ? .txCommit : .txRollback)
            #expect(client.takeMethods() == [turn % 2 == 0 ? .txCommitOk : .txRollbackOk])
        }
        client.publishMany(Array(repeating: text, count: 2000), to: "q")
        broker.run(40)
        #expect(client.takeRefusal()?.hasPrefix("311 CONTENT_TOO_LARGE") == true)
        #expect(broker.amqpGateways[0].unfinishedBytes == 0)
    }

    @Test("A queue is full of what its consumers hold, too: its publishers are held before it refuses") func fullOfUnacknowledged() {
        let broker = broker { $0.queueMessagesMax = 100 }
        let publisher = broker.amqpClient(), consumer = broker.amqpClient()
        publisher.declare("q")
        consumer.consume("q")
        for number in 0..<97 {
            publisher.publish("\(number)", to: "q")
            broker.advance(by: .milliseconds(60))
        }
        #expect(publisher.takeMethods().contains { if case .connectionBlocked = $0 { true } else { false } })
        consumer.ack(60, multiple: true)
        broker.advance(by: .milliseconds(60))
        #expect(publisher.takeMethods().contains(.connectionUnblocked))
        #expect(broker.shards[0].core.value.counters.refused == 0)
    }

    @Test("Who publishes to a full queue and takes from it on one connection goes on, slowly") func ownConsumer() {
        let broker = broker { $0.queueMessagesMax = 100 }
        let client = broker.amqpClient()
        client.declare("q")
        client.consume("q")
        for number in 0..<97 {
            client.publish("\(number)", to: "q")
            broker.advance(by: .milliseconds(60))
        }
        #expect(client.takeMessages().count > 90)
        client.ack(0, multiple: true)
        for _ in 0..<8 { broker.advance(by: .milliseconds(60)) }
        client.publish("more", to: "q")
        for _ in 0..<8 { broker.advance(by: .milliseconds(60)) }
        #expect(client.takeTexts().last == "more")
    }

    @Test("Exchanges, bindings and consumers have their limits") func numbers() {
        let broker = broker {
            $0.exchangesMax = 7
            $0.bindingsMax = 2
            $0.consumersMax = 1
        }
        let client = broker.amqpClient()
        client.declareExchange("x", "fanout")
        _ = client.take()
        client.declareExchange("y", "fanout")
        #expect(client.takeRefusal() == "406 PRECONDITION_FAILED - cannot declare exchange 'y' in vhost '/': exchange limit of 7 is reached")
        client.openChannel(1)
        client.declare("q")
        client.bind("q", to: "x")
        _ = client.take()
        client.bind("q", to: "x", "another")
        #expect(client.takeRefusal() == "406 PRECONDITION_FAILED - cannot bind in vhost '/': binding limit of 2 is reached")
        client.openChannel(1)
        client.consume("q", tag: "1")
        _ = client.take()
        client.consume("q", tag: "2")
        #expect(client.takeRefusal() == "530 NOT_ALLOWED - reached maximum (1) of consumers")
        #expect(overLimit(broker) == 3)
        #expect(client.hasEnded == false)
        let next = broker.amqpClient()
        next.call(.exchangeDelete(.init(exchange: Array("x".utf8))))
        next.declareExchange("y", "fanout")
        next.bind("q", to: "y")
        next.consume("q")
        #expect(next.takeRefusal() == nil)
    }

    @Test("A long reply text ends between characters") func longText() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.call(.basicGet(.init(queue: Array(String(repeating: "ä", count: 127).utf8))))
        let text = client.takeRefusal() ?? ""
        #expect(text.hasSuffix("ä..."))
        #expect(text.utf8.count <= 255 + 4)
    }

    @Test("Exchanges that delete themselves go one after the other, however long their chain is") func chain() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.sendTogether { client in
            for number in 0...3000 { client.declareExchange("x\(number)", "fanout", autoDelete: number < 3000) }
            for number in 0..<3000 {
                client.call(.exchangeBind(.init(destination: Array("x\(number + 1)".utf8), source: Array("x\(number)".utf8), noWait: true)))
            }
        }
        let before = broker.router.bindingCount
        _ = client.take()
        client.call(.exchangeDelete(.init(exchange: Array("x3000".utf8))))
        #expect(client.takeMethods() == [.exchangeDeleteOk])
        #expect(before - broker.router.bindingCount == 3000)
        client.call(.exchangeDeclare(.init(exchange: Array("x0".utf8), passive: true)))
        #expect(client.takeRefusal()?.hasPrefix("404") == true)
    }

    @Test("Channels are found by number whatever the order they open and close in") func channelNumbers() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q")
        for number: UInt16 in [900, 3, 2, 2047, 5, 4, 1000] { client.openChannel(number) }
        for number: UInt16 in [3, 2047, 1] {
            client.number = number
            client.call(.channelClose(.init(replyCode: 200)))
        }
        client.openChannel(3)
        for number: UInt16 in [900, 2, 5, 4, 1000, 3] {
            client.number = number
            client.publish("\(number)", to: "q")
            #expect(client.get("q", noAck: true)?.text == "\(number)")
        }
    }

    @Test("tx.commit is refused when a queue refuses a message of it, and nothing is taken as acknowledged") func refusedCommit() {
        let broker = broker { $0.queueMessagesMax = 2 }
        let client = broker.amqpClient()
        client.declare("q")
        client.declare("work")
        client.publish("job", to: "work")
        client.call(.txSelect)
        let job = client.get("work")
        client.publishMany(["1", "2", "3"], to: "q")
        client.ack(job?.tag ?? 0)
        _ = client.take()
        client.call(.txCommit)
        #expect(client.takeRefusal() == "406 PRECONDITION_FAILED - partial tx completion")
        #expect(broker.amqpClient().get("work")?.text == "job")
    }

    @Test("Small messages are counted with what keeping them costs") func smallMessages() {
        let broker = broker { $0.memoryMax = 100 * 128 }
        let client = broker.amqpClient()
        client.declare("q")
        for _ in 0..<102 { client.publish("", to: "q") }
        #expect(client.takeMethods().contains { if case .connectionBlocked = $0 { true } else { false } })
        let other = broker.amqpClient()
        other.call(.queuePurge(.init(queue: Array("q".utf8))))
        #expect(client.takeMethods().contains(.connectionUnblocked))
    }

    @Test("A channel's number may be used again right behind its exception; what is published in between is thrown away") func numberUsedAgain() {
        let broker = PipeBroker()
        let client = broker.amqpClient()
        client.declare("q")
        _ = client.take()
        let missing: [UInt8] = [0, 50, 0, 10, 0, 0, 1, UInt8(ascii: "x"), 1, 0, 0, 0, 0]
        var bytes = frame(1, 1, missing)
        bytes += begun(1, size: 3, count: 3)
        bytes += frame(1, 1, [0, 20, 0, 41])
        bytes += frame(1, 1, [0, 20, 0, 10, 0])
        bytes += begun(1, size: 4, count: 4)
        client.sendRaw(bytes)
        let other = broker.amqpClient()
        #expect(other.get("q")?.text.utf8.count == 4)
        #expect(other.get("q") == nil)
    }

    @Test("A queue deleted while messages for it are on their way to disk: confirms come, nothing is left, and another may have its name")
    func deletedOnTheWayToDisk() {
        let broker = PipeBroker(latency: .milliseconds(10))
        let client = broker.amqpClient(), other = broker.amqpClient()
        client.declare("q", durable: true)
        client.call(.confirmSelect(.init()))
        client.consume("q")
        _ = client.take()
        client.publish("1", to: "q") { $0.deliveryMode = 2 }
        #expect(other.get("q") == nil)
        other.call(.queuePurge(.init(queue: Array("q".utf8))))
        other.call(.queueDelete(.init(queue: Array("q".utf8))))
        other.declare("q", durable: true)
        client.openChannel(2)
        client.call(.confirmSelect(.init()))
        client.publish("2", to: "q") { $0.deliveryMode = 2 }
        client.call(.channelClose(.init(replyCode: 200)))
        broker.advance(by: .milliseconds(40))
        client.number = 1
        let events = client.take()
        #expect(events.contains(.method(channel: 1, .basicAck(.init(deliveryTag: 1)))))
        #expect(!events.contains { if case .method(2, .basicAck) = $0 { true } else { false } })
        #expect(other.get("q", noAck: true)?.text == "2")
        #expect(broker.shards[0].core.value.storedCount == 0)
    }
}
