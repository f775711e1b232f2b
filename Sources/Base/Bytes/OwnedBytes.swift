public import CLinux

/// An immutable copy of some bytes in one allocation of exactly their size; freed with its owner.
public struct OwnedBytes: ~Copyable {
    @usableFromInline let base: UnsafeMutableRawPointer?
    public let count: Int

    @inlinable public init() { base = nil; count = 0 }

    /// One copy of the three parts, one behind the other.
    @inlinable public init(copying a: Span<UInt8>, _ b: Span<UInt8> = Span(), _ c: Span<UInt8> = Span()) {
        count = a.count + b.count + c.count
        guard count > 0 else { base = nil; return }
        let base = malloc(count)!
        self.base = base
        a.withUnsafeBufferPointer { if $0.count > 0 { memcpy(base, $0.baseAddress!, $0.count) } }
        b.withUnsafeBufferPointer { if $0.count > 0 { memcpy(base + a.count, $0.baseAddress!, $0.count) } }
        c.withUnsafeBufferPointer { if $0.count > 0 { memcpy(base + a.count + b.count, $0.baseAddress!, $0.count) } }
    }

    @inlinable deinit { free(base) }

    @inlinable public var span: Span<UInt8> {
        @_lifetime(borrow self) get {
            let start = UnsafeRawPointer(base ?? emptyBase).assumingMemoryBound(to: UInt8.self)
            return _overrideLifetime(Span<UInt8>(_unsafeStart: start, count: count), borrowing: self)
        }
    }
}
