internal import MartletBytes
public import MartletCollections

/// Who wants what begins how (RFC 29): a tree of prefixes whose edges hold as many bytes as nobody parts, so that a subscription costs two nodes at most,
/// however long, and a message is looked at once, as far as somebody's prefix goes.
///
/// Subscriptions are counted for each peer (RFC 37: two of the same want two CANCELs). A subscriber's own are the same with one peer: what comes `first` is said
/// to its publishers, and what goes `last` is cancelled.
/// Invariant: a node holds peers, or has at least two children, or is the root. Not here: how many a peer may have (`count(of:)` tells), messages.
public struct ZMTPSubscriptions: ~Copyable {
    /// What a call changed for all peers together.
    public enum Change: Sendable, Equatable {
        /// Nobody had it before.
        case first
        /// Nobody has it any more.
        case last
        /// Somebody else, or the same peer, has it too.
        case shared
        /// The peer had no such subscription: nothing was done.
        case missing
    }

    private struct Node: ~Copyable {
        var label: OwnedBytes
        var parent: UInt32
        /// Of the edge from the parent, which is under the label's first byte.
        var hash: UInt32 = 0
        var children: UInt32 = 0
        /// The first of those who want this prefix; 0: nobody does.
        var entry: UInt32 = 0
    }

    private struct Entry: BitwiseCopyable {
        let node: UInt32
        let peer: UInt32
        var count: UInt32 = 1
        /// Of the same node.
        var next: UInt32
        var previous: UInt32 = 0
        /// Of the same peer.
        var nextOfPeer: UInt32
        var previousOfPeer: UInt32 = 0
    }

    /// By the peer's number.
    private struct Peer: BitwiseCopyable {
        var entry: UInt32 = 0
        var count: UInt32 = 0
        /// The last match that found it.
        var stamp: UInt32 = 0
    }

    private var nodes = Slab<Node>()
    private var entries = Slab<Entry>()
    private var edges: LevelTable
    private var places: [UInt64: UInt32] = [:]
    private var peers: [Peer] = []
    private var stamp: UInt32 = 0
    private let root: UInt32

    /// `seed`: drawn at random, or strangers may choose prefixes that collide.
    public init(seed: UInt64) {
        edges = LevelTable(seed: seed)
        root = nodes.insert(Node(label: OwnedBytes(), parent: 0))
    }

    /// Keeps the destruction of private nodes in this module: Swift 6.3 fails to compile it inlined into others.
    deinit {}

    public var isEmpty: Bool { places.isEmpty }
    /// Subscriptions, those of the same peer to the same topic as one.
    public var count: Int { places.count }
    /// Nodes of the tree, its root among them: what subscriptions cost beside their bytes.
    public var nodeCount: Int { nodes.count }

    /// How many subscriptions a peer has, the same one as often as it was made.
    public func count(of peer: UInt32) -> Int { Int(peer) < peers.count ? Int(peers[Int(peer)].count) : 0 }

    // MARK: Change

    /// One subscription more. `peer`: a small number, as a slab gives.
    public mutating func add(_ topic: Span<UInt8>, for peer: UInt32) -> Change {
        while Int(peer) >= peers.count { peers.append(Peer()) }
        let node = makeNode(topic)
        peers[Int(peer)].count += 1
        if let entry = places[Self.key(node, peer)] {
            entries[entry].count += 1
            return .shared
        }
        let isFirst = nodes[node].entry == 0
        let entry = entries.insert(Entry(node: node, peer: peer, next: nodes[node].entry, nextOfPeer: peers[Int(peer)].entry))
        if !isFirst { entries[nodes[node].entry].previous = entry }
        if peers[Int(peer)].entry != 0 { entries[peers[Int(peer)].entry].previousOfPeer = entry }
        nodes[node].entry = entry
        peers[Int(peer)].entry = entry
        places[Self.key(node, peer)] = entry
        return isFirst ? .first : .shared
    }

