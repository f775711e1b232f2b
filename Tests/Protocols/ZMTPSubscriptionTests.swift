import MartletBytes
import MartletCollections
import MartletZMTPProtocol
import Testing

/// The subscriptions' tree against a list of prefixes.
@Suite("ZMTP subscriptions")
struct ZMTPSubscriptionTests {
    /// splitmix64, as in the laws.
    private struct Random: RandomNumberGenerator {
        var state: UInt64

        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    private static func topic(_ random: inout Random) -> [UInt8] {
        let letters: [UInt8] = [97, 97, 98, 0, 255]
        var topic: [UInt8] = []
        for _ in 0..<Int.random(in: 0...6, using: &random) { topic.append(letters[Int.random(in: 0..<5, using: &random)]) }
        return topic
    }

    private static func add(_ table: inout ZMTPSubscriptions, _ topic: [UInt8], _ peer: UInt32) -> ZMTPSubscriptions.Change {
        table.add(topic.span, for: peer)
    }

    private static func remove(_ table: inout ZMTPSubscriptions, _ topic: [UInt8], _ peer: UInt32) -> ZMTPSubscriptions.Change {
        table.remove(topic.span, for: peer)
    }

    private static func isBefore(_ a: [UInt8], _ b: [UInt8]) -> Bool { a.lexicographicallyPrecedes(b) }

    private static func copy(_ bytes: Span<UInt8>) -> [UInt8] {
        var copy: [UInt8] = []
        for at in bytes.indices { copy.append(bytes[at]) }
        return copy
    }

    private static func removeAll(_ table: inout ZMTPSubscriptions, _ peer: UInt32) -> [[UInt8]] {
        var gone: [[UInt8]] = []
        table.removeAll(for: peer) { topic, change in if change == .last { gone.append(Self.copy(topic)) } }
        return gone.sorted(by: isBefore)
    }

    private static func all(_ table: borrowing ZMTPSubscriptions) -> [[UInt8]] {
        var told: [[UInt8]] = []
        table.forEach { told.append(Self.copy($0)) }
        return told.sorted(by: isBefore)
    }

    private static func matched(_ table: inout ZMTPSubscriptions, _ message: [UInt8]) -> [UInt32] {
        var found = Scratch<UInt32>()
        table.match(message.span, into: &found)
        var peers: [UInt32] = []
        for index in 0..<found.count { peers.append(found[index]) }
        return peers.sorted()
    }

    private static func matched(_ table: inout ZMTPSubscriptions, whole group: [UInt8]) -> [UInt32] {
        var found = Scratch<UInt32>()
        table.match(whole: group.span, into: &found)
        return (0..<found.count).map { found[$0] }.sorted()
    }

    private static func wants(_ table: borrowing ZMTPSubscriptions, _ message: [UInt8]) -> [Bool] {
        [table.wants(message.span), table.wants(whole: message.span)]
    }

    private static func isMatched(_ table: borrowing ZMTPSubscriptions) -> [UInt32] { (0..<5).filter { table.isMatched($0) } }

    /// One subscription; the model is a list of them.
    private struct Wish: Equatable {
        var peer: UInt32
        var topic: [UInt8]
    }

    @Test("Subscriptions match as a list of prefixes does, and change as it does", arguments: 0..<40)
    func subscriptions(seed: UInt64) {
        var random = Random(state: seed), table = ZMTPSubscriptions(seed: seed), wishes: [Wish] = []
        for _ in 0..<400 {
            let peer = UInt32.random(in: 0..<5, using: &random), topic = Self.topic(&random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<5:
                let isFirst = !wishes.contains { $0.topic == topic }
                wishes.append(Wish(peer: peer, topic: topic))
                let change = Self.add(&table, topic, peer)
                #expect(change == (isFirst ? .first : .shared))
            case 5..<9:
                let index = wishes.firstIndex(of: Wish(peer: peer, topic: topic))
                if let index { wishes.remove(at: index) }
                let isWanted = wishes.contains { $0.topic == topic }, change = Self.remove(&table, topic, peer)
                #expect(change == (index == nil ? .missing : isWanted ? .shared : .last))
            default:
                let had = wishes.filter { $0.peer == peer }
                wishes.removeAll { $0.peer == peer }
                let lost = Set(had.map(\.topic)).subtracting(wishes.map(\.topic))
                let gone = Self.removeAll(&table, peer)
                #expect(gone == lost.sorted(by: Self.isBefore))
            }
            let message = Self.topic(&random)
            let expected = Set(wishes.filter { message.starts(with: $0.topic) }.map(\.peer)).sorted()
            let matched = Self.matched(&table, message), count = table.count(of: peer)
            #expect(matched == expected)
            let isMatched = Self.isMatched(table)
            #expect(isMatched == expected)
            let exact = Set(wishes.filter { message == $0.topic }.map(\.peer)).sorted(), exactlyMatched = Self.matched(&table, whole: message)
            #expect(exactlyMatched == exact)
            let wants = Self.wants(table, message), distinct = table.count
            #expect(wants == [!expected.isEmpty, !exact.isEmpty])
            #expect(distinct == Set(wishes.map { "\($0.peer) \($0.topic)" }).count)
            #expect(count == wishes.count { $0.peer == peer })
        }
        let told = Self.all(table)
        #expect(told == Set(wishes.map(\.topic)).sorted(by: Self.isBefore))
        for peer in 0..<5 as Range<UInt32> { _ = Self.removeAll(&table, peer) }
        let isEmpty = table.isEmpty, nodes = table.nodeCount
        #expect(isEmpty && nodes == 1)
    }

    @Test("A subscription costs two nodes at most, however long it is, and gives them back")
    func nodes() {
        var table = ZMTPSubscriptions(seed: 1)
        for number in 0..<100 {
            var topic = [UInt8](repeating: 97, count: 40 * number)
            topic.append(UInt8(number))
            _ = Self.add(&table, topic, 1)
        }
        let nodes = table.nodeCount
        #expect(nodes <= 201)
        for number in (0..<100).shuffled() {
            var topic = [UInt8](repeating: 97, count: 40 * number)
            topic.append(UInt8(number))
            let change = Self.remove(&table, topic, 1)
            #expect(change == .last)
        }
        let left = table.nodeCount
        #expect(left == 1)
    }
}
