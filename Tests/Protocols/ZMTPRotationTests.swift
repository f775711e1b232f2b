import MartletZMTPProtocol
import Testing

/// Turns against a set of those who can.
@Suite("ZMTP turns")
struct ZMTPRotationTests {
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

    @Test("Everybody who can has a turn once a round, whoever comes and goes", arguments: 0..<30)
    func rotation(seed: UInt64) {
        var random = Random(state: seed), rotation = ZMTPRotation(), all: Set<UInt32> = [], able: Set<UInt32> = []
        for _ in 0..<300 {
            let peer = UInt32.random(in: 0..<8, using: &random)
            switch Int.random(in: 0..<5, using: &random) {
            case 0 where !all.contains(peer):
                rotation.insert(peer)
                all.insert(peer)
                able.insert(peer)
            case 1:
                rotation.remove(peer)
                all.remove(peer)
                able.remove(peer)
            case 2:
                rotation.activate(peer)
                if all.contains(peer) { able.insert(peer) }
            case 3:
                rotation.deactivate(peer)
                able.remove(peer)
            default: rotation.advance(more: false)
            }
            #expect(rotation.count == all.count && rotation.activeCount == able.count)
            var copy = rotation, round: [UInt32] = []
            for _ in 0..<able.count {
                if let next = copy.next { round.append(next) }
                copy.advance(more: false)
            }
            #expect(Set(round) == able && round.count == able.count && (rotation.next == nil) == able.isEmpty)
        }
    }

    @Test("A message of several frames stays with one peer")
    func heldTurn() {
        var rotation = ZMTPRotation()
        for peer in 1...3 as ClosedRange<UInt32> { rotation.insert(peer) }
        let first = rotation.next
        rotation.advance(more: true)
        #expect(rotation.next == first && rotation.holdsTurn)
        rotation.advance(more: false)
        #expect(rotation.next != first && !rotation.holdsTurn)
        rotation.advance(more: true)
        if let peer = rotation.next { rotation.remove(peer) }
        #expect(!rotation.holdsTurn && rotation.count == 2)
    }
}
