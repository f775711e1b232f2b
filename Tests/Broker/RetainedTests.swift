import MartletBytes
import MartletCollections
import MartletCore
import MartletSimulation
import Testing

/// What a hub keeps for whoever binds later, without any protocol.
@Suite struct RetainedTests {
    static let lossy = BindingOptions(flags: [.atMostOnce, .sparesReserved])

    /// A session with a consumer that is given what it may lose.
    static func session(_ bench: CoreBench, token: UInt32 = 1) -> QueueID {
        let queue = bench.queue { $0.passesAtMostOnce = true }
        _ = bench.consumer(queue, token: token)
        return queue
    }

    static func replay(_ bench: CoreBench, _ pattern: String, _ options: BindingOptions = lossy, hub: HubID? = nil) -> [String] {
        let queue = session(bench)
        bench.bind(queue, pattern, hub: hub, options, replay: .always)
        let given = bench.finishTicks()
        #expect(given.filter { !$0.isReplay } == [])
        bench.core.value.deleteQueue(queue, into: &bench.effects.value)
        return given.map(\.text).sorted()
    }

    @Test("The last message of an address is kept, and an empty one removes it") func storeReplaceRemove() {
        let bench = CoreBench()
        #expect(bench.publish("1", to: "a", flags: .retained).outcome == .unroutable)
        bench.publish("2", to: "a", flags: .retained)
        bench.publish("not kept", to: "a")
        bench.publish("x", to: "a/b", flags: .retained)
        #expect(bench.router.retainedCount == 2)
        #expect(bench.router.retainedBytes == 6)
        #expect(Self.replay(bench, "a") == ["2"])
        #expect(Self.replay(bench, "a/#") == ["2", "x"])
        bench.publish("", to: "a", flags: .retained)
        bench.publish("", to: "never kept", flags: .retained)
        #expect(Self.replay(bench, "a/#") == ["x"])
        bench.publish("", to: "a/b", flags: .retained)
        #expect(bench.router.retainedCount == 0)
        #expect(bench.router.retainedBytes == 0)
        #expect(Self.replay(bench, "#") == [])
    }

    @Test("A message is kept with its header and properties, and comes with the binding's options") func kept() {
        let bench = CoreBench()
        var header = MessageHeader(origin: GatewayID(3), flags: [.retained, .persistent])
        header.priority = 7
        header.expiry = WallTime(milliseconds: 5000)
        let address = Array("a/b".utf8), properties = Array("p".utf8), body = Array("x".utf8)
        let message = Message(hub: bench.router.meetingPoint, address: address.span, properties: properties.span, body: body.span, header: header)
        _ = bench.core.value.publish(message, into: &bench.effects.value)
        let queue = Self.session(bench)
        bench.bind(queue, "a/+", BindingOptions(opaque: 513, tag: 77), replay: .ifNew)
        bench.core.value.continuePumping(into: &bench.effects.value)
        #expect(bench.effects.value.deliveries.count == 1)
        let delivery = bench.effects.value.deliveries[0]
        #expect(delivery.settles && delivery.isReplay && !delivery.isRedelivered)
        #expect(delivery.opaque == 513)
        #expect(bench.core.value.matches(delivery.matches).map(\.tag) == [77])
        bench.core.value.withMessage(delivery.message) { message in
            #expect(message.header.origin == GatewayID(3) && message.header.priority == 7)
            #expect(message.header.expiry == WallTime(milliseconds: 5000) && message.header.flags == [.retained, .persistent])
            #expect(message.properties.text == "p" && message.body.text == "x" && message.address.text == "a/b")
        }
        _ = bench.take()
        #expect(bench.settle(queue, delivery.position, .requeued)?.map(\.isReplay) == [true])
        #expect(bench.settle(queue, delivery.position, .accepted) == [])
        #expect(bench.depth(queue) == (0, 0))
        #expect(bench.core.value.storedBytes == 0)
    }

