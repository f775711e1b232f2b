import MartletCollections
import Testing

struct PositionTableTests {
    @Test("Holds what a dictionary holds, whatever comes and goes", arguments: 0..<8 as Range<UInt64>) func model(seed: UInt64) {
        var random = Generator(state: seed &* 0x9E37_79B9_7F4A_7C15 | 1)
        var table = PositionTable<UInt64>()
        var model: [UInt64: UInt64] = [:]
        let veryOldest = seed + 1
        var newest: UInt64 = seed
        for step in 0..<1500 {
            switch random.next() % 8 {
            // Neighbours in time, and now and then one that meets others' homes: a power of two away.
            case 0...3:
                newest += newest > seed && random.next() % 16 == 0 ? 1 << (3 + random.next() % 9) : 1
                table.insert(newest &* 3, at: newest)
                model[newest] = newest &* 3
            case 4:
                let position = random.next() % (newest + 2)
                #expect(table.value(at: position) == model[position])
            case 5:
                let position = random.next() % (newest + 2)
                #expect(table.remove(position) == model.removeValue(forKey: position))
            default:
                // Mostly the oldest goes, but the very oldest may stay for ever.
                guard let oldest = model.keys.filter({ seed % 2 == 1 || $0 != veryOldest }).min() else { continue }
                #expect(table.remove(oldest) == model.removeValue(forKey: oldest))
            }
            #expect(table.count == model.count)
            if step % 500 == 0 { for (position, value) in model { #expect(table.value(at: position) == value) } }
        }
        #expect(table.positions.sorted() == model.keys.sorted())
    }

    private struct Generator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return state
        }
    }
}
