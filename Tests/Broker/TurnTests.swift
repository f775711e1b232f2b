import MartletBytes
import MartletCollections
import MartletCore
import MartletSimulation
import Testing

/// Whose turn it is, among many consumers of which few can take anything.
@Suite struct TurnTests {
    @Test("Consumers that are full are passed over in turn and come back in the order in which they could take again") func turns() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.core.value.bind(queue, to: bench.router.meetingPoint, .address(Array("a/b".utf8)))
        for token: UInt32 in 1...4 { _ = bench.core.value.addConsumer(to: queue, gateway: bench.gateway, token: token, limit: 1) }
        var given: [CoreBench.Given] = []
        for number in 1...7 { given += bench.publish("\(number)").given }
        #expect(given.map(\.token) == [1, 2, 3, 4])
        func ack(_ token: UInt32) -> [UInt32] {
            let position = given.last { $0.token == token }?.position ?? 0
            _ = bench.core.value.settle(queue, position, .accepted, into: &bench.effects.value)
            let new = bench.take()
            given += new
            return new.map(\.token)
        }
        #expect(ack(3) == [3])
        #expect(ack(1) == [1])
        #expect(ack(3) == [3])
        #expect(ack(4) == [] && ack(2) == [] && ack(1) == [])
        #expect((8...10).flatMap { bench.publish("\($0)").given.map(\.token) } == [4, 2, 1])
        #expect(bench.publish("11").given.isEmpty)
    }

    @Test("Nothing waits while a consumer can take it, whatever was full, paused, shared or cancelled before", arguments: 0..<40 as Range<UInt64>)
    func nobodyIsForgotten(seed: UInt64) {
        var random = SeededRandom(seed &+ 4711)
        let bench = CoreBench()
        let queues = [bench.queue(), bench.queue()], addresses = ["a/0", "a/1"]
        for (queue, address) in zip(queues, addresses) { bench.core.value.bind(queue, to: bench.router.meetingPoint, .address(Array(address.utf8))) }
        final class Taker {
            let id: ConsumerID
            let queue: Int, limit: Int, credit: Int?
            var isPaused = false
            var held: [UInt64] = []
            init(_ id: ConsumerID, _ queue: Int, _ limit: Int, _ credit: Int?) { (self.id, self.queue, self.limit, self.credit) = (id, queue, limit, credit) }
        }
        let credits = (0..<2).map { _ in bench.core.value.openCredit(limit: 2) }
        var creditLimits = [2, 2], takers: [UInt32: Taker] = [:], lastToken: UInt32 = 0, orphans: [(queue: Int, position: UInt64, credit: Int?)] = []
        func book(_ given: [CoreBench.Given]) { for one in given { takers[one.token]?.held.append(one.position) } }
        func used(_ credit: Int) -> Int {
            takers.values.filter { $0.credit == credit }.reduce(0) { $0 + $1.held.count } + orphans.filter { $0.credit == credit }.count
        }
        for _ in 0..<600 {
            let queue = Int.random(in: 0..<2, using: &random), taker = takers.values.sorted { $0.id.number < $1.id.number }.randomElement(using: &random)
            switch Int.random(in: 0..<12, using: &random) {
            case 0..<4: book(bench.publish("m", to: addresses[queue]).given)
            case 4, 5:
                guard let taker, let position = taker.held.randomElement(using: &random) else { continue }
                taker.held.removeAll { $0 == position }
                let settlement = [Settlement.accepted, .requeued].randomElement(using: &random)!
                _ = bench.core.value.settle(queues[taker.queue], position, settlement, into: &bench.effects.value)
                book(bench.take())
            case 6, 7:
                guard takers.count < 9 else { continue }
                lastToken += 1
                let limit = Int.random(in: 0...2, using: &random), credit = [nil, 0, 1].randomElement(using: &random)!
                let id = bench.core.value.addConsumer(
                    to: queues[queue], gateway: bench.gateway, token: lastToken, limit: UInt32(limit), credit: credit.map { credits[$0] } ?? .none)
                takers[lastToken] = Taker(id, queue, limit, credit)
                bench.core.value.pump(queues[queue], into: &bench.effects.value)
                book(bench.take())
            case 8, 9:
                guard let taker else { continue }
                taker.isPaused.toggle()
                bench.core.value.pause(taker.id, taker.isPaused, into: &bench.effects.value)
                book(bench.take())
            case 10:
                let credit = Int.random(in: 0..<2, using: &random)
                creditLimits[credit] = Int.random(in: 0...4, using: &random)
                bench.core.value.setLimit(of: credits[credit], to: UInt32(creditLimits[credit]), into: &bench.effects.value)
                book(bench.take())
            default:
                if let orphan = orphans.popLast() {
                    _ = bench.core.value.settle(queues[orphan.queue], orphan.position, .accepted, into: &bench.effects.value)
                } else if let taker {
                    bench.core.value.cancelConsumer(taker.id)
                    orphans += taker.held.map { (taker.queue, $0, taker.credit) }
                    takers = takers.filter { $0.value !== taker }
                }
                book(bench.take())
            }
            for (index, queue) in queues.enumerated() where bench.core.value.depth(of: queue).ready > 0 {
                let able = takers.values.filter { taker in
                    guard taker.queue == index, !taker.isPaused, taker.limit == 0 || taker.held.count < taker.limit else { return false }
                    return taker.credit.map { creditLimits[$0] == 0 || used($0) < creditLimits[$0] } ?? true
                }
                #expect(able.isEmpty, "\(able.count) could take of \(index)")
            }
        }
    }

    @Test("A queue that goes gives the limit its consumers share to those of other queues") func sharedLimitOfDeletedQueue() {
        let bench = CoreBench()
        let queues = [bench.queue(), bench.queue()], credit = bench.core.value.openCredit(limit: 2)
        for (number, queue) in queues.enumerated() {
            bench.core.value.bind(queue, to: bench.router.meetingPoint, .address(Array("a/\(number)".utf8)))
            _ = bench.core.value.addConsumer(to: queue, gateway: bench.gateway, token: UInt32(number), credit: credit)
            _ = bench.core.value.addConsumer(to: queue, gateway: bench.gateway, token: UInt32(number), credit: credit)
        }
        #expect((1...2).flatMap { bench.publish("\($0)", to: "a/0").given }.count == 2)
        #expect((3...5).flatMap { bench.publish("\($0)", to: "a/1").given }.isEmpty)
        bench.core.value.deleteQueue(queues[0], into: &bench.effects.value)
        #expect(bench.take().map(\.text) == ["3", "4"])
    }

    @Test("A queue with twenty thousand busy consumers costs no more for it", .timeLimit(.minutes(10))) func manyBusy() {
        let bench = CoreBench()
        let queue = bench.queue()
        bench.core.value.bind(queue, to: bench.router.meetingPoint, .address(Array("a/b".utf8)))
        for token: UInt32 in 1...20_000 { _ = bench.core.value.addConsumer(to: queue, gateway: bench.gateway, token: token, limit: 1) }
        var given: [CoreBench.Given] = []
        for _ in 0..<40_000 { given += bench.publish("m").given }
        #expect(given.count == 20_000)
        var index = 0
        while index < given.count {
            _ = bench.core.value.settle(queue, given[index].position, .accepted, into: &bench.effects.value)
            if bench.core.value.isUnfinished { bench.core.value.continuePumping(into: &bench.effects.value) }
            given += bench.take()
            index += 1
        }
        #expect(given.count == 40_000)
        #expect(Set(given.map(\.token)).count == 20_000)
    }
}
