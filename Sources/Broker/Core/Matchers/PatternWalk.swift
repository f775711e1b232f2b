import MartletBytes
import MartletCollections

/// One address against all patterns of a tree, level by level: at each level all nodes reached so far are looked at together, so that
/// what they lead to comes from memory at the same time. (One after the other, a match among a million patterns took twice as long.)
///
/// Keeps its arrays from match to match. Not here: the tree's making (`TopicMatcher`).
struct PatternWalk: ~Copyable {
    struct LookUp: BitwiseCopyable {
        var parent: UInt32
        var hash: UInt32
    }
    /// Which of the root's children count.
    private enum FirstLevel { case all, wildcards, literal }

    /// Reached with exactly the levels so far.
    private var nodes = Scratch<UInt32>()
    private var next = Scratch<UInt32>()
    /// `#` on the way: what stands behind it may begin at any level from here.
    private var anyLevels = Scratch<UInt32>()
    private var lookUps = Scratch<LookUp>()
    /// First bindings of what matched.
    private var heads = Scratch<UInt32>()

    mutating func match(
        _ address: Span<UInt8>, _ spelling: AddressSpelling, in tree: borrowing LevelTree<PatternNode>, from root: UInt32, _ bindings: borrowing Slab<Binding>,
        into found: inout [UInt32]
    ) {
        guard address.count > 0, address[0] == Address.reserved else { return run(.all, address, spelling, tree, root, bindings, &found) }
        // A reserved address: what is reached through a wildcard in the first level may be spared it.
        var throughWildcard: [UInt32] = []
        run(.wildcards, address, spelling, tree, root, bindings, &throughWildcard)
        for number in throughWildcard where !bindings[number].options.flags.contains(.sparesReserved) { found.append(number) }
        run(.literal, address, spelling, tree, root, bindings, &found)
    }

    private mutating func run(
        _ first: FirstLevel, _ address: Span<UInt8>, _ spelling: AddressSpelling, _ tree: borrowing LevelTree<PatternNode>, _ root: UInt32,
        _ bindings: borrowing Slab<Binding>,
        _ found: inout [UInt32]
    ) {
        nodes.removeAll()
        anyLevels.removeAll()
        heads.removeAll()
        nodes.append(root)
        var start = spelling.start(of: address), seenAny = 0, first = first
        while start <= address.count, !nodes.isEmpty || !anyLevels.isEmpty {
            let end = spelling.endOfLevel(address, from: start), level = address.extracting(start..<end)
            next.removeAll()
            lookUps.removeAll()
            for index in 0..<nodes.count {
                let number = nodes[index]
                let node = tree[number]
                if first != .literal { noteAnyLevels(node.value.anyLevels, tree) }
                look(number, node, level, tree, first)
            }
            first = .all
            // Those behind which something stands stay for the levels to come.
            seenAny = closeAnyLevels(from: seenAny, tree, bindings)
            for index in 0..<anyLevels.count { look(anyLevels[index], tree[anyLevels[index]], level, tree, .all) }
            for index in 0..<lookUps.count {
                let lookUp = lookUps[index]
                let child = tree.child(of: lookUp.parent, level, hash: lookUp.hash)
                guard child != 0 else { continue }
                tree.expect(child)
                next.append(child)
            }
            swap(&nodes, &next)
            start = end + 1
        }
        for index in 0..<nodes.count {
            let value = tree[nodes[index]].value
            noteAnyLevels(value.anyLevels, tree)
            noteHead(value.firstBinding, bindings)
        }
        _ = closeAnyLevels(from: seenAny, tree, bindings)
        for index in 0..<heads.count { bindings.append(all: heads[index], to: &found) }
    }

    @inline(__always)
    private mutating func look(
        _ number: UInt32, _ node: LevelTree<PatternNode>.Node, _ level: Span<UInt8>, _ tree: borrowing LevelTree<PatternNode>, _ first: FirstLevel
    ) {
        if node.value.oneLevel != 0, first != .literal {
            tree.expect(node.value.oneLevel)
            next.append(node.value.oneLevel)
        }
        if node.children > 0, first != .wildcards { lookUps.append(LookUp(parent: number, hash: tree.expectChild(of: number, level))) }
    }

    @inline(__always) private mutating func noteAnyLevels(_ number: UInt32, _ tree: borrowing LevelTree<PatternNode>) {
        // Two ways may lead to it, when another `#` stands before it.
        guard number != 0 else { return }
        for index in 0..<anyLevels.count where anyLevels[index] == number { return }
        tree.expect(number)
        anyLevels.append(number)
    }

    /// Takes the bindings of the `#` found since `start`, and those right behind it; keeps what has more behind. The answer is where the
    /// next ones will be.
    private mutating func closeAnyLevels(from start: Int, _ tree: borrowing LevelTree<PatternNode>, _ bindings: borrowing Slab<Binding>) -> Int {
        var index = start
        while index < anyLevels.count {
            let value = tree[anyLevels[index]].value
            noteHead(value.firstBinding, bindings)
            noteAnyLevels(value.anyLevels, tree)
            index += 1
        }
        return index
    }

    @inline(__always) private mutating func noteHead(_ number: UInt32, _ bindings: borrowing Slab<Binding>) {
        guard number != 0 else { return }
        bindings.expect(number)
        heads.append(number)
    }
}
