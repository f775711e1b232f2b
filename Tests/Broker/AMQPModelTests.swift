import MartletAMQPProtocol
import MartletBytes
import MartletCore
import MartletShard
import MartletSimulation
import Testing

/// Whatever AMQP clients do, in whatever order: no message is lost, none is with two clients at a time, what was not out before comes in
/// order, `redelivered` says the truth, and nothing is left when all are gone.
@Suite struct AMQPModelTests {
    private enum Place: Equatable { case queued, held(by: Int, channel: UInt16, tag: UInt64), done }

    private struct Message {
        let queue: String
        var place = Place.queued
        var wasOut = false
    }

    private final class Actor {
        let number: Int
        var client: AMQPPipeClient
        var consumers: [UInt16: [String]] = [:]
        init(_ number: Int, _ client: AMQPPipeClient) {
            self.number = number
            self.client = client
        }
    }

    private static let queues = ["q0", "q1", "q2"]
    private var messages: [Message] = []
    /// By queue and client: the youngest that was given out.
    private var newest: [String: Int] = [:]

    /// Books what came to a client. Tags that begin with `n` belong to consumers without acknowledgements.
    private mutating func book(_ actor: Actor) {
        for case .content(let channel, let method, _, let body) in actor.client.take() {
            guard let number = Int(String(decoding: body, as: UTF8.self)) else { Issue.record("a strange body"); continue }
            let (tag, redelivered, isSettled): (UInt64, Bool, Bool) =
                switch method {
                case .basicDeliver(let deliver): (deliver.deliveryTag, deliver.redelivered, deliver.consumerTag.first == UInt8(ascii: "n"))
                case .basicGetOk(let get): (get.deliveryTag, get.redelivered, false)
                default: (0, false, false)
                }
            #expect(messages[number].place == .queued, "\(number) is with two")
            #expect(messages[number].wasOut == redelivered)
            if !redelivered {
                let way = "\(messages[number].queue) to \(actor.number)"
                #expect(newest[way, default: -1] < number, "out of order")
                newest[way] = number
            }
            messages[number].wasOut = true
            messages[number].place = isSettled ? .done : .held(by: actor.number, channel: channel, tag: tag)
        }
    }

    private mutating func giveBack(of actor: Int, channel: UInt16? = nil, upTo last: UInt64 = .max, from first: UInt64 = 0, as place: Place = .queued) {
        for number in messages.indices {
            guard case .held(actor, let held, let tag) = messages[number].place, channel == nil || held == channel, (first...last).contains(tag) else {
                continue
            }
            messages[number].place = place
        }
    }

    private func held(by actor: Int, on channel: UInt16) -> [UInt64] {
        messages.compactMap { if case .held(actor, channel, let tag) = $0.place { tag } else { nil } }.sorted()
    }

    @Test("Random clients", arguments: [nil, Duration.milliseconds(5)], 0..<12 as Range<UInt64>) func random(latency: Duration?, seed: UInt64) {
        var model = AMQPModelTests()
        model.run(latency, seed)
    }

    private mutating func run(_ latency: Duration?, _ seed: UInt64) {
        var random = SeededRandom(seed &* 77 + (latency == nil ? 0 : 5))
        let broker = PipeBroker(latency: latency)
        func connected(_ number: Int) -> AMQPPipeClient {
            let client = broker.amqpClient()
            client.openChannel(2)
            return client
        }
        let actors = (0..<4).map { Actor($0, connected($0)) }
        for queue in Self.queues { actors[0].client.declare(queue, durable: true) }
        for _ in 0..<400 {
            let actor = actors.randomElement(using: &random)!, client = actor.client
            client.number = UInt16.random(in: 1...2, using: &random)
            let channel = client.number
            // What is on its way must be booked before the model changes: the network is quick, the disk may not be.
            if latency != nil { broker.advance(by: .milliseconds(10)) }
            for other in actors { book(other) }
            let tags = held(by: actor.number, on: channel), queue = Self.queues.randomElement(using: &random)!
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<6:
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    messages.append(Message(queue: queue))
                    client.publish("\(messages.count - 1)", to: queue) { $0.deliveryMode = Bool.random(using: &random) ? 2 : 1 }
                }
            case 6, 7:
                client.prefetch(UInt16.random(in: 0...4, using: &random), isGlobal: Bool.random(using: &random))
            case 8, 9:
                let name = (Int.random(in: 0..<4, using: &random) == 0 ? "n" : "a") + "\(messages.count)-\(random.next() % 1000)"
                client.consume(queue, tag: name, noAck: name.first == "n")
                actor.consumers[channel, default: []].append(name)
            case 10:
                guard let name = actor.consumers[channel]?.popLast() else { continue }
                client.call(.basicCancel(.init(consumerTag: Array(name.utf8))))
            case 11..<14:
                guard let tag = tags.randomElement(using: &random) else { continue }
                let isMultiple = Bool.random(using: &random)
                giveBack(of: actor.number, channel: channel, upTo: tag, from: isMultiple ? 0 : tag, as: .done)
                client.ack(tag, multiple: isMultiple)
            case 14, 15:
                guard let tag = tags.randomElement(using: &random) else { continue }
                let isMultiple = Bool.random(using: &random), requeues = Bool.random(using: &random)
                giveBack(of: actor.number, channel: channel, upTo: tag, from: isMultiple ? 0 : tag, as: requeues ? .queued : .done)
                client.nack(tag, multiple: isMultiple, requeue: requeues)
            case 16: client.call(.basicGet(.init(queue: Array(queue.utf8))))
            case 17:
                giveBack(of: actor.number, channel: channel)
                client.call(.basicRecover(.init(requeue: true)))
            case 18:
                giveBack(of: actor.number, channel: channel)
                actor.consumers[channel] = nil
                client.call(.channelClose(.init(replyCode: 200)))
                book(actor)
                client.openChannel(channel)
            default:
                giveBack(of: actor.number)
                actor.consumers = [:]
                client.drop()
                actor.client = connected(actor.number)
            }
            #expect(client.violation == nil)
        }
        finish(broker, actors)
    }

    /// Everything comes back, is taken and counted; then all go.
    private mutating func finish(_ broker: PipeBroker, _ actors: [Actor]) {
        broker.advance(by: .milliseconds(20))
        for actor in actors {
            // What another left behind may be here now.
            for other in actors where other.number >= actor.number { book(other) }
            giveBack(of: actor.number)
            actor.client.drop()
        }
        broker.run()
        let last = Actor(9, broker.amqpClient())
        for queue in Self.queues {
            last.client.consume(queue)
            book(last)
            let left = messages.filter { $0.queue == queue && $0.place == .queued }.count
            #expect(left == 0, "\(left) of \(queue) are lost")
        }
        last.client.ack(0, multiple: true)
        for queue in Self.queues { last.client.call(.queueDelete(.init(queue: Array(queue.utf8)))) }
        last.client.drop()
        broker.run()
        #expect(broker.shards[0].core.value.tableCounts.allSatisfy { $0.count == 0 }, "\(broker.shards[0].core.value.tableCounts)")
        #expect(broker.router.bindingCount == 0)
    }
}
