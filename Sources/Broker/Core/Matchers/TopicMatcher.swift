import MartletBytes
import MartletCollections

/// Patterns with wildcards as a tree of levels, in flat arrays: nodes by number, an edge found by (parent, level).
///
/// Invariant: a node without bindings and children does not exist (but the root). Not here: caching (see `MatchCache`).
final class TopicMatcher: Matcher {
    private struct Node {
        var parent: UInt32
        /// Where its edge is looked for; unused for wildcard nodes.
        var hash: UInt32
        var oneLevel: UInt32 = 0
        var anyLevels: UInt32 = 0
        var firstBinding: UInt32 = 0
        var literalChildren: UInt32 = 0

        var isUnused: Bool { firstBinding == 0 && literalChildren == 0 && oneLevel == 0 && anyLevels == 0 }
    }
    /// A free place has `child == 0`.
    private struct Edge {
        var parent: UInt32 = 0
        var child: UInt32 = 0
        var hash: UInt32 = 0
        var text: UInt32 = 0
        var count: UInt16 = 0
    }
    private static let root: UInt32 = 1
    private var nodes = [Node(parent: 0, hash: 0), Node(parent: 0, hash: 0)]
    private var freeNodes: [UInt32] = []
    private var edges = [Edge](repeating: Edge(), count: 64)
    private var edgeCount = 0
    /// The literal levels' bytes; `garbage` of them belong to no edge any more.
    private var text: [UInt8] = []
    private var garbage = 0
    private let seed = UInt64.random(in: .min ... .max)

    var dependsOnAddressOnly: Bool { true }

    // MARK: Edges

    private func hash(_ parent: UInt32, _ level: Span<UInt8>) -> UInt32 {
        UInt32(truncatingIfNeeded: level.hash(seed: seed ^ UInt64(parent) &* 0x9E37_79B9_7F4A_7C15))
    }

    private func child(of parent: UInt32, _ level: Span<UInt8>) -> UInt32 {
        let hash = hash(parent, level), mask = edges.count - 1
        var index = Int(hash) & mask
        while edges[index].child != 0 {
            let edge = edges[index]
            if edge.hash == hash, edge.parent == parent, Int(edge.count) == level.count,
                text.span.extracting(Int(edge.text)..<Int(edge.text) + level.count).equals(level)
            {
                return edge.child
            }
            index = (index + 1) & mask
        }
        return 0
    }

    private func place(_ edge: Edge) {
        var index = Int(edge.hash) & (edges.count - 1)
        while edges[index].child != 0 { index = (index + 1) & (edges.count - 1) }
        edges[index] = edge
    }

    private func addChild(of parent: UInt32, _ level: Span<UInt8>) -> UInt32 {
        if edgeCount * 4 >= edges.count * 3 {
            let old = edges
            edges = [Edge](repeating: Edge(), count: old.count * 2)
            for edge in old where edge.child != 0 { place(edge) }
        }
        let hash = hash(parent, level), child = makeNode(parent: parent, hash: hash)
        place(Edge(parent: parent, child: child, hash: hash, text: UInt32(text.count), count: UInt16(level.count)))
        for index in level.indices { text.append(level[index]) }
        edgeCount += 1
        nodes[Int(parent)].literalChildren += 1
        return child
    }

    private func edge(to child: UInt32) -> Int {
        var index = Int(nodes[Int(child)].hash) & (edges.count - 1)
        while edges[index].child != child { index = (index + 1) & (edges.count - 1) }
        return index
    }

    private func removeEdge(to child: UInt32) {
        let mask = edges.count - 1
        var index = edge(to: child)
        garbage += Int(edges[index].count)
        edgeCount -= 1
        var gap = index
        index = (index + 1) & mask
        while edges[index].child != 0 {
            let home = Int(edges[index].hash) & mask
            if (index - home) & mask >= (index - gap) & mask {
                edges[gap] = edges[index]
                gap = index
            }
            index = (index + 1) & mask
        }
        edges[gap] = Edge()
        if garbage > 4096, garbage > text.count / 2 { compactText() }
    }

    private func compactText() {
        var fresh: [UInt8] = []
        for index in edges.indices where edges[index].child != 0 {
            let start = Int(edges[index].text)
            edges[index].text = UInt32(fresh.count)
            fresh += text[start..<start + Int(edges[index].count)]
        }
        text = fresh
        garbage = 0
    }

    private func makeNode(parent: UInt32, hash: UInt32) -> UInt32 {
        let node = Node(parent: parent, hash: hash)
        if let number = freeNodes.popLast() { nodes[Int(number)] = node; return number }
        nodes.append(node)
        return UInt32(nodes.count - 1)
    }

    // MARK: Binding