    /// One subscription less.
    public mutating func remove(_ topic: Span<UInt8>, for peer: UInt32) -> Change {
        guard let node = findNode(topic), let entry = places[Self.key(node, peer)] else { return .missing }
        peers[Int(peer)].count -= 1
        if entries[entry].count > 1 {
            entries[entry].count -= 1
            return .shared
        }
        unlink(entry)
        guard nodes[node].entry == 0 else { return .shared }
        prune(node)
        return .last
    }

    /// A peer has gone. `ended` is shown each of its topics, and what that changed: `last`, or `shared`.
    public mutating func removeAll(for peer: UInt32, ended: (Span<UInt8>, Change) -> Void) {
        guard Int(peer) < peers.count else { return }
        while peers[Int(peer)].entry != 0 {
            let entry = peers[Int(peer)].entry, node = entries[entry].node, topic = topic(of: node)
            unlink(entry)
            let isLast = nodes[node].entry == 0
            ended(topic.span, isLast ? .last : .shared)
            if isLast { prune(node) }
        }
        peers[Int(peer)].count = 0
    }

    /// Each topic that somebody wants, in no order: what is said to a publisher that has come.
    public func forEach(_ body: (Span<UInt8>) -> Void) {
        nodes.forEach { number, node in
            guard node.entry != 0 else { return }
            let topic = topic(of: number)
            body(topic.span)
        }
    }

    private static func key(_ node: UInt32, _ peer: UInt32) -> UInt64 { UInt64(node) << 32 | UInt64(peer) }

    private mutating func unlink(_ number: UInt32) {
        let entry = entries[number]
        if entry.previous == 0 { nodes[entry.node].entry = entry.next } else { entries[entry.previous].next = entry.next }
        if entry.next != 0 { entries[entry.next].previous = entry.previous }
        if entry.previousOfPeer == 0 { peers[Int(entry.peer)].entry = entry.nextOfPeer } else { entries[entry.previousOfPeer].nextOfPeer = entry.nextOfPeer }
        if entry.nextOfPeer != 0 { entries[entry.nextOfPeer].previousOfPeer = entry.previousOfPeer }
        places[Self.key(entry.node, entry.peer)] = nil
        entries.remove(number)
    }

    // MARK: The tree

    /// The bytes of `rest` from `start` that the label has, too.
    private static func shared(_ label: Span<UInt8>, _ topic: Span<UInt8>, from start: Int) -> Int {
        let count = min(label.count, topic.count - start)
        var at = 0
        while at < count, label[at] == topic[start + at] { at += 1 }
        return at
    }

    private func child(of node: UInt32, _ topic: Span<UInt8>, at: Int) -> UInt32 { edges.child(of: node, topic.extracting(at..<at + 1)) }

    /// The child whose whole label stands in `topic` at `at`.
    private func follow(_ node: UInt32, _ topic: Span<UInt8>, at: Int) -> UInt32? {
        let next = child(of: node, topic, at: at)
        guard next != 0 else { return nil }
        let count = nodes[next].label.count
        guard count <= topic.count - at, nodes[next].label.span.equals(topic.extracting(at..<at + count)) else { return nil }
        return next
    }

    private func findNode(_ topic: Span<UInt8>) -> UInt32? {
        var node = root, at = 0
        while at < topic.count {
            guard let next = follow(node, topic, at: at) else { return nil }
            at += nodes[next].label.count
            node = next
        }
        return node
    }

    private mutating func makeNode(_ topic: Span<UInt8>) -> UInt32 {
        var node = root, at = 0
        while at < topic.count {
            let next = child(of: node, topic, at: at)
            if next == 0 { return attach(topic.extracting(at..<topic.count), to: node) }
            let shared = Self.shared(nodes[next].label.span, topic, from: at)
            node = shared == nodes[next].label.count ? next : split(next, at: shared)
            at += shared
        }
        return node
    }

    private mutating func attach(_ label: Span<UInt8>, to parent: UInt32) -> UInt32 {
        let node = nodes.insert(Node(label: OwnedBytes(copying: label), parent: parent))
        nodes[node].hash = edges.insert(node, under: parent, label.extracting(0..<1))
        nodes[parent].children += 1
        return node
    }

