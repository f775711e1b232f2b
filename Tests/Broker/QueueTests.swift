import MartletBytes
import MartletCollections
import MartletCore
import MartletSimulation
import Testing

/// Queues, consumers, credit and settlement, without any protocol.
@Suite struct QueueTests {
    typealias Given = CoreBench.Given

    @Test("Two consumers on one queue take turns") func turns() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        _ = bench.consumer(queue, token: 1)
        _ = bench.consumer(queue, token: 2)
        let tokens = (0..<6).flatMap { bench.publish("m\($0)").given.map(\.token) }
        #expect(tokens == [1, 2, 1, 2, 1, 2])
    }

    @Test("A third consumer joins at the end of the round") func joining() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        for token in 1...2 as ClosedRange<UInt32> { _ = bench.consumer(queue, token: token) }
        #expect(bench.publish("x").given.map(\.token) == [1])
        _ = bench.consumer(queue, token: 3)
        #expect((0..<4).flatMap { _ in bench.publish("x").given.map(\.token) } == [2, 1, 3, 2])
    }

    @Test("A shared credit of 3 holds two consumers on two queues to three unsettled messages") func sharedCredit() {
        let bench = CoreBench()
        let credit = bench.core.value.openCredit(limit: 3)
        let first = bench.queue(), second = bench.queue()
        bench.bind(first, "one")
        bench.bind(second, "two")
        _ = bench.consumer(first, token: 1, credit: credit)
        _ = bench.consumer(second, token: 2, credit: credit)
        var given: [Given] = []
        for number in 1...3 {
            given += bench.publish("a\(number)", to: "one").given
            given += bench.publish("b\(number)", to: "two").given
        }
        #expect(given.map(\.text) == ["a1", "b1", "a2"])
        #expect(bench.settle(first, given[0].position, .accepted)?.map(\.text) == ["a3"])
        #expect(bench.settle(first, given[2].position, .accepted)?.map(\.text) == ["b2"])
        #expect(bench.depth(first) == (0, 1))
        #expect(bench.depth(second) == (1, 2))
        #expect(bench.settle(second, given[1].position, .accepted)?.map(\.text) == ["b3"])
    }

    @Test("Raising a shared credit offers what waits") func raisedCredit() {
        let bench = CoreBench()
        let credit = bench.core.value.openCredit(limit: 1)
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        _ = bench.consumer(queue, token: 1, credit: credit)
        for number in 1...4 { bench.publish("\(number)") }
        bench.core.value.setLimit(of: credit, to: 3, into: &bench.effects.value)
        #expect(bench.take().map(\.text) == ["2", "3"])
    }

    @Test("A requeue of several keeps the order, before what came later") func requeueKeepsOrder() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        let consumer = bench.consumer(queue, token: 1, limit: 3)
        var given: [Given] = []
        for number in 1...5 { given += bench.publish("\(number)").given }
        #expect(given.map(\.text) == ["1", "2", "3"])
        bench.core.value.pause(consumer, true, into: &bench.effects.value)
        for position in [given[2], given[0], given[1]].map(\.position) { #expect(bench.settle(queue, position, .requeued) == []) }
        bench.core.value.pause(consumer, false, into: &bench.effects.value)
        let again = bench.take()
        #expect(again.map(\.text) == ["1", "2", "3"])
        #expect(again.filter { !$0.isRedelivered } == [])
        #expect(again.map(\.position) == given.map(\.position))
        for delivery in again { bench.settle(queue, delivery.position, .accepted) }
        #expect(bench.depth(queue) == (0, 2))
    }

    @Test("A consumer that goes gives back what it held, at the old places") func consumerGone() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        let first = bench.consumer(queue, token: 1)
        for number in 1...3 { bench.publish("\(number)") }
        bench.core.value.removeConsumer(first)
        bench.publish("4")
        _ = bench.consumer(queue, token: 2)
        #expect(bench.pump(queue).map(\.text) == ["1", "2", "3", "4"])
    }

    @Test("A consumer that comes back gets the same positions, as far as its limit goes, then what came meanwhile") func resuming() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        let first = bench.consumer(queue, token: 1)
        let before = (1...3).flatMap { bench.publish("\($0)").given }
        bench.core.value.removeConsumer(first)
        bench.publish("4")
        #expect(bench.depth(queue) == (4, 0))
        _ = bench.consumer(queue, token: 2, limit: 2)
        let again = bench.pump(queue)
        #expect(again == before.prefix(2).map { Given(token: 2, text: $0.text, position: $0.position, isRedelivered: true) })
        #expect(bench.settle(queue, again[0].position, .accepted)?.map(\.text) == ["3"])
        #expect(bench.settle(queue, again[1].position, .accepted) == [Given(token: 2, text: "4", position: 4)])
    }

    @Test("Settling twice, or what was never given, is refused") func unknownPositions() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        _ = bench.consumer(queue, token: 1)
        let position = bench.publish("1").given[0].position
        #expect(bench.settle(queue, position, .accepted) == [])
        #expect(bench.settle(queue, position, .accepted) == nil)
        #expect(bench.settle(queue, 77, .requeued) == nil)
    }

    @Test("Received keeps the position and the credit until it is accepted; the body goes") func received() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        _ = bench.consumer(queue, token: 1, limit: 1)
        let position = bench.publish("1").given[0].position
        bench.publish("2")
        #expect(bench.settle(queue, position, .received) == [])
        #expect(bench.core.value.storedBytes == "a/b".utf8.count + 1)
        #expect(bench.settle(queue, position, .received) == nil)
        #expect(bench.settle(queue, position, .accepted)?.map(\.text) == ["2"])
    }

    @Test("Reject sends a message to a second hub, under its address") func rejectToSecondHub() {
        let bench = CoreBench()
        let dead = bench.router.declareHub(Array("dead".utf8), .topic)
        let queue = bench.queue { $0.rejectHub = dead }, graveyard = bench.queue()
        bench.bind(queue, "a/#")
        bench.bind(graveyard, "a/+", hub: dead)
        _ = bench.consumer(queue, token: 1)
        _ = bench.consumer(graveyard, token: 9)
        let position = bench.publish("unwanted", to: "a/x").given[0].position
        #expect(bench.settle(queue, position, .rejected) == [Given(token: 9, text: "unwanted", position: 1)])
        #expect(bench.depth(queue) == (0, 0))
        #expect(bench.depth(graveyard) == (0, 1))
    }

    @Test("What is rejected to a session at most once still has its bytes") func rejectAtMostOnce() {
        let bench = CoreBench()
        let dead = bench.router.declareHub(Array("dead".utf8), .fanout)
        let queue = bench.queue { $0.rejectHub = dead }, session = bench.queue { $0.passesAtMostOnce = true }
        bench.bind(queue, "a/b")
        bench.bind(session, "", hub: dead, BindingOptions(flags: .atMostOnce))
        _ = bench.consumer(queue, token: 1)
        _ = bench.consumer(session, token: 2)
        let position = bench.publish("body").given[0].position
        #expect(bench.settle(queue, position, .rejected) == [Given(token: 2, text: "body", position: 0)])
        #expect(bench.core.value.storedBytes == 0)
    }

    @Test("A queue that is full refuses, and takes again when there is room") func fullQueueRefuses() {
        let bench = CoreBench()
        let queue = bench.queue { $0.messagesMax = 2 }
        bench.bind(queue, "a/b")
        #expect(bench.publish("1").outcome == .routed)
        #expect(bench.publish("2").outcome == .routed)
        #expect(bench.publish("3").outcome == .refused)
        _ = bench.consumer(queue, token: 1)
        let given = bench.pump(queue)
        #expect(given.map(\.text) == ["1", "2"])
        #expect(bench.publish("4").outcome == .refused, "unsettled messages count")
        bench.settle(queue, given[0].position, .accepted)
        #expect(bench.publish("5").outcome == .routed)
        #expect(bench.core.value.counters.refused == 2)
    }

    @Test("Bytes bound a queue as well as messages") func bytesMax() {
        let bench = CoreBench()
        let queue = bench.queue { $0.bytesMax = 10 }
        bench.bind(queue, "a")
        #expect(bench.publish("123456789", to: "a").outcome == .routed)
        #expect(bench.publish("1", to: "a").outcome == .refused)
    }

    @Test("Drop-oldest makes room; drop-newest keeps what was there; both are counted") func overflowPolicies() {
        let bench = CoreBench()
        let oldest = bench.queue {
            $0.messagesMax = 2; $0.overflow = .dropOldest
        }
        let newest = bench.queue {
            $0.messagesMax = 2; $0.overflow = .dropNewest
        }
        bench.bind(oldest, "a/b")
        bench.bind(newest, "a/b")
        for number in 1...4 { #expect(bench.publish("\(number)").outcome == .routed) }
        _ = bench.consumer(oldest, token: 1)
        _ = bench.consumer(newest, token: 2)
        #expect(bench.pump(oldest).map(\.text) == ["3", "4"])
        #expect(bench.pump(newest).map(\.text) == ["1", "2"])
        #expect(bench.core.value.counters.droppedOldest == 2)
        #expect(bench.core.value.counters.droppedNewest == 2)
    }

    @Test("A publisher that fills a queue whose consumer is there is to be slowed down, the more the fuller it is") func crowding() {
        let bench = CoreBench()
        let queue = bench.queue {
            $0.messagesMax = 10
            $0.overflow = .dropNewest
        }
        bench.bind(queue, "a/b")
        let publisher = bench.core.value.openPublisher(gateway: bench.gateway, token: 7)
        for number in 0..<8 { _ = bench.publish("\(number)", from: publisher, tag: 1) }
        #expect(bench.effects.value.crowding.isEmpty == true, "nobody is slowed down for somebody who is away")
        _ = bench.consumer(queue, token: 1, limit: 1)
        _ = bench.publish("8", from: publisher, tag: 1)
        _ = bench.publish("9", from: publisher, tag: 1)
        let degrees = (0..<bench.effects.value.crowding.count).map { bench.effects.value.crowding[$0].degree }
        #expect(degrees == [204, 255])
        #expect(bench.effects.value.crowding[0].token == 7)
    }

    @Test("A message past its expiry is not delivered") func expiry() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        bench.publish("old", expiry: WallTime(milliseconds: 1000))
        bench.publish("fresh", expiry: WallTime(milliseconds: 5000))
        bench.core.value.heard(at: Instant(nanoseconds: 0), WallTime(milliseconds: 2000))
        _ = bench.consumer(queue, token: 1)
        #expect(bench.pump(queue).map(\.text) == ["fresh"])
        #expect(bench.core.value.counters.expired == 1)
        #expect(bench.core.value.storedBytes == "a/bfresh".utf8.count)
    }

    @Test("Given without settling is settled by being given") func withoutSettling() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        bench.publish("1")
        _ = bench.consumer(queue, token: 1, settles: false, limit: 1)
        #expect(bench.pump(queue).map(\.text) == ["1"])
        #expect(bench.publish("2").given.map(\.text) == ["2"])
        #expect(bench.depth(queue) == (0, 0))
        #expect(bench.core.value.storedBytes == 0)
    }

    @Test("A session keeps nothing at most once: it passes on, or drops and counts") func session() {
        let bench = CoreBench()
        let queue = bench.queue { $0.passesAtMostOnce = true }
        bench.bind(queue, "a/b")
        #expect(bench.publish("away", flags: .atMostOnce).given.isEmpty)
        let consumer = bench.consumer(queue, token: 1)
        #expect(bench.publish("here", flags: .atMostOnce).given == [Given(token: 1, text: "here", position: 0)])
        bench.core.value.pause(consumer, true, into: &bench.effects.value)
        #expect(bench.publish("paused", flags: .atMostOnce).given.isEmpty)
        #expect(bench.core.value.counters.droppedSlow == 2)
        #expect(bench.depth(queue) == (0, 0))
    }

    @Test("A long backlog is given out in pieces, in order") func pieces() {
        var limits = CoreLimits()
        limits.deliveriesPerPump = 10
        let bench = CoreBench(limits: limits)
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        for number in 0..<25 { bench.publish("\(number)") }
        _ = bench.consumer(queue, token: 1)
        var texts = bench.pump(queue).map(\.text)
        #expect(texts.count == 10)
        while bench.core.value.isUnfinished {
            bench.core.value.continuePumping(into: &bench.effects.value)
            texts += bench.take().map(\.text)
        }
        #expect(texts == (0..<25).map { "\($0)" })
    }

    @Test("Random commands never lose, double or reorder what is settled", arguments: 0..<20 as Range<UInt64>) func random(seed: UInt64) {
        var random = SeededRandom(seed)
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        var consumers: [ConsumerID] = [], held: [Given] = [], accepted: Set<String> = [], published = 0, token: UInt32 = 1
        for _ in 0..<400 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                held += bench.publish("\(published)").given
                published += 1
            case 4 where consumers.count < 4:
                consumers.append(bench.consumer(queue, token: token, limit: UInt32.random(in: 0...5, using: &random)))
                token += 1
                held += bench.pump(queue)
            case 5 where consumers.count > 1:
                let gone = consumers.remove(at: Int.random(in: 0..<consumers.count, using: &random))
                let goneToken = bench.token(gone)
                held.removeAll { $0.token == goneToken }
                bench.core.value.removeConsumer(gone)
                held += bench.pump(queue)
            case 6 where !held.isEmpty:
                let one = held.remove(at: Int.random(in: 0..<held.count, using: &random))
                held += bench.settle(queue, one.position, .requeued) ?? []
            default:
                guard !held.isEmpty else { continue }
                let one = held.remove(at: Int.random(in: 0..<held.count, using: &random))
                #expect(accepted.insert(one.text).inserted, "accepted twice")
                held += bench.settle(queue, one.position, .accepted) ?? []
            }
        }
        if consumers.isEmpty { consumers.append(bench.consumer(queue, token: token)) }
        held += bench.pump(queue)
        while !held.isEmpty {
            let one = held.removeFirst()
            #expect(accepted.insert(one.text).inserted, "accepted twice")
            held += bench.settle(queue, one.position, .accepted) ?? []
        }
        #expect(accepted.count == published)
        #expect(bench.core.value.storedBytes == 0)
    }
}
