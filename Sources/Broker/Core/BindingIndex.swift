import MartletCollections

/// (hub, the pattern's place in its matcher, target) -> binding, so that one among a million under a pattern is found at once.
/// Open addressing over binding numbers; what they stand for is read from the bindings themselves.
struct BindingIndex {
    private var numbers = [UInt32](repeating: 0, count: 16)
    private var count = 0
    private let seed = UInt64.random(in: .min ... .max)

    private func home(_ hub: HubID, _ place: UInt32, _ target: Binding.Target) -> Int {
        let (kind, number): (UInt64, UInt32) =
            switch target {
            case .queue(let queue, let shard): (UInt64(shard), queue.number)
            case .hub(let hub): (1 << 8, hub.number)
            }
        let first = (seed ^ UInt64(place) << 32 ^ UInt64(number)).multipliedFullWidth(by: 0xE703_7ED1_A0B4_28DB)
        let second = (first.high ^ first.low ^ UInt64(hub.number) << 16 ^ kind).multipliedFullWidth(by: 0x8EBC_6AF0_9C88_C6E3)
        return Int(truncatingIfNeeded: second.high ^ second.low) & (numbers.count - 1)
    }

    private func home(of number: UInt32, _ bindings: borrowing Slab<Binding>) -> Int {
        home(bindings[number].hub, bindings[number].matcherPlace, bindings[number].target)
    }

    /// The binding, or 0.
    func find(_ hub: HubID, _ place: UInt32, _ target: Binding.Target, in bindings: borrowing Slab<Binding>) -> UInt32 {
        var index = home(hub, place, target)
        while numbers[index] != 0 {
            let number = numbers[index]
            if bindings[number].matcherPlace == place, bindings[number].target == target, bindings[number].hub == hub { return number }
            index = (index + 1) & (numbers.count - 1)
        }
        return 0
    }

    /// Adds a binding that its matcher has placed.
    mutating func insert(_ number: UInt32, in bindings: borrowing Slab<Binding>) {
        if (count + 1) * 4 > numbers.count * 3 {
            let old = numbers
            numbers = [UInt32](repeating: 0, count: old.count * 2)
            for number in old where number != 0 { put(number, bindings) }
        }
        put(number, bindings)
        count += 1
    }

    private mutating func put(_ number: UInt32, _ bindings: borrowing Slab<Binding>) {
        var index = home(of: number, bindings)
        while numbers[index] != 0 { index = (index + 1) & (numbers.count - 1) }
        numbers[index] = number
    }

    /// Takes a binding out, while its matcher still has it.
    mutating func remove(_ number: UInt32, in bindings: borrowing Slab<Binding>) {
        let mask = numbers.count - 1
        var gap = home(of: number, bindings)
        while numbers[gap] != number {
            precondition(numbers[gap] != 0, "no such binding")
            gap = (gap + 1) & mask
        }
        count -= 1
        var index = (gap + 1) & mask
        while numbers[index] != 0 {
            if (index - home(of: numbers[index], bindings)) & mask >= (index - gap) & mask {
                numbers[gap] = numbers[index]
                gap = index
            }
            index = (index + 1) & mask
        }
        numbers[gap] = 0
    }
}