    /// A node between `node` and its parent that has the first `count` bytes of its label.
    private mutating func split(_ node: UInt32, at count: Int) -> UInt32 {
        let parent = nodes[node].parent
        edges.remove(node, hash: nodes[node].hash)
        nodes[parent].children -= 1
        let label = nodes[node].label.span.array
        let upper = attach(label.span.extracting(0..<count), to: parent)
        relabel(node, label.span.extracting(count..<label.count), under: upper)
        return upper
    }

    private mutating func relabel(_ node: UInt32, _ label: Span<UInt8>, under parent: UInt32) {
        nodes[node].label = OwnedBytes(copying: label)
        nodes[node].parent = parent
        nodes[node].hash = edges.insert(node, under: parent, label.extracting(0..<1))
        nodes[parent].children += 1
    }

    /// Takes away a node that nobody wants and nothing needs, and what its going makes needless.
    private mutating func prune(_ node: UInt32) {
        guard node != root, nodes[node].entry == 0 else { return }
        switch nodes[node].children {
        case 0:
            let parent = nodes[node].parent
            edges.remove(node, hash: nodes[node].hash)
            nodes[parent].children -= 1
            nodes.remove(node)
            // Its parent may have stood only where two ways part.
            if nodes[parent].children <= 1 { prune(parent) }
        case 1: merge(node)
        default: break
        }
    }

    /// A node with one child and no peers goes into that child.
    private mutating func merge(_ node: UInt32) {
        guard let child = onlyChild(of: node) else { return }
        let label = nodes[node].label.span.array + nodes[child].label.span.array, parent = nodes[node].parent
        edges.remove(child, hash: nodes[child].hash)
        edges.remove(node, hash: nodes[node].hash)
        nodes[parent].children -= 1
        nodes.remove(node)
        relabel(child, label.span, under: parent)
    }

    private func onlyChild(of node: UInt32) -> UInt32? {
        for byte in 0...UInt8.max {
            let level = [byte], child = edges.child(of: node, level.span)
            if child != 0 { return child }
        }
        return nil
    }

    private func topic(of node: UInt32) -> [UInt8] {
        var labels: [[UInt8]] = [], at = node
        while at != root {
            labels.append(nodes[at].label.span.array)
            at = nodes[at].parent
        }
        return labels.reversed().flatMap { $0 }
    }

    // MARK: Messages

    /// Appends each peer that wants a message which begins so, once. `first`: the message's first frame.
    public mutating func match(_ first: Span<UInt8>, into found: inout Scratch<UInt32>) {
        beginMatch()
        var node = root, at = 0
        collect(node, into: &found)
        while at < first.count, nodes[node].children > 0, let next = follow(node, first, at: at) {
            at += nodes[next].label.count
            node = next
            collect(node, into: &found)
        }
    }

    /// Appends each peer that wants exactly this, once: a group (RFC 48).
    public mutating func match(whole group: Span<UInt8>, into found: inout Scratch<UInt32>) {
        beginMatch()
        if let node = findNode(group) { collect(node, into: &found) }
    }

    /// Whether the last match found this peer.
    public func isMatched(_ peer: UInt32) -> Bool { Int(peer) < peers.count && stamp != 0 && peers[Int(peer)].stamp == stamp }

    /// Whether anybody wants a message which begins so.
    public func wants(_ first: Span<UInt8>) -> Bool {
        var node = root, at = 0
        while nodes[node].entry == 0 {
            guard at < first.count, nodes[node].children > 0, let next = follow(node, first, at: at) else { return false }
            at += nodes[next].label.count
            node = next
        }
        return true
    }

    /// Whether anybody wants exactly this.
    public func wants(whole group: Span<UInt8>) -> Bool { findNode(group).map { nodes[$0].entry != 0 } ?? false }

    private mutating func beginMatch() {
        if stamp == .max {
            for index in peers.indices { peers[index].stamp = 0 }
            stamp = 0
        }
        stamp += 1
    }

    private mutating func collect(_ node: UInt32, into found: inout Scratch<UInt32>) {
        var entry = nodes[node].entry
        while entry != 0 {
            let peer = entries[entry].peer
            if peers[Int(peer)].stamp != stamp {
                peers[Int(peer)].stamp = stamp
                found.append(peer)
            }
            entry = entries[entry].next
        }
    }
}
