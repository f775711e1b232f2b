import MartletBytes
import MartletCollections

/// Patterns with wildcards as a tree of levels.
///
/// Invariant: a node without bindings and children does not exist (but the root). Not here: caching (see `MatchCache`).
final class TopicMatcher: Matcher {
    private var tree = LevelTree<PatternNode>()
    private let root: UInt32
    private var walk = PatternWalk()
    private let spelling: AddressSpelling

    init(_ spelling: AddressSpelling) {
        self.spelling = spelling
        root = tree.addNode(under: 0, PatternNode())
    }

    var dependsOnAddressOnly: Bool { true }

    // MARK: Binding

    func find(_ pattern: Pattern) -> UInt32 { tree.node(of: pattern.address, from: root, spelling) }

    func bind(_ number: UInt32, under pattern: Pattern, in bindings: inout Slab<Binding>) {
        let node = tree.makeNode(of: pattern.address, from: root, spelling)
        bindings.link(number, before: &tree[node].value.firstBinding, place: node)
    }

    func unbind(_ number: UInt32, in bindings: inout Slab<Binding>) {
        let node = bindings[number].matcherPlace
        bindings.unlink(number, from: &tree[node].value.firstBinding)
        tree.prune(node, root: root)
    }

    func pattern(of number: UInt32, in bindings: borrowing Slab<Binding>) -> Pattern {
        .address(tree.pattern(of: bindings[number].matcherPlace, root: root, spelling))
    }

    // MARK: Matching

    func match(_ message: borrowing Message, _ headers: (any HeaderReader)?, in bindings: borrowing Slab<Binding>, into found: inout [UInt32]) {
        walk.match(message.address, spelling, in: tree, from: root, bindings, into: &found)
    }
}

/// What a pattern's tree knows of a node.
struct PatternNode: BitwiseCopyable {
    var oneLevel: UInt32 = 0
    var anyLevels: UInt32 = 0
    var firstBinding: UInt32 = 0
}

extension LevelTree where Value == PatternNode {
    /// The node of a pattern; 0 if there is none.
    func node(of pattern: [UInt8], from root: UInt32, _ spelling: AddressSpelling) -> UInt32 {
        let bytes = pattern.span
        var node = root, start = spelling.start(of: bytes)
        while node != 0, start <= bytes.count {
            let end = spelling.endOfLevel(bytes, from: start)
            node = next(node, bytes, start, end, spelling)
            start = end + 1
        }
        return node
    }

    private func next(_ node: UInt32, _ pattern: Span<UInt8>, _ start: Int, _ end: Int, _ spelling: AddressSpelling) -> UInt32 {
        guard spelling.isWildcard(pattern, start, end) else { return child(of: node, pattern.extracting(start..<end)) }
        return pattern[start] == spelling.oneLevel ? self[node].value.oneLevel : self[node].value.anyLevels
    }

    mutating func makeNode(of pattern: [UInt8], from root: UInt32, _ spelling: AddressSpelling) -> UInt32 {
        let bytes = pattern.span
        var node = root, start = spelling.start(of: bytes)
        while start <= bytes.count {
            let end = spelling.endOfLevel(bytes, from: start)
            var next = next(node, bytes, start, end, spelling)
            if next == 0 {
                if !spelling.isWildcard(bytes, start, end) {
                    next = addChild(of: node, bytes.extracting(start..<end), PatternNode())
                } else {
                    next = addNode(under: node, PatternNode())
                    if bytes[start] == spelling.oneLevel { self[node].value.oneLevel = next } else { self[node].value.anyLevels = next }
                }
            }
            node = next
            start = end + 1
        }
        return node
    }

    /// Removes a node that nothing needs, and its ancestors for which the same is true.
    mutating func prune(_ first: UInt32, root: UInt32) {
        var node = first
        while node != root {
            let value = self[node].value, parent = self[node].parent
            guard value.firstBinding == 0, value.oneLevel == 0, value.anyLevels == 0, self[node].children == 0 else { return }
            if self[parent].value.oneLevel == node {
                self[parent].value.oneLevel = 0
                removeNode(node)
            } else if self[parent].value.anyLevels == node {
                self[parent].value.anyLevels = 0
                removeNode(node)
            } else {
                removeChild(node)
            }
            node = parent
        }
    }

    func pattern(of last: UInt32, root: UInt32, _ spelling: AddressSpelling) -> [UInt8] {
        var node = last
        var levels: [[UInt8]] = []
        while node != root {
            let parent = self[node].parent
            if self[parent].value.oneLevel == node {
                levels.append([spelling.oneLevel])
            } else if self[parent].value.anyLevels == node {
                levels.append([spelling.anyLevels])
            } else {
                levels.append(level(to: node))
            }
            node = parent
        }
        return Array(levels.reversed().joined(separator: [spelling.separator]))
    }
}
