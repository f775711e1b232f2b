public import CLinux
public import MartletBytes

/// The edges of a tree of levels: (parent, level) -> child, in one open-addressing table. A level of up to 16 bytes, as most are, lies
/// in its edge, so that a look-up touches one line of memory; a longer one has an allocation of its own.
///
/// Invariant: an edge is free when its child is 0. Not here: the nodes (their owner keeps each one's `hash`, to find its edge again).
public struct LevelTable: ~Copyable {
    @usableFromInline struct Edge: BitwiseCopyable {
        @usableFromInline var parent: UInt32
        @usableFromInline var child: UInt32
        @usableFromInline var hash: UInt32
        @usableFromInline var count: UInt32
        /// The level, or the address of its copy.
        @usableFromInline var low: UInt64
        @usableFromInline var high: UInt64
    }
    /// A level as two words that, with its count, say all of it up to 16 bytes.
    @usableFromInline struct Words {
        @usableFromInline var low: UInt64
        @usableFromInline var high: UInt64
        @usableFromInline init(low: UInt64, high: UInt64) { self.low = low; self.high = high }
    }
    @usableFromInline static var inlineMax: Int { 16 }
    @usableFromInline var edges: UnsafeMutablePointer<Edge>
    @usableFromInline var capacity: Int
    @usableFromInline var size = 0
    @usableFromInline let seed: UInt64

    /// `seed` keeps strangers from choosing levels that collide: draw it at random.
    public init(seed: UInt64) {
        self.seed = seed
        capacity = 16
        edges = Self.allocate(capacity)
    }

    deinit {
        for index in 0..<capacity where edges[index].child != 0 { Self.freeText(edges[index]) }
        CLinux.free(edges)
    }

    @inlinable public var count: Int { size }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<Edge> {
        // In line with the processor's cache, or every second edge lies in two of its lines.
        let memory = aligned_alloc(64, capacity * MemoryLayout<Edge>.stride)!
        memset(memory, 0, capacity * MemoryLayout<Edge>.stride)
        return memory.bindMemory(to: Edge.self, capacity: capacity)
    }

    private static func freeText(_ edge: Edge) {
        if Int(edge.count) > inlineMax { CLinux.free(UnsafeMutableRawPointer(bitPattern: UInt(edge.low))) }
    }