    @Test("Replay is for new bindings, for all, or for none") func options() {
        let bench = CoreBench()
        bench.publish("x", to: "a", flags: .retained)
        let queue = Self.session(bench)
        for (replay, count) in [(RetainedReplay.none, 0), (.ifNew, 0), (.always, 1), (.always, 1), (.ifNew, 0)] {
            bench.bind(queue, "a", Self.lossy, replay: replay)
            #expect(bench.finishTicks().count == count)
        }
        #expect(bench.core.value.unbind(queue, from: bench.router.meetingPoint, .address(Array("a".utf8))) == true)
        bench.bind(queue, "a", Self.lossy, replay: .ifNew)
        bench.bind(queue, "a", Self.lossy, replay: .always)
        #expect(bench.finishTicks().count == 1, "a second replay through a binding takes the place of the first")
        bench.bind(queue, "a", Self.lossy, replay: .always)
        #expect(bench.core.value.unbind(queue, from: bench.router.meetingPoint, .address(Array("a".utf8))) == true)
        #expect(bench.finishTicks() == [])
    }

    @Test("What matches a pattern is replayed, as one against one says", arguments: 0..<20 as Range<UInt64>) func agreement(seed: UInt64) {
        var random = SeededRandom(seed)
        func levels(_ choice: [String]) -> String {
            (0..<Int.random(in: 1...5, using: &random)).map { _ in choice.randomElement(using: &random)! }.joined(separator: "/")
        }
        let bench = CoreBench()
        var kept: Set<String> = []
        for _ in 0..<150 {
            let address = levels(["a", "b", "c", "", "$x", "a level of more than sixteen bytes"])
            let isRemoved = Int.random(in: 0..<4, using: &random) == 0
            bench.publish(isRemoved ? "" : address, to: address, flags: .retained)
            if isRemoved { kept.remove(address) } else if !address.isEmpty { kept.insert(address) }
            guard Int.random(in: 0..<3, using: &random) == 0 else { continue }
            let pattern = levels(["a", "b", "", "+", "#", "$x", "a level of more than sixteen bytes"])
            let sparing = Bool.random(using: &random)
            let expected = kept.filter { address in
                guard Address.matches(Array(pattern.utf8).span, Array(address.utf8).span) else { return false }
                return !(sparing && address.hasPrefix("$") && (pattern.hasPrefix("+") || pattern.hasPrefix("#")))
            }
            let options = BindingOptions(flags: sparing ? [.atMostOnce, .sparesReserved] : .atMostOnce)
            #expect(Self.replay(bench, pattern, options) == expected.sorted(), "\(pattern)")
        }
        for address in kept { bench.publish("", to: address, flags: .retained) }
        #expect(bench.router.retainedCount == 0)
    }

    @Test("Direct hubs keep by key, fanout hubs all, and each hub its own") func hubs() {
        let bench = CoreBench()
        let direct = bench.router.declareHub(Array("d".utf8), .direct), fanout = bench.router.declareHub(Array("f".utf8), .fanout)
        for hub in [direct, fanout] { for address in ["a", "+"] { bench.publish(address, to: address, hub: hub, flags: .retained) } }
        #expect(Self.replay(bench, "+", hub: direct) == ["+"])
        #expect(Self.replay(bench, "whatever", hub: fanout) == ["+", "a"])
        #expect(Self.replay(bench, "#") == [])
    }

    @Test("A paused consumer's replay of 20,000 waits, goes on where it was, and skips what came live") func paused() {
        let bench = CoreBench()
        for number in 0..<20_000 { bench.publish("\(number)", to: "n/\(number % 100)/\(number)", flags: .retained) }
        let queue = bench.queue { $0.passesAtMostOnce = true }
        let consumer = bench.consumer(queue, token: 1)
        bench.bind(queue, "n/#", Self.lossy, replay: .ifNew)
        var texts: [String] = []
        var ticks = 0
        while bench.core.value.isUnfinished {
            bench.core.value.continuePumping(into: &bench.effects.value)
            #expect(bench.effects.value.deliveries.count <= 256)
            texts += bench.take().map(\.text)
            ticks += 1
            guard ticks % 10 == 0 else { continue }
            bench.core.value.pause(consumer, true, into: &bench.effects.value)
            #expect(bench.finishTicks() == [])
            // Removed, replaced and added meanwhile, also where the walk stands; live copies are lost to a paused consumer.
            for number in stride(from: ticks, to: 20_000, by: 997) { bench.publish("", to: "n/\(number % 100)/\(number)", flags: .retained) }
            for number in stride(from: ticks + 1, to: 20_000, by: 1009) { bench.publish("later", to: "n/\(number % 100)/\(number)", flags: .retained) }
            for number in 0..<50 { bench.publish("later", to: "n/\(number)/later\(ticks)", flags: .retained) }
            #expect(bench.core.value.isUnfinished == false)
            bench.core.value.pause(consumer, false, into: &bench.effects.value)
            #expect(bench.core.value.isUnfinished == true)
        }
        #expect(ticks >= 20_000 / 256)
        #expect(Set(texts).count == texts.count)
        #expect(!texts.contains("later"))
        #expect(texts.count > 19_000)
        #expect(bench.core.value.counters.replayed == UInt64(texts.count))
        #expect(bench.core.value.storedBytes == 0)
    }

