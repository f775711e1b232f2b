public import CLinux

/// Values under positions that mostly grow: open addressing with the position itself as the hash, so that neighbours in time
/// are neighbours in memory and one old position among millions of new ones costs nothing. Owns nothing while new.
///
/// Invariant: along a run no value is nearer to its home than the next one's home allows (Robin Hood hashing). So a search ends at the
/// first value that is nearer to its home than what is looked for would be, and a removal moves nothing that is at home: long runs of
/// neighbours, which is what queues hold, cost no more than short ones.
public struct PositionTable<Value: BitwiseCopyable>: ~Copyable {
    @usableFromInline struct Place: BitwiseCopyable {
        @usableFromInline var position: UInt64
        @usableFromInline var value: Value
        @usableFromInline init(position: UInt64, value: Value) { self.position = position; self.value = value }
    }
    @usableFromInline var base: UnsafeMutablePointer<Place>?
    @usableFromInline var size: UInt32 = 0
    @usableFromInline var capacity: UInt32 = 0
    @usableFromInline static var free: UInt64 { .max }

    @inlinable public init() {}
    @inlinable deinit { CLinux.free(base) }

    @inlinable public var count: Int { Int(size) }
    @inlinable public var isEmpty: Bool { size == 0 }

    @inlinable @inline(__always) func home(_ position: UInt64) -> Int { Int(UInt32(truncatingIfNeeded: position) & (capacity &- 1)) }
    @inlinable @inline(__always) func next(_ index: Int) -> Int { (index &+ 1) & (Int(capacity) &- 1) }

    /// How far from its home what is at `index` lies.
    @inlinable @inline(__always) func distance(_ base: UnsafeMutablePointer<Place>, _ index: Int) -> Int {
        (index &- home(base[index].position)) & (Int(capacity) &- 1)
    }

    @inlinable @inline(__always) func find(_ position: UInt64) -> Int? {
        guard size > 0, position != Self.free, let base else { return nil }
        var index = home(position), steps = 0
        while base[index].position != position {
            if base[index].position == Self.free || distance(base, index) < steps { return nil }
            index = next(index)
            steps &+= 1
        }
        return index
    }

    @inlinable public func value(at position: UInt64) -> Value? { find(position).map { base.unsafelyUnwrapped[$0].value } }

    /// Adds a position that is not in the table yet. `.max` is not a position.
    @inlinable public mutating func insert(_ value: Value, at position: UInt64) {
        if (size &+ 1) &* 2 > capacity { resize(to: max(8, capacity &* 2)) }
        place(value, at: position)
        size &+= 1
    }

    @inlinable func place(_ value: Value, at position: UInt64) {
        let base = base.unsafelyUnwrapped
        var place = Place(position: position, value: value)
        var index = home(position), steps = 0
        while base[index].position != Self.free {
            let distance = distance(base, index)
            if distance < steps {
                swap(&place, &base[index])
                steps = distance
            }
            index = next(index)
            steps &+= 1
        }
        base[index] = place
    }

    /// Changes a value in place; false if the position is not there.
    @inlinable public mutating func update(_ position: UInt64, _ change: (inout Value) -> Void) -> Bool {
        guard let index = find(position) else { return false }
        change(&base.unsafelyUnwrapped[index].value)
        return true
    }

    @inlinable public mutating func remove(_ position: UInt64) -> Value? {
        guard let found = find(position) else { return nil }
        let base = base.unsafelyUnwrapped
        let value = base[found].value
        // Closes the gap, so that no tombstones are left: what lies away from home moves nearer.
        var gap = found, index = next(found)
        while base[index].position != Self.free, distance(base, index) > 0 {
            base[gap] = base[index]
            gap = index
            index = next(index)
        }
        base[gap].position = Self.free
        size &-= 1
        if size == 0, capacity > 1024 { CLinux.free(base); self.base = nil; capacity = 0 }
        return value
    }

    @usableFromInline @inline(never) mutating func resize(to fresh: UInt32) {
        let old = base, oldCapacity = Int(capacity)
        let memory = malloc(Int(fresh) * MemoryLayout<Place>.stride)!.bindMemory(to: Place.self, capacity: Int(fresh))
        for index in 0..<Int(fresh) { memory[index].position = Self.free }
        base = memory
        capacity = fresh
        for index in 0..<oldCapacity where old.unsafelyUnwrapped[index].position != Self.free {
            place(old.unsafelyUnwrapped[index].value, at: old.unsafelyUnwrapped[index].position)
        }
        CLinux.free(old)
    }

    /// All positions, in no order. For closing down, not for the hot path.
    @inlinable public var positions: [UInt64] {
        (0..<Int(capacity)).compactMap { base.unsafelyUnwrapped[$0].position == Self.free ? nil : base.unsafelyUnwrapped[$0].position }
    }
}
