import MartletBytes
import MartletCore
import Testing

/// Hubs that come and go, lead to each other, and spell addresses their own way.
@Suite struct HubTests {
    @Test(
        "Patterns with dots match as AMQP's do",
        arguments: [
            ("a.*.c", "a.b.c", true), ("a.*.c", "a.c", false), ("a.#", "a", true), ("#", "", true), ("*", "", false), ("*", "a", true), ("", "", true),
            ("#.b", "b", true), ("a.#.b.*", "a.x.y.b.c", true), ("a/+", "a/b", false), ("a/+", "a/+", true), ("a..b", "a..b", true), ("a.*.b", "a..b", true),
        ]) func dots(pattern: String, address: String, matches: Bool)
    {
        let bench = CoreBench()
        let hub = bench.router.declareHub(Array("x".utf8), .topic, spelled: .dots)
        bench.bind(bench.queue(), pattern, hub: hub)
        #expect((bench.publish("m", to: address, hub: hub).outcome == .routed) == matches)
        #expect(Address.matches(Array(pattern.utf8).span, Array(address.utf8).span, spelled: .dots) == matches)
    }

    @Test("A change of bindings with dots reaches the routes it concerns") func cacheWithDots() {
        let bench = CoreBench()
        let hub = bench.router.declareHub(Array("x".utf8), .topic, spelled: .dots)
        #expect(bench.publish("1", to: "a.b", hub: hub).outcome == .unroutable)
        let queue = bench.queue()
        bench.bind(queue, "a.*", hub: hub)
        #expect(bench.publish("2", to: "a.b", hub: hub).outcome == .routed)
        #expect(bench.core.value.unbind(queue, from: hub, .address(Array("a.*".utf8))) == true)
        #expect(bench.publish("3", to: "a.b", hub: hub).outcome == .unroutable)
    }

    @Test("An address is spelled anew where a message goes on to a hub that spells otherwise") func respelled() {
        let bench = CoreBench()
        let dots = bench.router.declareHub(Array("x".utf8), .topic, spelled: .dots), queue = bench.queue(), back = bench.queue()
        bench.router.bind(dots, .address(Array("a.#".utf8)), to: bench.router.meetingPoint)
        bench.bind(queue, "a/b%2Fc/+")
        #expect(bench.publish("1", to: "a.b/c.d", hub: dots).outcome == .routed)
        #expect(bench.depth(queue) == (1, 0))
        bench.router.bind(bench.router.meetingPoint, .address(Array("#".utf8)), to: dots)
        bench.bind(back, "v1%2E2.*", hub: dots)
        #expect(bench.publish("2", to: "v1.2/x").outcome == .routed)
        #expect(bench.depth(back) == (1, 0))
    }

    @Test("A hub that is removed takes its bindings along, and those that lead to it") func removal() {
        let bench = CoreBench()
        let before = bench.router.bindingCount
        let first = bench.router.declareHub(Array("1".utf8), .fanout), second = bench.router.declareHub(Array("2".utf8), .direct)
        let queue = bench.queue(), other = bench.queue()
        bench.bind(queue, "", hub: first)
        bench.bind(queue, "k", hub: second)
        bench.bind(queue, "a/b")
        bench.bind(other, "", hub: first)
        bench.router.bind(first, .address([]), to: second)
        bench.router.setAlternate(of: first, to: second)
        bench.core.value.removeHub(second)
        #expect(bench.router.bindingCount(of: first) == 2)
        #expect(bench.publish("1", to: "k", hub: first).outcome == .routed)
        bench.core.value.removeHub(first)
        #expect(bench.router.bindingCount == before + 1)
        #expect(bench.publish("2").outcome == .routed)
        #expect(bench.router.hub(Array("1".utf8)) == nil)
        bench.core.value.deleteQueue(queue, into: &bench.effects.value)
        bench.core.value.deleteQueue(other, into: &bench.effects.value)
        #expect(bench.router.bindingCount == before)
    }

    @Test("A removed hub's number waits for the last message that came through it") func numbers() {
        let bench = CoreBench()
        let hub = bench.router.declareHub(Array("1".utf8), .fanout), queue = bench.queue()
        bench.bind(queue, "", hub: hub)
        bench.publish("m", to: "k", hub: hub)
        bench.core.value.removeHub(hub)
        #expect(bench.core.value.hasForgottenHubs == false)
        #expect(bench.router.declareHub(Array("2".utf8), .fanout) != hub)
        bench.core.value.purge(queue, into: &bench.effects.value)
        var forgotten: [HubID] = []
        bench.core.value.takeForgottenHubs { forgotten.append($0) }
        #expect(forgotten == [hub])
        #expect(bench.router.declareHub(Array("3".utf8), .fanout) == hub)
    }

    @Test("A hub none of whose bindings match asks its alternate, also behind another hub") func alternates() {
        let bench = CoreBench()
        let front = bench.router.declareHub(Array("front".utf8), .fanout), middle = bench.router.declareHub(Array("middle".utf8), .direct)
        let last = bench.router.declareHub(Array("last".utf8), .fanout), lost = bench.queue(), direct = bench.queue()
        bench.router.bind(front, .address([]), to: middle)
        bench.router.setAlternate(of: middle, to: last)
        bench.bind(lost, "", hub: last)
        bench.bind(direct, "", hub: front)
        #expect(bench.publish("1", to: "k", hub: front).outcome == .routed)
        #expect(bench.depth(lost) == (1, 0))
        #expect(bench.depth(direct) == (1, 0))
        bench.bind(direct, "k", hub: middle)
        bench.publish("2", to: "k", hub: front)
        #expect(bench.depth(lost) == (1, 0))
        #expect(bench.depth(direct) == (2, 0))
    }

    @Test("What is taken without a consumer is settled like anything else, or done with") func taking() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.bind(queue, "a/b")
        for text in ["1", "2", "3"] { bench.publish(text) }
        let first = bench.core.value.take(from: queue, settles: true, into: &bench.effects.value)
        let second = bench.core.value.take(from: queue, settles: false, into: &bench.effects.value)
        #expect(first?.ready == 2)
        #expect(second?.ready == 1)
        bench.core.value.finish(&bench.effects.value)
        #expect(bench.depth(queue) == (1, 1))
        #expect(bench.core.value.settle(queue, first?.position ?? 0, .requeued, into: &bench.effects.value) == true)
        let again = bench.core.value.take(from: queue, settles: true, into: &bench.effects.value)
        #expect(again?.isRedelivered == true)
        #expect(again?.position == first?.position)
    }

    @Test("A consumer that is cancelled keeps what it holds, and counts for a shared limit until that is settled") func cancelled() {
        let bench = CoreBench()
        let queue = bench.queue(), credit = bench.core.value.openCredit(limit: 2)
        bench.bind(queue, "a/b")
        let first = bench.core.value.addConsumer(to: queue, gateway: bench.gateway, token: 1)
        for text in ["1", "2", "3"] { bench.publish(text) }
        bench.core.value.share(credit, with: first)
        bench.core.value.cancelConsumer(first)
        _ = bench.core.value.addConsumer(to: queue, gateway: bench.gateway, token: 2, credit: credit)
        #expect(bench.publish("4").given == [])
        #expect(bench.depth(queue) == (1, 3))
        for position in [1, 2] as [UInt64] { #expect(bench.core.value.settle(queue, position, .accepted, into: &bench.effects.value) == true) }
        #expect(bench.take().map(\.text) == ["4"])
        #expect(bench.core.value.settle(queue, 3, .requeued, into: &bench.effects.value) == true)
        #expect(bench.take().map(\.text) == ["3"])
    }
}