    @Test("A replay that is settled keeps a bounded backlog, and goes on with the next consumer") func backlog() {
        let bench = CoreBench()
        for number in 0..<3000 { bench.publish("\(number)", to: "n/\(number)", flags: .retained) }
        let queue = bench.queue { $0.passesAtMostOnce = true }
        let consumer = bench.consumer(queue, token: 1, limit: 10)
        bench.bind(queue, "#", replay: .ifNew)
        var given = bench.finishTicks()
        #expect(given.count == 10)
        #expect(bench.depth(queue).0 <= 1000)
        #expect(bench.core.value.isUnfinished == false)
        bench.core.value.removeConsumer(consumer)
        #expect(bench.finishTicks() == [])
        _ = bench.consumer(queue, token: 2)
        given = bench.pump(queue) + bench.finishTicks()
        #expect(Set(given.map(\.text)).count == 3000)
        #expect(given.count == 3000)
        #expect(given.allSatisfy { $0.isReplay })
    }

    @Test("Without a consumer, a replay that may be lost is given up; a deleted queue's replays go") func givenUp() {
        let bench = CoreBench()
        for number in 0..<1000 { bench.publish("\(number)", to: "n/\(number)", flags: .retained) }
        let queue = bench.queue { $0.passesAtMostOnce = true }
        bench.bind(queue, "#", Self.lossy, replay: .ifNew)
        #expect(bench.core.value.isUnfinished == false)
        let consumer = bench.consumer(queue, token: 1)
        bench.bind(queue, "#", Self.lossy, replay: .always)
        bench.core.value.continuePumping(into: &bench.effects.value)
        #expect(bench.take().count == 256)
        bench.core.value.removeConsumer(consumer)
        _ = bench.consumer(queue, token: 2)
        #expect(bench.pump(queue) + bench.finishTicks() == [])
        for pattern in ["#", "n/#", "n/+"] { bench.bind(queue, pattern, Self.lossy, replay: .always) }
        bench.core.value.continuePumping(into: &bench.effects.value)
        #expect(bench.take().count == 256)
        bench.core.value.deleteQueue(queue, into: &bench.effects.value)
        #expect(bench.finishTicks() == [])
        for number in 0..<1000 { bench.publish("", to: "n/\(number)", flags: .retained) }
        #expect(bench.router.retainedCount == 0)
        #expect(Self.replay(bench, "#") == [])
    }

    @Test("Several replays of one queue run in order") func inOrder() {
        let bench = CoreBench()
        for number in 0..<600 { bench.publish("\(number)", to: "n/\(number)", flags: .retained) }
        bench.publish("last", to: "z", flags: .retained)
        let queue = Self.session(bench)
        for pattern in ["n/#", "z", "n/+"] { bench.bind(queue, pattern, Self.lossy, replay: .always) }
        let given = bench.finishTicks().map(\.text)
        #expect(given.count == 1201)
        #expect(given.firstIndex(of: "last") == 600)
    }

    @Test("What has expired is not replayed, and leaves") func expiry() {
        let bench = CoreBench()
        bench.core.value.heard(at: Instant(nanoseconds: 0), WallTime(milliseconds: 1000))
        for number in 0..<3000 { bench.publish("x", to: "n/\(number)", flags: .retained, expiry: WallTime(milliseconds: 2000)) }
        for number in 0..<1000 { bench.publish("y", to: "n/\(number)", flags: .retained, expiry: WallTime(milliseconds: 9000)) }
        #expect(Self.replay(bench, "n/#").count == 3000)
        bench.core.value.heard(at: Instant(nanoseconds: 0), WallTime(milliseconds: 2000))
        #expect(Self.replay(bench, "n/#") == [String](repeating: "y", count: 1000))
        for _ in 0..<3 { bench.core.value.wake(at: Instant(nanoseconds: 0), into: &bench.effects.value) }
        #expect(bench.router.retainedCount == 1000)
        bench.core.value.heard(at: Instant(nanoseconds: 0), WallTime(milliseconds: 9000))
        #expect(Self.replay(bench, "n/#") == [])
        bench.core.value.wake(at: Instant(nanoseconds: 0), into: &bench.effects.value)
        #expect(bench.router.retainedCount == 0)
        #expect(bench.router.retainedBytes == 0)
    }

