internal import MartletBytes

/// Who wants what begins so: a tree of bytes, each node with those whose prefix ends there. A prefix that was subscribed to twice has to be
/// cancelled twice (RFC 29).
///
/// Invariant: a node without subscribers has children, but for the root.
struct SubscriptionTrie: Sendable {
    private struct Node: Sendable {
        /// The byte of the first child's edge; the others follow it, 0 where there is none.
        var least: UInt8 = 0
        var children: [Int32] = []
        var subscribers: [(peer: Int, times: Int)] = []

        func child(_ byte: UInt8) -> Int {
            let at = Int(byte) - Int(least)
            return at >= 0 && at < children.count ? Int(children[at]) : 0
        }

        mutating func setChild(_ byte: UInt8, _ node: Int) {
            if children.isEmpty {
                least = byte
            } else if byte < least {
                children = [Int32](repeating: 0, count: Int(least - byte)) + children
                least = byte
            }
            let at = Int(byte - least)
            while children.count <= at { children.append(0) }
            children[at] = Int32(node)
            while children.last == 0 { children.removeLast() }
            let empty = children.prefix { $0 == 0 }.count
            if empty > 0 {
                children.removeFirst(empty)
                least &+= UInt8(truncatingIfNeeded: empty)
            }
        }
    }
    private var nodes = [Node()]
    private var unused: [Int] = []
    /// Prefixes, each as often as there are peers that want it.
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// Answers whether it is the first of this prefix, by whomever.
    @discardableResult mutating func insert(_ prefix: Span<UInt8>, for peer: Int) -> Bool {
        var node = 0
        for index in prefix.indices {
            var child = nodes[node].child(prefix[index])
            if child == 0 {
                child = unused.popLast() ?? nodes.count
                if child == nodes.count { nodes.append(Node()) }
                nodes[node].setChild(prefix[index], child)
            }
            node = child
        }
        let isFirst = nodes[node].subscribers.isEmpty
        if let at = nodes[node].subscribers.firstIndex(where: { $0.peer == peer }) {
            nodes[node].subscribers[at].times += 1
        } else {
            nodes[node].subscribers.append((peer, 1))
            count += 1
        }
        return isFirst
    }

    /// Answers whether it was the last of this prefix, by whomever; nil if the peer had none.
    @discardableResult mutating func remove(_ prefix: Span<UInt8>, for peer: Int) -> Bool? {
        var path = [0]
        for index in prefix.indices {
            let child = nodes[path[index]].child(prefix[index])
            guard child != 0 else { return nil }
            path.append(child)
        }
        let node = path[path.count - 1]
        guard let at = nodes[node].subscribers.firstIndex(where: { $0.peer == peer }) else { return nil }
        nodes[node].subscribers[at].times -= 1
        guard nodes[node].subscribers[at].times == 0 else { return false }
        nodes[node].subscribers.remove(at: at)
        count -= 1
        guard nodes[node].subscribers.isEmpty else { return false }
        for depth in stride(from: path.count - 1, to: 0, by: -1) {
            let node = path[depth]
            guard nodes[node].subscribers.isEmpty, nodes[node].children.isEmpty else { break }
            nodes[node] = Node()
            unused.append(node)
            nodes[path[depth - 1]].setChild(prefix[depth - 1], 0)
        }
        return true
    }

    /// Forgets a peer; answers the prefixes that nobody wants any more.
    mutating func removeAll(of peer: Int) -> [[UInt8]] {
        prefixes(of: peer).filter { prefix in
            var wasLast: Bool? = false
            while wasLast == false, wants(prefix.span, peer) { wasLast = remove(prefix.span, for: peer) }
            return wasLast == true
        }
    }

    private func wants(_ prefix: Span<UInt8>, _ peer: Int) -> Bool {
        var node = 0
        for index in prefix.indices {
            node = nodes[node].child(prefix[index])
            if node == 0 { return false }
        }
        return nodes[node].subscribers.contains { $0.peer == peer }
    }

    /// The prefixes of a peer, or of all: without recursion, as a prefix may be long.
    private func prefixes(of peer: Int?) -> [[UInt8]] {
        var found: [[UInt8]] = [], path: [UInt8] = [], stack = [(node: 0, next: 0)]
        if isWanted(0, peer) { found.append([]) }
        while let (node, next) = stack.last {
            guard next < nodes[node].children.count else {
                stack.removeLast()
                _ = path.popLast()
                continue
            }
            stack[stack.count - 1].next += 1
            let child = Int(nodes[node].children[next])
            guard child != 0 else { continue }
            path.append(nodes[node].least &+ UInt8(truncatingIfNeeded: next))
            stack.append((child, 0))
            if isWanted(child, peer) { found.append(path) }
        }
        return found
    }

    private func isWanted(_ node: Int, _ peer: Int?) -> Bool { nodes[node].subscribers.contains { peer == nil || $0.peer == peer } }

    /// Every prefix that somebody wants, once.
    var prefixes: [[UInt8]] { prefixes(of: nil) }

    /// Whether anybody wants this.
    func matches(_ topic: Span<UInt8>) -> Bool {
        var node = 0, at = 0
        while true {
            if !nodes[node].subscribers.isEmpty { return true }
            guard at < topic.count else { return false }
            node = nodes[node].child(topic[at])
            if node == 0 { return false }
            at += 1
        }
    }

    /// Appends the peers that want this; one may come more than once.
    func collect(matching topic: Span<UInt8>, into peers: inout [Int]) {
        var node = 0, at = 0
        while true {
            for subscriber in nodes[node].subscribers { peers.append(subscriber.peer) }
            guard at < topic.count else { return }
            node = nodes[node].child(topic[at])
            if node == 0 { return }
            at += 1
        }
    }
}
