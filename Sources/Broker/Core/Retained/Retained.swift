import MartletBytes
import MartletCollections

/// What the hubs keep for whoever binds later: for each hub and address the last retained message, in a tree of levels.
///
/// Invariants: every store and removal takes the next `version`, under the router's lock, so that a binding is older or younger than it;
/// a node without message and children exists only as a root or while a walk stands on it. Not here: who is given what (`Replays.swift`).
struct Retained: ~Copyable {
    /// What the tree knows of a node: its children in a list, the newest first, and the message.
    struct Place: BitwiseCopyable {
        var firstChild: UInt32 = 0
        var next: UInt32 = 0
        var previous: UInt32 = 0
        var message: UInt32 = 0
        /// Walks that go on here.
        var pins: UInt32 = 0
        /// The first level, and it begins with `$`.
        var isReserved = false
    }
    struct Kept: ~Copyable {
        let message: StoredMessage
        let node: UInt32
        /// The serial number of its publisher's queue; 0 for none.
        let publisher: UInt64
        /// What the journal calls it.
        let name: JournalName
    }
    private struct Expiry: Comparable {
        var at: WallTime
        var message: UInt32
        var version: UInt64
        static func < (a: Expiry, b: Expiry) -> Bool { a.at < b.at }
    }
    var tree = LevelTree<Place>()
    var kept = Slab<Kept>()
    /// By message: the version it was stored as; 0 for a number that is free.
    private(set) var versions: [UInt64] = [0]
    /// By hub: its root, 0 for none.
    private var roots: [UInt32] = []
    /// Stores and removals so far.
    private(set) var version: UInt64 = 0
    private(set) var byteCount = 0
    private var expiries = MinHeap<Expiry>()
    /// In the journal: what was kept and is not any more, until somebody writes it down.
    private var ended: [JournalName] = []
    /// Entries of `expiries` whose message is no longer kept.
    private var outdatedExpiries = 0

    var count: Int { kept.count }

    func root(of hub: HubID) -> UInt32 { Int(hub.number) < roots.count ? roots[Int(hub.number)] : 0 }

    // MARK: Storing

    /// Keeps a message in place of what is kept for its address, or removes that if the body is empty. The answer is the version; 0:
    /// beyond the limits.
    mutating func keep(_ message: borrowing Message, by publisher: UInt64, as name: JournalName, _ limits: CoreLimits, at now: WallTime) -> UInt64 {
        sweep(at: now, atMost: 8)
        if message.body.isEmpty {
            if let old = find(message) { remove(old) }
            version += 1
            return version
        }
        if !fits(message, limits) {
            sweep(at: now, atMost: 1000)
            guard fits(message, limits) else { return 0 }
        }
        version += 1
        let node = makeNode(message.hub, message.address), old = tree[node].value.message
        if old != 0 {
            forget(old)
            kept[old] = Kept(message: StoredMessage(copying: message), node: node, publisher: publisher, name: name)
            note(old, message)
        } else {
            let number = kept.insert(Kept(message: StoredMessage(copying: message), node: node, publisher: publisher, name: name))
            tree[node].value.message = number
            note(number, message)
        }
        return version
    }

    private func fits(_ message: borrowing Message, _ limits: CoreLimits) -> Bool {
        let old = find(message)
        let freed = old.map { kept[$0].message.byteCount } ?? 0
        return count + (old == nil ? 1 : 0) <= limits.retainedMessagesMax && byteCount - freed + message.byteCount <= limits.retainedBytesMax
    }

    private mutating func note(_ number: UInt32, _ message: borrowing Message) {
        if Int(number) == versions.count { versions.append(version) } else { versions[Int(number)] = version }
        byteCount += message.byteCount
        if message.header.expiry != .never { expiries.insert(Expiry(at: message.header.expiry, message: number, version: version)) }
    }

    private mutating func forget(_ number: UInt32) {
        byteCount -= kept[number].message.byteCount
        if !kept[number].name.isNone { ended.append(kept[number].name) }
        versions[Int(number)] = 0
        guard kept[number].message.header.expiry != .never else { return }
        outdatedExpiries += 1
        if outdatedExpiries > 1024, outdatedExpiries > expiries.count / 2 { rebuildExpiries() }
    }

    private mutating func rebuildExpiries() {
        expiries = MinHeap()
        outdatedExpiries = 0
        for number in 1..<kept.end where versions[Int(number)] != 0 && kept[number].message.header.expiry != .never {
            expiries.insert(Expiry(at: kept[number].message.header.expiry, message: number, version: versions[Int(number)]))
        }
    }

    private mutating func remove(_ number: UInt32) {
        let node = kept[number].node
        forget(number)
        kept.remove(number)
        tree[node].value.message = 0
        prune(node)
    }

    /// Removes what has expired, at most so many.
    mutating func sweep(at now: WallTime, atMost countMax: Int) {
        var count = 0
        while count < countMax, let first = expiries.first, first.at <= now {
            _ = expiries.removeFirst()
            count += 1
            if versions[Int(first.message)] == first.version { remove(first.message) }
            outdatedExpiries = max(0, outdatedExpiries - 1)
        }
    }

    /// The journal's names of what is kept no more, each once.
    mutating func takeEnded() -> [JournalName] {
        guard !ended.isEmpty else { return [] }
        defer { ended.removeAll() }
        return ended
    }

    // MARK: Nodes

    private func find(_ message: borrowing Message) -> UInt32? {
        var node = root(of: message.hub), start = 0
        while node != 0, start <= message.address.count {
            let end = AddressSpelling.slashes.endOfLevel(message.address, from: start)
            node = tree.child(of: node, message.address.extracting(start..<end))
            start = end + 1
        }
        return node == 0 || tree[node].value.message == 0 ? nil : tree[node].value.message
    }

    private mutating func makeNode(_ hub: HubID, _ address: Span<UInt8>) -> UInt32 {
        while roots.count <= Int(hub.number) { roots.append(0) }
        if roots[Int(hub.number)] == 0 { roots[Int(hub.number)] = tree.addNode(under: 0, Place()) }
        let root = roots[Int(hub.number)]
        var node = root, start = 0
        while start <= address.count {
            let end = AddressSpelling.slashes.endOfLevel(address, from: start), level = address.extracting(start..<end)
            var child = tree.child(of: node, level)
            if child == 0 {
                let first = tree[node].value.firstChild
                child = tree.addChild(of: node, level, Place(next: first, isReserved: start == 0 && end > 0 && address[0] == Address.reserved))
                if first != 0 { tree[first].value.previous = child }
                tree[node].value.firstChild = child
            }
            node = child
            start = end + 1
        }
        return node
    }

    /// Removes a node that nothing needs, and its ancestors for which the same is true.
    mutating func prune(_ first: UInt32) {
        var node = first
        while true {
            let place = tree[node].value, parent = tree[node].parent
            guard parent != 0, place.message == 0, place.firstChild == 0, place.pins == 0 else { return }
            if place.previous == 0 { tree[parent].value.firstChild = place.next } else { tree[place.previous].value.next = place.next }
            if place.next != 0 { tree[place.next].value.previous = place.previous }
            tree.removeChild(node)
            node = parent
        }
    }
}
