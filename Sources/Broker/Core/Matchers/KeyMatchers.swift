import MartletBytes
import MartletCollections

/// One list of bindings for each distinct key, by place from 1 up.
struct KeyedLists<Key: Hashable> {
    private(set) var places: [Key: Int] = [:]
    private var lists: [(key: Key?, first: UInt32)] = [(nil, 0)]
    private var free: [Int] = []

    func find(_ key: Key) -> UInt32 { UInt32(places[key] ?? 0) }
    func first(at place: Int) -> UInt32 { lists[place].first }
    func key(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Key? { lists[Int(bindings[number].matcherPlace)].key }

    mutating func bind(_ number: UInt32, under key: Key, in bindings: inout Slab<Binding>) {
        var place = places[key] ?? 0
        if place == 0 {
            place = free.popLast() ?? lists.count
            if place == lists.count { lists.append((key, 0)) } else { lists[place] = (key, 0) }
            places[key] = place
        }
        bindings.link(number, before: &lists[place].first, place: UInt32(place))
    }

    mutating func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) {
        let place = Int(bindings[number].matcherPlace)
        bindings.unlink(number, from: &lists[place].first)
        guard lists[place].first == 0, let key = lists[place].key else { return }
        places[key] = nil
        lists[place].key = nil
        free.append(place)
    }
}

/// What is published under exactly the key a target is bound with.
final class DirectMatcher: Matcher {
    private var lists = KeyedLists<[UInt8]>()

    var dependsOnAddressOnly: Bool { true }

    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>) { lists.bind(number, under: pattern.address, in: &bindings) }
    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) { lists.unbind(number, in: &bindings) }
    func find(_ pattern: Pattern) -> UInt32 { lists.find(pattern.address) }
    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern { .address(lists.key(of: number, in: bindings) ?? []) }

    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32]) {
        let place = lists.find(message.address.array)
        if place != 0 { bindings.append(all: lists.first(at: Int(place)), to: &found) }
    }
}

/// Everything goes to everyone; the address says nothing. A binding's key only tells it from the others of its target.
final class FanoutMatcher: Matcher {
    private var lists = KeyedLists<[UInt8]>()

    var dependsOnAddressOnly: Bool { true }

    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>) { lists.bind(number, under: pattern.address, in: &bindings) }
    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) { lists.unbind(number, in: &bindings) }
    func find(_ pattern: Pattern) -> UInt32 { lists.find(pattern.address) }
    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern { .address(lists.key(of: number, in: bindings) ?? []) }
    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32]) {
        for place in lists.places.values { bindings.append(all: lists.first(at: place), to: &found) }
    }
}

/// Conditions on headers, looked at one by one for each message: the address does not decide, so nothing is cached.
final class HeadersMatcher: Matcher {
    private var lists = KeyedLists<HeaderCondition>()

    var dependsOnAddressOnly: Bool { false }

    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>) {
        if case .headers(let condition) = pattern { lists.bind(number, under: condition, in: &bindings) }
    }
    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) { lists.unbind(number, in: &bindings) }
    func find(_ pattern: Pattern) -> UInt32 {
        guard case .headers(let condition) = pattern else { return 0 }
        return lists.find(condition)
    }
    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern {
        .headers(lists.key(of: number, in: bindings) ?? HeaderCondition(.all, [:]))
    }

    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32]) {
        for (condition, place) in lists.places {
            var met = condition.quantifier == .all
            for (name, wanted) in condition.fields {
                let value = headers?.header(name, in: message.properties)
                let holds = value != nil && (wanted == nil || value == wanted)
                if condition.quantifier == .any, holds { met = true; break }
                if condition.quantifier == .all, !holds { met = false; break }
            }
            if met { bindings.append(all: lists.first(at: place), to: &found) }
        }
    }
}
