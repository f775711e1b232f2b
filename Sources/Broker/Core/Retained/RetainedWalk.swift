import MartletBytes
import MartletCollections

/// What one step may take. A walk over many nodes takes time, too, when it finds nothing.
public struct ReplayBudget: Sendable, Equatable {
    public var messages: Int
    public var bytes: Int
    public var nodes: Int

    public init(messages: Int, bytes: Int, nodes: Int) {
        self.messages = messages
        self.bytes = bytes
        self.nodes = nodes
    }

    func less(_ used: ReplayBudget) -> ReplayBudget {
        ReplayBudget(messages: messages - used.messages, bytes: bytes - used.bytes, nodes: nodes - used.nodes)
    }

    var isUsedUp: Bool { messages <= 0 || bytes <= 0 || nodes <= 0 }
}

/// A way through what a hub keeps, to all that matches a pattern and was stored up to a version; taken in steps.
///
/// Between steps the nodes where it goes on are pinned: they stay in the tree. What is added to it meanwhile is too young for the walk.
struct RetainedWalk: Sendable {
    /// A list of siblings from `node` on, each of which has what the pattern says before `rest`.
    struct Place: BitwiseCopyable, Sendable {
        var node: UInt32
        var rest: UInt32
    }
    let hub: HubID
    let pattern: [UInt8]
    /// The last version that is of interest.
    let version: UInt64
    /// The pattern is a key: its wildcards are none.
    let isLiteral: Bool
    let sparesReserved: Bool
    /// What the queue of this serial number published is passed over; 0: nothing is.
    var spared: UInt64 = 0
    /// What follows the first `#` is looked at message by message.
    let compares: Bool
    var places: [Place] = []
    var isBegun = false

    init(_ hub: HubID, _ kind: Hub.Kind, _ pattern: [UInt8], version: UInt64, sparesReserved: Bool) {
        self.hub = hub
        self.pattern = kind == .fanout ? [AddressSpelling.slashes.anyLevels] : pattern
        self.version = version
        isLiteral = kind == .direct
        self.sparesReserved = sparesReserved
        let hasMore = Self.hasLevelsAfterAny(pattern.span)
        compares = kind == .topic && hasMore
    }

    private static func hasLevelsAfterAny(_ pattern: Span<UInt8>) -> Bool {
        var start = 0
        while start <= pattern.count {
            let end = AddressSpelling.slashes.endOfLevel(pattern, from: start)
            if end - start == 1, pattern[start] == AddressSpelling.slashes.anyLevels { return end < pattern.count }
            start = end + 1
        }
        return false
    }

    func isWildcard(_ start: Int, _ end: Int) -> Bool { !isLiteral && AddressSpelling.slashes.isWildcard(pattern.span, start, end) }
}

/// What one step of a walk found.
struct RetainedStep: ~Copyable {
    let isLast: Bool
    /// One behind the other (`Message.append`).
    let messages: ByteBuffer
}

extension Retained {
    /// A walk to what matches the pattern and is kept now; nil if it is easy to see that nothing does.
    func walk(_ hub: HubID, _ kind: Hub.Kind, _ pattern: Pattern, sparesReserved: Bool) -> RetainedWalk? {
        guard count > 0, root(of: hub) != 0, case .address(let bytes) = pattern else { return nil }
        let walk = RetainedWalk(hub, kind, bytes, version: version, sparesReserved: sparesReserved)
        let (node, rest) = follow(walk, from: root(of: hub), 0)
        guard node != 0, rest <= walk.pattern.count || tree[node].value.message != 0 else { return nil }
        return walk
    }

    /// Follows a pattern's levels up to the next wildcard: the node and where that stands, past the end if there is none. Node 0: nothing there.
    private func follow(_ walk: RetainedWalk, from first: UInt32, _ start: Int) -> (UInt32, Int) {
        let pattern = walk.pattern.span
        var node = first, start = start
        while node != 0, start <= pattern.count {
            let end = AddressSpelling.slashes.endOfLevel(pattern, from: start)
            if walk.isWildcard(start, end) { break }
            node = tree.child(of: node, pattern.extracting(start..<end))
            start = end + 1
        }
        return (node, start)
    }

    /// Goes on with a walk, as far as the budget goes.
    mutating func step(_ walk: inout RetainedWalk, _ budget: inout ReplayBudget, at now: WallTime) -> RetainedStep {
        var bytes = ByteBuffer()
        let pinned = walk.places
        for place in pinned { tree[place.node].value.pins -= 1 }
        if !walk.isBegun {
            walk.isBegun = true
            visit(root(of: walk.hub), 0, &walk, &budget, now, &bytes)
        }
        while !budget.isUsedUp, let place = walk.places.last {
            let node = tree[place.node].value
            if node.next == 0 { walk.places.removeLast() } else { walk.places[walk.places.count - 1].node = node.next }
            budget.nodes -= 1
            if walk.sparesReserved, node.isReserved { continue }
            visit(place.node, Int(place.rest), &walk, &budget, now, &bytes)
        }
        for place in walk.places { tree[place.node].value.pins += 1 }
        for place in pinned { prune(place.node) }
        return RetainedStep(isLast: walk.places.isEmpty, messages: bytes)
    }

    private func visit(
        _ first: UInt32, _ start: Int, _ walk: inout RetainedWalk, _ budget: inout ReplayBudget, _ now: WallTime, _ bytes: inout ByteBuffer
    ) {
        let (node, rest) = follow(walk, from: first, start)
        guard node != 0 else { return }
        let place = tree[node].value
        guard rest <= walk.pattern.count else { return take(place.message, walk, &budget, now, &bytes) }
        let isAny = walk.pattern[rest] == AddressSpelling.slashes.anyLevels
        if isAny { take(place.message, walk, &budget, now, &bytes) }
        if place.firstChild != 0 { walk.places.append(RetainedWalk.Place(node: place.firstChild, rest: UInt32(isAny ? rest : rest + 2))) }
    }

    private func take(_ number: UInt32, _ walk: RetainedWalk, _ budget: inout ReplayBudget, _ now: WallTime, _ bytes: inout ByteBuffer) {
        guard walk.spared == 0 || number == 0 || kept[number].publisher != walk.spared else { return }
        guard number != 0, versions[Int(number)] <= walk.version, kept[number].message.header.expiry > now else { return }
        let message = kept[number].message.message
        if walk.compares, !Address.matches(walk.pattern.span, message.address) { return }
        message.append(to: &bytes)
        budget.messages -= 1
        budget.bytes -= message.byteCount
    }

    /// A walk that nobody goes on with.
    mutating func abandon(_ walk: RetainedWalk) {
        for place in walk.places { tree[place.node].value.pins -= 1 }
        for place in walk.places { prune(place.node) }
    }
}