    /// The node of a pattern; made if `making`, else 0 if it is not there.
    private func node(of pattern: [UInt8], making: Bool) -> UInt32 {
        let bytes = pattern.span
        var node = Self.root, start = 0
        while start <= bytes.count {
            let end = Address.endOfLevel(bytes, from: start)
            var next: UInt32
            if Address.isWildcard(bytes, start, end) {
                let isOne = bytes[start] == Address.oneLevel
                next = isOne ? nodes[Int(node)].oneLevel : nodes[Int(node)].anyLevels
                if next == 0, making {
                    next = makeNode(parent: node, hash: 0)
                    if isOne { nodes[Int(node)].oneLevel = next } else { nodes[Int(node)].anyLevels = next }
                }
            } else {
                let level = bytes.extracting(start..<end)
                next = child(of: node, level)
                if next == 0, making { next = addChild(of: node, level) }
            }
            if next == 0 { return 0 }
            node = next
            start = end + 1
        }
        return node
    }

    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>) {
        let node = node(of: pattern.address, making: true)
        bindings.link(number, before: &nodes[Int(node)].firstBinding, place: node)
    }

    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) {
        var node = bindings[number].matcherPlace
        bindings.unlink(number, from: &nodes[Int(node)].firstBinding)
        while node != Self.root, nodes[Int(node)].isUnused {
            let parent = nodes[Int(node)].parent
            if nodes[Int(parent)].oneLevel == node {
                nodes[Int(parent)].oneLevel = 0
            } else if nodes[Int(parent)].anyLevels == node {
                nodes[Int(parent)].anyLevels = 0
            } else {
                removeEdge(to: node)
                nodes[Int(parent)].literalChildren -= 1
            }
            freeNodes.append(node)
            node = parent
        }
    }

    func find(_ target: Binding.Target, under pattern: Pattern, in bindings: borrowing Slab<Binding>) -> UInt32 {
        let node = node(of: pattern.address, making: false)
        return node == 0 ? 0 : bindings.find(target, from: nodes[Int(node)].firstBinding)
    }

    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern {
        var node = bindings[number].matcherPlace
        var levels: [[UInt8]] = []
        while node != Self.root {
            let parent = nodes[Int(node)].parent
            if nodes[Int(parent)].oneLevel == node {
                levels.append([Address.oneLevel])
            } else if nodes[Int(parent)].anyLevels == node {
                levels.append([Address.anyLevels])
            } else {
                let edge = edges[edge(to: node)]
                levels.append(Array(text[Int(edge.text)..<Int(edge.text) + Int(edge.count)]))
            }
            node = parent
        }
        return .address(Array(levels.reversed().joined(separator: [Address.separator])))
    }

    // MARK: Matching

    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32]) {
        let address = message.address
        let isReserved = address.count > 0 && address[0] == Address.reserved
        if !isReserved { return walk(Self.root, 0, address, bindings, &found) }
        // A reserved address: what was reached through a wildcard in the first level may be spared it.
        let root = nodes[Int(Self.root)]
        var throughWildcard: [UInt32] = []
        takeAnyLevels(root, 0, address, bindings, &throughWildcard)
        let end = Address.endOfLevel(address, from: 0)
        if root.oneLevel != 0 { walk(root.oneLevel, end + 1, address, bindings, &throughWildcard) }
        for number in throughWildcard where !bindings[number].options.flags.contains(.sparesReserved) { found.append(number) }
        let literal = child(of: Self.root, address.extracting(0..<end))
        if literal != 0 { walk(literal, end + 1, address, bindings, &found) }
    }

    /// All matches below `node` for what follows `start`; past the end (`start > count`) no level is left.
    private func walk(_ number: UInt32, _ start: Int, _ address: Span<UInt8>, _ bindings: borrowing Slab<Binding>, _ found: inout [UInt32]) {
        let node = nodes[Int(number)]
        takeAnyLevels(node, start, address, bindings, &found)
        if start > address.count { return bindings.append(all: node.firstBinding, to: &found) }
        if node.oneLevel == 0, node.literalChildren == 0 { return }
        let end = Address.endOfLevel(address, from: start)
        if node.oneLevel != 0 { walk(node.oneLevel, end + 1, address, bindings, &found) }
        guard node.literalChildren > 0 else { return }
        let literal = child(of: number, address.extracting(start..<end))
        if literal != 0 { walk(literal, end + 1, address, bindings, &found) }
    }

    /// `#` below `node`: itself takes whatever is left; what stands behind it may begin at any level from here.
    private func takeAnyLevels(_ node: Node, _ start: Int, _ address: Span<UInt8>, _ bindings: borrowing Slab<Binding>, _ found: inout [UInt32]) {
        guard node.anyLevels != 0 else { return }
        let below = nodes[Int(node.anyLevels)]
        bindings.append(all: below.firstBinding, to: &found)
        guard below.literalChildren > 0 || below.oneLevel != 0 || below.anyLevels != 0 else { return }
        var from = start
        while from <= address.count {
            let end = Address.endOfLevel(address, from: from)
            if below.oneLevel != 0 { walk(below.oneLevel, end + 1, address, bindings, &found) }
            let literal = child(of: node.anyLevels, address.extracting(from..<end))
            if literal != 0 { walk(literal, end + 1, address, bindings, &found) }
            from = end + 1
        }
        takeAnyLevels(below, start, address, bindings, &found)
    }
}
