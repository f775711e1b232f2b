import MartletBytes
import MartletCollections
import MartletCore
import MartletSimulation
import Testing

/// Hubs, bindings and the match cache, without any protocol.
@Suite struct RoutingTests {
    @Test(
        "A topic pattern matches as MQTT and AMQP say",
        arguments: [
            ("a/b", "a/b", true), ("a/b", "a/c", false), ("a/+", "a/b", true), ("a/+", "a", false), ("a/+", "a/b/c", false), ("+", "a", true),
            ("+/+", "/finance", true), ("+", "/finance", false), ("/+", "/finance", true), ("a/#", "a", true), ("a/#", "a/b/c", true), ("#", "a/b", true),
            ("a/#", "ab", false), ("+/b/#", "a/b", true), ("a//b", "a//b", true), ("a/+/b", "a//b", true), ("a/b", "a/b/", false), ("a/b/+", "a/b/", true),
            ("#/b", "b", true), ("#/b", "a/x/b", true), ("#/b", "a/b/c", false), ("a/#/z", "a/z", true), ("a/#/z", "a/b/c/z", true), ("a/#/z", "a/b/zz", false),
            ("#/#", "a", true), ("#/+", "a", true), ("a/#/+/c", "a/c", false), ("a/#/+/c", "a/b/c", true), ("a/#/#/c", "a/c", true), ("#/a/#", "x/a/y/z", true),
        ])
    func patterns(pattern: String, address: String, matches: Bool) {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, pattern)
        #expect((bench.publish("x", to: address).outcome == .routed) == matches)
        #expect(Address.matches(Array(pattern.utf8).span, Array(address.utf8).span) == matches)
    }

    @Test("Matcher and one-against-one comparison agree on random patterns", arguments: 0..<10 as Range<UInt64>) func agreement(seed: UInt64) {
        var random = SeededRandom(seed)
        func levels(_ choice: [String]) -> String {
            (0..<Int.random(in: 1...5, using: &random)).map { _ in choice.randomElement(using: &random)! }.joined(separator: "/")
        }
        for _ in 0..<60 {
            let bench = CoreBench()
            let patterns = (0..<8).map { _ in levels(["a", "b", "", "+", "#"]) }
            let queues = patterns.map { pattern in
                let queue = bench.queue()
                bench.bind(queue, pattern)
                return queue
            }
            // Some bindings go again, so that nodes are removed too.
            for index in queues.indices where index % 3 == 0 {
                #expect(bench.core.value.unbind(queues[index], from: bench.router.meetingPoint, .address(Array(patterns[index].utf8))) == true)
            }
            for _ in 0..<10 {
                let address = levels(["a", "b", "c", ""])
                bench.publish("x", to: address)
                for (index, queue) in queues.enumerated() {
                    let expected = index % 3 != 0 && Address.matches(Array(patterns[index].utf8).span, Array(address.utf8).span)
                    #expect(bench.depth(queue).0 == (expected ? 1 : 0), "\(patterns[index]) against \(address)")
                    bench.core.value.purge(queue, into: &bench.effects.value)
                }
            }
        }
    }

    @Test("A reserved address is spared by wildcards in the first level that say so") func reserved() {
        let bench = CoreBench()
        let sparing = bench.queue(), literal = bench.queue(), greedy = bench.queue()
        for pattern in ["#", "+/x", "+/#"] { bench.bind(sparing, pattern, BindingOptions(flags: .sparesReserved)) }
        bench.bind(literal, "$SYS/#", BindingOptions(flags: .sparesReserved))
        bench.bind(greedy, "#")
        bench.publish("x", to: "$SYS/x")
        #expect(bench.depth(sparing) == (0, 0))
        #expect(bench.depth(literal) == (1, 0))
        #expect(bench.depth(greedy) == (1, 0))
    }

    @Test("A target comes once, with all its matched bindings and the largest option") func overlapping() {
        let bench = CoreBench()
        let queue = bench.queue { $0.passesAtMostOnce = true }
        bench.bind(queue, "a/#", BindingOptions(flags: .atMostOnce, opaque: 1, tag: 7))
        bench.bind(queue, "a/+", BindingOptions(opaque: 5, tag: 8))
        bench.bind(queue, "other", BindingOptions(opaque: 9, tag: 9))
        _ = bench.consumer(queue, token: 1)
        let address = Array("a/b".utf8)
        let message = Message(
            hub: bench.router.meetingPoint, address: address.span, properties: Span(), body: Span(), header: MessageHeader(origin: bench.gateway))
        _ = bench.core.value.publish(message, into: &bench.effects.value)
        #expect(bench.effects.value.deliveries.count == 1)
        let delivery = bench.effects.value.deliveries[0]
        #expect(delivery.opaque == 5)
        #expect(delivery.settles)
        #expect(bench.core.value.matches(delivery.matches).map(\.tag) == [8, 7])
    }

    @Test("Binding again changes the options and adds nothing") func rebinding() {
        let bench = CoreBench()
        let queue = bench.queue()
        #expect(bench.core.value.bind(queue, to: bench.router.meetingPoint, .address(Array("a".utf8)), BindingOptions(opaque: 1)) == true)
        #expect(bench.core.value.bind(queue, to: bench.router.meetingPoint, .address(Array("a".utf8)), BindingOptions(opaque: 2)) == false)
        #expect(bench.router.bindingCount == 1)
        _ = bench.consumer(queue, token: 1)
        let address = Array("a".utf8)
        let message = Message(
            hub: bench.router.meetingPoint, address: address.span, properties: Span(), body: Span(), header: MessageHeader(origin: bench.gateway))
        _ = bench.core.value.publish(message, into: &bench.effects.value)
        #expect(bench.effects.value.deliveries.count == 1)
        #expect(bench.effects.value.deliveries[0].opaque == 2)
    }

    @Test("A hub bound to a hub passes on, in a circle too, each target once") func hubToHub() {
        let bench = CoreBench()
        let second = bench.router.declareHub(Array("second".utf8), .fanout)
        let queue = bench.queue()
        bench.bind(queue, "", hub: second)
        bench.bind(queue, "a/b")
        #expect(bench.publish("before", to: "a/x").outcome == .unroutable)
        #expect(bench.router.bind(bench.router.meetingPoint, .address(Array("a/#".utf8)), to: second))
        #expect(bench.router.bind(second, .address([]), to: bench.router.meetingPoint))
        #expect(bench.publish("x", to: "a/b").outcome == .routed)
        #expect(bench.publish("y", to: "a/x").outcome == .routed)
        #expect(bench.depth(queue) == (2, 0))
        #expect(bench.router.unbind(bench.router.meetingPoint, .address(Array("a/#".utf8)), from: second))
        #expect(bench.publish("after", to: "a/x").outcome == .unroutable)
    }

    @Test("A change behind a hub binding reaches routes of the hub in front") func changesBehindHubs() {
        let bench = CoreBench()
        let second = bench.router.declareHub(Array("second".utf8), .direct)
        bench.router.bind(bench.router.meetingPoint, .address(Array("#".utf8)), to: second)
        #expect(bench.publish("x", to: "k").outcome == .unroutable)
        bench.bind(bench.queue(), "k", hub: second)
        #expect(bench.publish("x", to: "k").outcome == .routed)
    }

    @Test("Nobody takes it: the alternate hub does, until it is taken away") func alternate() {
        let bench = CoreBench()
        let hub = bench.router.declareHub(Array("h".utf8), .direct), other = bench.router.declareHub(Array("o".utf8), .fanout)
        let lost = bench.queue()
        bench.bind(lost, "", hub: other)
        #expect(bench.publish("1", to: "k", hub: hub).outcome == .unroutable)
        bench.router.setAlternate(of: hub, to: other)
        #expect(bench.publish("2", to: "k", hub: hub).outcome == .routed)
        bench.bind(bench.queue(), "k", hub: hub)
        #expect(bench.publish("3", to: "k", hub: hub).outcome == .routed)
        #expect(bench.depth(lost) == (1, 0))
    }

    @Test("Direct, by key; fanout, by nothing") func directAndFanout() {
        let bench = CoreBench()
        let direct = bench.router.declareHub(Array("d".utf8), .direct), fanout = bench.router.declareHub(Array("f".utf8), .fanout)
        let one = bench.queue(), two = bench.queue()
        bench.bind(one, "a", hub: direct)
        bench.bind(two, "a", hub: direct)
        bench.bind(two, "b", hub: direct)
        bench.bind(one, "", hub: fanout)
        #expect(bench.publish("x", to: "a", hub: direct).outcome == .routed)
        #expect(bench.publish("x", to: "b", hub: direct).outcome == .routed)
        #expect(bench.publish("x", to: "a/b", hub: direct).outcome == .unroutable)
        #expect(bench.publish("x", to: "whatever", hub: fanout).outcome == .routed)
        #expect(bench.depth(one) == (2, 0))
        #expect(bench.depth(two) == (2, 0))
        #expect(bench.core.value.unbind(two, from: direct, .address(Array("b".utf8))) == true)
        #expect(bench.core.value.unbind(two, from: direct, .address(Array("b".utf8))) == false)
        #expect(bench.publish("x", to: "b", hub: direct).outcome == .unroutable)
    }

    /// One header a property: `name=value;`.
    private struct PlainHeaders: HeaderReader {
        func header(_ name: [UInt8], in properties: Span<UInt8>) -> [UInt8]? {
            for pair in properties.text.split(separator: ";") where pair.hasPrefix(String(decoding: name, as: UTF8.self) + "=") {
                return Array(pair.split(separator: "=")[1].utf8)
            }
            return nil
        }
    }

    @Test("A headers hub asks for all or any, for a value or mere presence, and is never cached") func headers() {
        let bench = CoreBench()
        bench.router.register(PlainHeaders(), for: bench.gateway)
        let hub = bench.router.declareHub(Array("h".utf8), .headers)
        let all = bench.queue(), any = bench.queue(), present = bench.queue()
        let a = Array("a".utf8), b = Array("b".utf8), one = Array("1".utf8)
        bench.core.value.bind(all, to: hub, .headers(HeaderCondition(.all, [a: one, b: one])))
        bench.core.value.bind(any, to: hub, .headers(HeaderCondition(.any, [a: one, b: one])))
        bench.core.value.bind(present, to: hub, .headers(HeaderCondition(.all, [b: nil])))
        func publish(_ headers: String) { _ = bench.publish("x", to: "same", hub: hub, properties: Array(headers.utf8)) }
        publish("a=1;b=1;")
        #expect([all, any, present].map { bench.depth($0).0 } == [1, 1, 1])
        publish("a=1;")
        #expect([all, any, present].map { bench.depth($0).0 } == [1, 2, 1])
        publish("b=2;")
        #expect([all, any, present].map { bench.depth($0).0 } == [1, 2, 2])
        publish("")
        #expect([all, any, present].map { bench.depth($0).0 } == [1, 2, 2])
        #expect(bench.core.value.cachedRoutes == 0)
    }

    @Test("Another literal subscription leaves a cached route where it is; one that matches drops it") func preciseInvalidation() {
        let bench = CoreBench()
        bench.bind(bench.queue(), "a/b")
        bench.publish("x", to: "a/b")
        bench.publish("x", to: "a/c")
        #expect(bench.core.value.cachedRoutes == 2)
        bench.bind(bench.queue(), "x/y")
        bench.publish("x", to: "a/b")
        #expect(bench.core.value.cachedRoutes == 2)
        let queue = bench.queue()
        bench.bind(queue, "a/+")
        bench.publish("x", to: "zzz")
        #expect(bench.core.value.cachedRoutes == 1)
        #expect(bench.publish("x", to: "a/c").outcome == .routed)
        bench.core.value.deleteQueue(queue, into: &bench.effects.value)
        #expect(bench.publish("x", to: "a/c").outcome == .unroutable)
        #expect(bench.publish("x", to: "a/b").outcome == .routed)
    }

    @Test("More changes than are remembered start the cache anew") func manyChanges() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        bench.publish("x")
        for number in 0..<3000 { bench.bind(queue, "n/\(number)") }
        bench.core.value.deleteQueue(queue, into: &bench.effects.value)
        #expect(bench.publish("x").outcome == .unroutable)
        #expect(bench.router.bindingCount == 0)
    }

    @Test("A publisher's own queue is spared by no-local") func noLocal() {
        let bench = CoreBench()
        let own = bench.queue(), other = bench.queue()
        bench.bind(own, "a/b", BindingOptions(flags: .noLocal))
        bench.bind(other, "a/b", BindingOptions(flags: .noLocal))
        bench.publish("x", publisherQueue: own)
        #expect(bench.depth(own) == (0, 0))
        #expect(bench.depth(other) == (1, 0))
    }
}
