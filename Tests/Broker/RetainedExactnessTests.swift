import MartletBytes
import MartletCollections
import MartletCore
import MartletSimulation
import Testing

/// A retained publication comes to a binding live or by replay: never both, never neither.
@Suite struct RetainedExactnessTests {
    @Test("A binding made after a message was stored, and before its letter comes, gets it by replay alone") func lateLetter() {
        let router = Router()
        let one = CoreBench(shard: 0, shards: 2, router: router), two = CoreBench(shard: 1, shards: 2, router: router)
        let early = RetainedTests.session(two, token: 1), late = RetainedTests.session(two, token: 2)
        two.bind(early, "a/+", RetainedTests.lossy, replay: .ifNew)
        one.publish("x", flags: .retained)
        two.bind(late, "a/b", BindingOptions(opaque: 1, tag: 5), replay: .ifNew)
        #expect(one.send(to: two).map(\.token) == [1])
        let replayed = two.finishTicks()
        #expect(replayed.map(\.token) == [2])
        one.publish("y", flags: .retained)
        #expect(one.send(to: two).map(\.token).sorted() == [1, 2])
        #expect(two.finishTicks() == [])
        // Bound again, a binding is as old as it was.
        one.publish("z", flags: .retained)
        two.bind(early, "a/+", RetainedTests.lossy, replay: .none)
        #expect(one.send(to: two).map(\.token).sorted() == [1, 2])
    }

    /// What one binding must have got, and did.
    private struct Subscriber {
        let shard: Int
        let queue: QueueID
        let token: UInt32
        var isBound = false
        /// By address: the last number stored when it was bound, and all stored since.
        var expected: [String: Int] = [:]
        var live: [Int] = []
    }

    @Test(
        "No miss and no double, however binds, publications and letters fall together",
        arguments: [1, 2, 4], 0..<12 as Range<UInt64>)
    func interleavings(shards: Int, seed: UInt64) {
        var random = SeededRandom(seed &* 7 + UInt64(shards))
        let router = Router()
        let benches = (0..<shards).map { CoreBench(shard: UInt8($0), shards: shards, router: router) }
        let addresses = (0..<12).map { "t/\($0 % 3)/\($0)" }
        var kept: [String: Int] = [:]
        var got: [UInt32: [Int]] = [:]
        var subscribers: [Subscriber] = []
        var number = 0
        func take(_ given: [CoreBench.Given]) { for delivery in given { got[delivery.token, default: []].append(Int(delivery.text)!) } }
        func settleDown() {
            // Letters lead to no letters here: nobody waits for an acknowledgement.
            for from in 0..<shards { for to in 0..<shards where to != from { take(benches[from].send(to: benches[to])) } }
            for bench in benches { take(bench.finishTicks()) }
        }
        for round in 0..<300 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                number += 1
                let address = addresses.randomElement(using: &random)!, shard = Int.random(in: 0..<shards, using: &random)
                kept[address] = number
                for index in subscribers.indices where subscribers[index].isBound { subscribers[index].live.append(number) }
                take(benches[shard].publish("\(number)", to: address, flags: .retained).given)
            case 5, 6:
                let shard = Int.random(in: 0..<shards, using: &random), token = UInt32(round + 1)
                let queue = RetainedTests.session(benches[shard], token: token)
                let pattern = ["#", "t/#", "t/+/+"].randomElement(using: &random)!
                let options = Bool.random(using: &random) ? RetainedTests.lossy : BindingOptions(opaque: 2, tag: 3)
                benches[shard].bind(queue, pattern, options, replay: .ifNew)
                subscribers.append(Subscriber(shard: shard, queue: queue, token: token, isBound: true, expected: kept))
            case 7:
                let from = Int.random(in: 0..<shards, using: &random), to = Int.random(in: 0..<shards, using: &random)
                if from != to { take(benches[from].send(to: benches[to])) }
            default:
                let bench = benches.randomElement(using: &random)!
                bench.core.value.continuePumping(into: &bench.effects.value)
                take(bench.take())
            }
        }
        settleDown()
        for subscriber in subscribers {
            let numbers = got[subscriber.token, default: []]
            #expect(Set(numbers).count == numbers.count, "doubles for \(subscriber.token)")
            #expect(Set(subscriber.live).isSubset(of: numbers), "misses a live one: \(subscriber.token)")
            // What was kept at the bind came by replay, unless it was replaced before its turn.
            let replayed = Set(numbers).subtracting(subscriber.live)
            #expect(replayed.isSubset(of: subscriber.expected.values), "not of this time: \(subscriber.token)")
            let untouched = subscriber.expected.filter { kept[$0.key] == $0.value }.map(\.value)
            #expect(replayed.isSuperset(of: untouched), "misses a kept one: \(subscriber.token)")
        }
    }
}
