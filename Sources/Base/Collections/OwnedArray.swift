public import CLinux

/// A fixed number of plain values in one allocation of exactly their size; owns nothing when there are none.
public struct OwnedArray<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline let base: UnsafeMutablePointer<Element>?
    public let count: Int

    @inlinable public init() { base = nil; count = 0 }

    @inlinable public init(_ elements: some Collection<Element>) {
        count = elements.count
        guard count > 0 else { base = nil; return }
        let base = malloc(count * MemoryLayout<Element>.stride)!.bindMemory(to: Element.self, capacity: count)
        var index = 0
        for element in elements { base[index] = element; index += 1 }
        self.base = base
    }

    @inlinable deinit { free(base) }

    @inlinable public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(index >= 0 && index < count)
            return base.unsafelyUnwrapped[index]
        }
    }
}

/// Plain values one behind the other, emptied and filled again: what one command led to. Keeps its memory.
public struct Scratch<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Element>
    @usableFromInline var capacity: Int
    @usableFromInline var size = 0

    @inlinable public init() {
        capacity = 16
        base = .allocate(capacity: capacity)
    }

    @inlinable deinit { base.deallocate() }

    @inlinable public var count: Int { size }
    @inlinable public var isEmpty: Bool { size == 0 }

    @inlinable @inline(__always) public mutating func append(_ element: Element) {
        if size == capacity { grow() }
        base[size] = element
        size &+= 1
    }

    @usableFromInline @inline(never) mutating func grow() {
        let fresh = UnsafeMutablePointer<Element>.allocate(capacity: capacity * 2)
        fresh.update(from: base, count: size)
        base.deallocate()
        base = fresh
        capacity *= 2
    }

    @inlinable public mutating func removeAll() { size = 0 }

    @inlinable public subscript(index: Int) -> Element {
        @inline(__always) get {
            precondition(index >= 0 && index < size)
            return base[index]
        }
        @inline(__always) set {
            precondition(index >= 0 && index < size)
            base[index] = newValue
        }
    }

    @inlinable public var span: Span<Element> {
        @_lifetime(borrow self) get { _overrideLifetime(Span(_unsafeStart: base, count: size), borrowing: self) }
    }
}
