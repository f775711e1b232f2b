public import CLinux

/// Values under small numbers that are used again: `insert` answers a number from 1 up (0 means "none"), `remove` frees it.
///
/// Invariant: a number names the same value from `insert` to `remove`. Memory grows by doubling and is never initialised ahead,
/// so what was not yet used is not resident. A number outside the slab traps; a freed one is its holder's mistake, which
/// generations (where a holder may be late) must catch.
public struct Slab<Element: ~Copyable>: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Element>
    @usableFromInline var capacity: Int
    @usableFromInline var used = 1
    @usableFromInline var free: [UInt32] = []

    @inlinable public init(minimumCapacity: Int = 8) {
        capacity = max(2, minimumCapacity)
        base = .allocate(capacity: capacity)
    }

    @inlinable deinit {
        var live = [Bool](repeating: true, count: used)
        for number in free { live[Int(number)] = false }
        for number in 1..<max(1, used) where live[number] { (base + number).deinitialize(count: 1) }
        CLinux.free(base)
    }

    /// Values held.
    @inlinable public var count: Int { used - 1 - free.count }

    /// Every number ever given is below this.
    @inlinable public var end: UInt32 { UInt32(truncatingIfNeeded: used) }

    @inlinable public mutating func insert(_ element: consuming Element) -> UInt32 {
        if let number = free.popLast() {
            (base + Int(number)).initialize(to: element)
            return number
        }
        if used == capacity { grow() }
        (base + used).initialize(to: element)
        used += 1
        return UInt32(truncatingIfNeeded: used - 1)
    }

    /// Fetches a value into the processor's cache, to be read soon.
    @inlinable @inline(__always) public func expect(_ number: UInt32) {
        guard Int(number) < used else { return }
        // It may lie in two lines of the cache.
        cl_prefetch(base + Int(number))
        cl_prefetch(UnsafeRawPointer(base + Int(number) + 1) - 1)
    }

    @usableFromInline @inline(never) mutating func grow() {
        capacity *= 2
        precondition(capacity <= Int(UInt32.max))
        base = realloc(base, capacity * MemoryLayout<Element>.stride)!.bindMemory(to: Element.self, capacity: capacity)
    }

    /// Shows every value with its number. Looks at every number ever given.
    @inlinable public func forEach(_ body: (UInt32, borrowing Element) -> Void) {
        var live = [Bool](repeating: true, count: used)
        for number in free { live[Int(number)] = false }
        for number in 1..<max(1, used) where live[number] { body(UInt32(truncatingIfNeeded: number), base[number]) }
    }

    @inlinable @discardableResult public mutating func remove(_ number: UInt32) -> Element {
        precondition(number > 0 && Int(number) < used)
        free.append(number)
        return (base + Int(number)).move()
    }

    @inlinable public subscript(number: UInt32) -> Element {
        @inline(__always) unsafeAddress {
            precondition(Int(number) < used)
            return UnsafePointer(base + Int(number))
        }
        @inline(__always) unsafeMutableAddress {
            precondition(Int(number) < used)
            return base + Int(number)
        }
    }
}
