public import CLinux

/// A queue in a circle of a power of two: append at the back, take from the front, look anywhere. Owns nothing while new.
/// Gives its memory back when it empties after having grown large.
public struct Ring<Element: BitwiseCopyable>: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<Element>?
    @usableFromInline var head: UInt32 = 0
    @usableFromInline var size: UInt32 = 0
    @usableFromInline var capacity: UInt32 = 0

    @inlinable public init() {}
    @inlinable deinit { free(base) }

    @inlinable public var count: Int { Int(size) }
    @inlinable public var isEmpty: Bool { size == 0 }

    @inlinable @inline(__always) func slot(_ index: Int) -> UnsafeMutablePointer<Element> {
        precondition(index >= 0 && index < Int(size))
        return base.unsafelyUnwrapped + Int((head &+ UInt32(truncatingIfNeeded: index)) & (capacity &- 1))
    }

    /// The element `index` places behind the front.
    @inlinable public subscript(index: Int) -> Element {
        @inline(__always) unsafeAddress { UnsafePointer(slot(index)) }
        @inline(__always) unsafeMutableAddress { slot(index) }
    }

    @inlinable public var first: Element? { isEmpty ? nil : self[0] }

    @inlinable public mutating func append(_ element: Element) {
        if size == capacity { grow() }
        size &+= 1
        slot(Int(size) - 1).initialize(to: element)
    }

    @inlinable @discardableResult public mutating func removeFirst() -> Element {
        let element = self[0]
        head = (head &+ 1) & (capacity &- 1)
        size &-= 1
        if size == 0, capacity > 1024 { free(base); base = nil; head = 0; capacity = 0 }
        return element
    }

    @usableFromInline @inline(never) mutating func grow() {
        let fresh = max(8, capacity * 2)
        let memory = malloc(Int(fresh) * MemoryLayout<Element>.stride)!.bindMemory(to: Element.self, capacity: Int(fresh))
        for index in 0..<Int(size) { (memory + index).initialize(to: self[index]) }
        free(base)
        base = memory
        head = 0
        capacity = fresh
    }
}
