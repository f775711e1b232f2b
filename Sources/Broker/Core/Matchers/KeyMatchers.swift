import MartletBytes
import MartletCollections

/// One key, one list: what is published under exactly the key a target is bound with.
final class DirectMatcher: Matcher {
    private var keys: [[UInt8]: Int] = [:]
    private var lists: [(key: [UInt8], first: UInt32)] = []
    private var free: [Int] = []

    var dependsOnAddressOnly: Bool { true }

    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>) {
        let key = pattern.address
        var place = keys[key] ?? -1
        if place < 0 {
            place = free.popLast() ?? lists.count
            if place == lists.count { lists.append((key, 0)) } else { lists[place] = (key, 0) }
            keys[key] = place
        }
        bindings.link(number, before: &lists[place].first, place: UInt32(place))
    }

    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) {
        let place = Int(bindings[number].matcherPlace)
        bindings.unlink(number, from: &lists[place].first)
        if lists[place].first == 0 {
            keys[lists[place].key] = nil
            lists[place].key = []
            free.append(place)
        }
    }

    func find(_ target: Binding.Target, under pattern: Pattern, in bindings: borrowing Slab<Binding>) -> UInt32 {
        keys[pattern.address].map { bindings.find(target, from: lists[$0].first) } ?? 0
    }

    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern { .address(lists[Int(bindings[number].matcherPlace)].key) }

    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32]) {
        if let place = keys[message.address.array] { bindings.append(all: lists[place].first, to: &found) }
    }
}

/// Everything goes to everyone; the address says nothing.
final class FanoutMatcher: Matcher {
    private var first: UInt32 = 0

    var dependsOnAddressOnly: Bool { true }

    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>) { bindings.link(number, before: &first, place: 0) }
    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) { bindings.unlink(number, from: &first) }
    func find(_ target: Binding.Target, under pattern: Pattern, in bindings: borrowing Slab<Binding>) -> UInt32 { bindings.find(target, from: first) }
    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern { .address([]) }
    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32]) {
        bindings.append(all: first, to: &found)
    }
}

/// Conditions on headers, looked at one by one for each message: the address does not decide, so nothing is cached.
final class HeadersMatcher: Matcher {
    private var conditions: [UInt32: HeaderCondition] = [:]
    /// In the order of binding, so that matches come in that order too.
    private var order: [UInt32] = []

    var dependsOnAddressOnly: Bool { false }

    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>) {
        guard case .headers(let condition) = pattern else { return }
        conditions[number] = condition
        order.append(number)
    }

    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) {
        conditions[number] = nil
        order.removeAll { $0 == number }
    }

    func find(_ target: Binding.Target, under pattern: Pattern, in bindings: borrowing Slab<Binding>) -> UInt32 {
        guard case .headers(let condition) = pattern else { return 0 }
        for number in order where bindings[number].target == target && conditions[number] == condition { return number }
        return 0
    }

    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern { .headers(conditions[number] ?? HeaderCondition(.all, [:])) }

    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32]) {
        for number in order {
            guard let condition = conditions[number] else { continue }
            var met = condition.quantifier == .all
            for (name, wanted) in condition.fields {
                let value = headers?.header(name, in: message.properties)
                let holds = value != nil && (wanted == nil || value == wanted)
                if condition.quantifier == .any, holds { met = true; break }
                if condition.quantifier == .all, !holds { met = false; break }
            }
            if met { found.append(number) }
        }
    }
}