    @Test("Beyond the limits a retained publication is refused as a whole") func limits() {
        var limits = CoreLimits()
        limits.retainedMessagesMax = 2
        limits.retainedBytesMax = 10
        let bench = CoreBench(limits: limits)
        let queue = bench.queue()
        bench.bind(queue, "#")
        #expect(bench.publish("123", to: "a", flags: .retained).outcome == .routed)
        #expect(bench.publish("1234567", to: "b", flags: .retained).outcome == .refused, "too many bytes")
        #expect(bench.publish("123", to: "b", flags: .retained).outcome == .routed)
        #expect(bench.publish("", to: "c", flags: .retained).outcome == .routed)
        #expect(bench.publish("1", to: "c", flags: .retained).outcome == .refused, "too many messages")
        #expect(bench.publish("12345", to: "a", flags: .retained).outcome == .routed, "in place of another")
        #expect(bench.publish("1", to: "c").outcome == .routed)
        #expect(bench.depth(queue).0 == 5)
        #expect(bench.core.value.counters.retainedRefused == 2)
        #expect(bench.core.value.counters.refused == 2)
        #expect(bench.router.retainedBytes == 10)
        let publisher = bench.core.value.openPublisher(gateway: bench.gateway, token: 1)
        #expect(bench.publish("1", to: "c", from: publisher, tag: 1, flags: [.persistent, .retained]) == .refused)
    }

    @Test("A farewell may be kept; a rejected message is not kept again") func farewellAndRejection() {
        let bench = CoreBench()
        let reject = bench.router.declareHub(Array("rejected".utf8), .fanout)
        let identity = Array("me".utf8), address = Array("status".utf8), body = Array("gone".utf8)
        _ = bench.router.claim(identity.span, for: 0)
        let endpoint = bench.core.value.openEndpoint(identity.span, gateway: bench.gateway, queue: QueuePolicy(), lifetime: .zero)
        let header = MessageHeader(origin: bench.gateway, flags: .retained)
        bench.core.value.setFarewell(
            endpoint, Message(hub: bench.router.meetingPoint, address: address.span, properties: Span(), body: body.span, header: header),
            into: &bench.effects.value)
        #expect(bench.router.retainedCount == 0)
        #expect(bench.core.value.detach(endpoint, lost: true, into: &bench.effects.value) == true)
        #expect(Self.replay(bench, "status") == ["gone"])
        let queue = bench.queue { $0.rejectHub = reject }
        _ = bench.consumer(queue, token: 1)
        bench.bind(queue, "a")
        let given = bench.publish("x", to: "a", flags: .retained).given
        bench.settle(queue, given[0].position, .rejected)
        #expect(bench.router.retainedCount == 2)
        #expect(Self.replay(bench, "", hub: reject) == [])
    }

    @Test("Endpoints that are opened and deleted leave no deadlines behind") func deadlines() {
        let bench = CoreBench()
        let identity = Array("me".utf8)
        for _ in 0..<10_000 {
            _ = bench.router.claim(identity.span, for: 0)
            let endpoint = bench.core.value.openEndpoint(identity.span, gateway: bench.gateway, queue: QueuePolicy(), lifetime: .seconds(600))
            #expect(bench.core.value.detach(endpoint, lost: true, into: &bench.effects.value) == false)
            bench.core.value.deleteEndpoint(endpoint, into: &bench.effects.value)
        }
        #expect(bench.core.value.scheduledEndpointCount <= 200)
    }

    @Test("A kept message waits for the disk, as a durable queue's does") func journaled() {
        let bench = CoreBench(isJournaled: true)
        let publisher = bench.core.value.openPublisher(gateway: bench.gateway, token: 1)
        #expect(bench.publish("x", from: publisher, tag: 1, flags: .persistent) == .unroutable)
        #expect(bench.publish("x", from: publisher, tag: 2, flags: [.persistent, .retained]) == nil)
        bench.core.value.journalCompleted(upTo: bench.effects.value.lastTicket, into: &bench.effects.value)
        #expect(bench.takeAcknowledgements().map(\.tag) == [2])
    }
}
