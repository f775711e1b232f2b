/// A value that stays at one address. What a class keeps in a `let` of this type is reached without the dynamic exclusivity
/// check of a stored `var` (a quarter of the CPU where it was measured), so its owner must be one thread, and two overlapping
/// changes of it are the owner's mistake: a call that has `value` inout must not come back to `value`.
public struct Pinned<Value: ~Copyable>: ~Copyable {
    @usableFromInline let address: UnsafeMutablePointer<Value>

    @inlinable public init(_ value: consuming Value) {
        address = .allocate(capacity: 1)
        address.initialize(to: value)
    }

    @inlinable deinit {
        address.deinitialize(count: 1)
        address.deallocate()
    }

    @inlinable public var value: Value {
        @inline(__always) unsafeAddress { UnsafePointer(address) }
        @inline(__always) nonmutating unsafeMutableAddress { address }
    }
}