    @inlinable @inline(__always) static func words(_ level: Span<UInt8>) -> Words {
        level.withUnsafeBufferPointer { bytes in
            let count = bytes.count
            guard count > 0 else { return Words(low: 0, high: 0) }
            let start = UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped)
            if count >= 8 {
                let low = start.loadUnaligned(as: UInt64.self)
                return Words(low: low, high: count == 8 ? 0 : start.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self))
            }
            if count >= 4 {
                let last = UInt64(start.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self))
                return Words(low: UInt64(start.loadUnaligned(as: UInt32.self)) | last << 32, high: 0)
            }
            var low = UInt64(bytes[0])
            if count > 1 { low |= UInt64(bytes[1]) << 8 }
            if count > 2 { low |= UInt64(bytes[2]) << 16 }
            return Words(low: low, high: 0)
        }
    }

    @inlinable @inline(__always) func hash(_ parent: UInt32, _ level: Span<UInt8>, _ words: Words) -> UInt32 {
        let seed = seed ^ UInt64(parent) &* 0x9E37_79B9_7F4A_7C15
        if level.count > Self.inlineMax { return UInt32(truncatingIfNeeded: level.hash(seed: seed)) }
        let first = (words.low ^ seed).multipliedFullWidth(by: 0xE703_7ED1_A0B4_28DB)
        let second = (first.high ^ first.low ^ words.high ^ UInt64(level.count) << 56).multipliedFullWidth(by: 0x8EBC_6AF0_9C88_C6E3)
        return UInt32(truncatingIfNeeded: second.high ^ second.low)
    }

    @inlinable @inline(__always) static func holds(_ edge: Edge, _ level: Span<UInt8>, _ words: Words) -> Bool {
        if level.count <= inlineMax { return edge.low == words.low && edge.high == words.high }
        return level.withUnsafeBufferPointer { memcmp($0.baseAddress!, UnsafeRawPointer(bitPattern: UInt(edge.low))!, $0.count) == 0 }
    }

    /// The hash of (parent, level), whose edge is fetched into the processor's cache: for looking many up at a time, each with
    /// `child(of:_:hash:)` afterwards.
    @inlinable @inline(__always) public func expect(_ parent: UInt32, _ level: Span<UInt8>) -> UInt32 {
        let hash = hash(parent, level, Self.words(level))
        cl_prefetch(edges + (Int(hash) & (capacity &- 1)))
        return hash
    }

    /// The child of `parent` at `level`; 0 if there is none.
    @inlinable public func child(of parent: UInt32, _ level: Span<UInt8>) -> UInt32 {
        child(of: parent, level, hash: hash(parent, level, Self.words(level)))
    }

    @inlinable public func child(of parent: UInt32, _ level: Span<UInt8>, hash: UInt32) -> UInt32 {
        let words = Self.words(level), mask = capacity &- 1
        var index = Int(hash) & mask
        while edges[index].child != 0 {
            let edge = edges[index]
            if edge.hash == hash, edge.parent == parent, Int(edge.count) == level.count, Self.holds(edge, level, words) { return edge.child }
            index = (index &+ 1) & mask
        }
        return 0
    }

    /// Adds an edge that is not there yet, and answers the hash under which it is found again.
    public mutating func insert(_ child: UInt32, under parent: UInt32, _ level: Span<UInt8>) -> UInt32 {
        if (size + 1) * 4 > capacity * 3 { grow() }
        let words = Self.words(level), hash = hash(parent, level, words)
        var edge = Edge(parent: parent, child: child, hash: hash, count: UInt32(level.count), low: words.low, high: words.high)
        if level.count > Self.inlineMax {
            let copy = malloc(level.count)!
            level.withUnsafeBufferPointer { _ = memcpy(copy, $0.baseAddress!, $0.count) }
            edge.low = UInt64(UInt(bitPattern: copy))
        }
        place(edge)
        size += 1
        return hash
    }

    private func place(_ edge: Edge) {
        var index = Int(edge.hash) & (capacity - 1)
        while edges[index].child != 0 { index = (index + 1) & (capacity - 1) }
        edges[index] = edge
    }

    private mutating func grow() {
        let old = edges, oldCapacity = capacity
        capacity *= 2
        edges = Self.allocate(capacity)
        for index in 0..<oldCapacity where old[index].child != 0 { place(old[index]) }
        CLinux.free(old)
    }

    private func index(of child: UInt32, _ hash: UInt32) -> Int {
        var index = Int(hash) & (capacity - 1)
        while edges[index].child != child {
            precondition(edges[index].child != 0, "no such edge")
            index = (index + 1) & (capacity - 1)
        }
        return index
    }

    /// Removes the edge to `child`, which was inserted under `hash`.
    public mutating func remove(_ child: UInt32, hash: UInt32) {
        let mask = capacity - 1
        var gap = index(of: child, hash)
        Self.freeText(edges[gap])
        size -= 1
        // Closes the gap: what probed past it moves back, so that no tombstones are left.
        var index = (gap + 1) & mask
        while edges[index].child != 0 {
            let home = Int(edges[index].hash) & mask
            if (index - home) & mask >= (index - gap) & mask {
                edges[gap] = edges[index]
                gap = index
            }
            index = (index + 1) & mask
        }
        edges[gap].child = 0
    }

    /// The level that leads to `child`.
    public func level(to child: UInt32, hash: UInt32) -> [UInt8] {
        let edge = edges[index(of: child, hash)], count = Int(edge.count)
        if count > Self.inlineMax {
            return Array(UnsafeRawBufferPointer(start: UnsafeRawPointer(bitPattern: UInt(edge.low)), count: count))
        }
        func bytes(_ word: UInt64) -> [UInt8] { (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * UInt64($0))) } }
        let low = bytes(edge.low), high = bytes(edge.high)
        if count > 8 { return low + high.suffix(count - 8) }
        if count == 8 || count < 4 { return Array(low.prefix(count)) }
        return low.prefix(4) + low.suffix(count - 4)
    }
}
