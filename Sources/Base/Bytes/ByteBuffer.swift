public import CLinux

/// A growable queue of bytes: append at the back, consume from the front. Owns nothing while it is new or `release`d.
/// ```
///   base        head                 tail          capacity
///    | consumed  |  readable (span)   |  writable    |
/// ```
/// Invariant: `head <= tail <= capacity`; an empty buffer has `head == tail == 0`. Limit: 4 GiB.
/// Not here: sharing (see `OwnedBytes`), and any knowledge of what the bytes mean.
public struct ByteBuffer: ~Copyable {
    @usableFromInline var base: UnsafeMutableRawPointer?
    @usableFromInline var head: UInt32 = 0
    @usableFromInline var tail: UInt32 = 0
    @usableFromInline var room: UInt32 = 0

    @inlinable public init() {}

    /// Takes over `capacity` bytes that `malloc` gave (a loop's pool).
    @inlinable public init(adopting base: UnsafeMutableRawPointer, capacity: Int) {
        self.base = base
        room = UInt32(truncatingIfNeeded: capacity)
    }

    @inlinable deinit { free(base) }

    @inlinable public var count: Int { Int(tail &- head) }
    @inlinable public var isEmpty: Bool { tail == head }
    @inlinable public var ownsMemory: Bool { base != nil }
    @inlinable public var capacity: Int { Int(room) }
    /// Consumed bytes that still lie in front of the readable ones.
    @inlinable public var consumedCount: Int { Int(head) }

    @inlinable public var readable: UnsafeRawPointer { UnsafeRawPointer(base ?? emptyBase) + Int(head) }

    /// The bytes not yet consumed. Valid until the buffer changes; the compiler checks that.
    @inlinable public var span: Span<UInt8> {
        @_lifetime(borrow self) get {
            let bytes = Span<UInt8>(_unsafeStart: readable.assumingMemoryBound(to: UInt8.self), count: count)
            return _overrideLifetime(bytes, borrowing: self)
        }
    }

    @usableFromInline @inline(never) mutating func grow(_ wanted: Int) {
        let live = count
        if head > 0, live + wanted <= Int(room) {
            memmove(base!, base! + Int(head), live)
        } else {
            var capacity = max(256, Int(room) * 2)
            while capacity < live + wanted { capacity *= 2 }
            precondition(capacity <= Int(UInt32.max), "a buffer of over 4 GiB")
            let fresh = malloc(capacity)!
            if let base {
                memcpy(fresh, base + Int(head), live)
                free(base)
            }
            base = fresh
            room = UInt32(capacity)
        }
        head = 0
        tail = UInt32(live)
    }

    /// Room for `count` bytes at the end; `commit` makes what was written there part of the buffer.
    @inlinable @inline(__always) public mutating func reserve(_ count: Int) -> UnsafeMutableRawPointer {
        if Int(room &- tail) < count { grow(count) }
        return base.unsafelyUnwrapped + Int(tail)
    }

    @inlinable @inline(__always) public mutating func commit(_ count: Int) { tail &+= UInt32(truncatingIfNeeded: count) }

    /// Takes back the last `count` bytes: a packet that turned out not to fit.
    @inlinable public mutating func retract(_ count: Int) {
        precondition(count <= self.count)
        tail &-= UInt32(truncatingIfNeeded: count)
    }

    @inlinable public mutating func append(_ bytes: Span<UInt8>) {
        let count = bytes.count
        if count == 0 { return }
        let end = reserve(count)
        bytes.withUnsafeBufferPointer { _ = memcpy(end, $0.baseAddress!, count) }
        commit(count)
    }

    /// The other buffer's readable bytes.
    @inlinable @inline(__always) public mutating func append(contentsOf other: borrowing ByteBuffer) {
        if !other.isEmpty { append(other.readable, count: other.count) }
    }

    @inlinable public mutating func append(_ bytes: UnsafeRawPointer, count: Int) {
        memcpy(reserve(count), bytes, count)
        commit(count)
    }

    @inlinable @inline(__always) public mutating func append(_ byte: UInt8) {
        reserve(1).storeBytes(of: byte, as: UInt8.self)
        commit(1)
    }

    /// Big-endian, as every protocol here sends it.
    @inlinable @inline(__always) public mutating func append(_ value: UInt16) {
        reserve(2).storeBytes(of: value.bigEndian, as: UInt16.self)
        commit(2)
    }

    @inlinable @inline(__always) public mutating func append(_ value: UInt32) {
        reserve(4).storeBytes(of: value.bigEndian, as: UInt32.self)
        commit(4)
    }

    @inlinable @inline(__always) public mutating func append(_ value: UInt64) {
        reserve(8).storeBytes(of: value.bigEndian, as: UInt64.self)
        commit(8)
    }

    @inlinable public mutating func append(utf8 text: StaticString) { append(text.utf8Start, count: text.utf8CodeUnitCount) }

    @inlinable public mutating func append(utf8 text: String) {
        var text = text
        text.withUTF8 { if $0.count > 0 { append($0.baseAddress!, count: $0.count) } }
    }

    /// Overwrites two bytes at `offset` from the first readable one, big-endian: a length or an identifier known late.
    @inlinable @inline(__always) public mutating func set(_ value: UInt16, at offset: Int) {
        precondition(offset >= 0 && offset + 2 <= count)
        (base.unsafelyUnwrapped + Int(head) + offset).storeBytes(of: value.bigEndian, as: UInt16.self)
    }

    /// Overwrites four bytes at `offset` from the first readable one, big-endian.
    @inlinable @inline(__always) public mutating func set(_ value: UInt32, at offset: Int) {
        precondition(offset >= 0 && offset + 4 <= count)
        (base.unsafelyUnwrapped + Int(head) + offset).storeBytes(of: value.bigEndian, as: UInt32.self)
    }

    @inlinable public mutating func consume(_ count: Int) {
        precondition(count <= self.count)
        head &+= UInt32(truncatingIfNeeded: count)
        if head == tail { head = 0; tail = 0 }
    }

    @inlinable public mutating func removeAll() { head = 0; tail = 0 }

    /// Gives the memory away (to a pool) and leaves a buffer that owns nothing.
    @inlinable public mutating func surrender() -> (base: UnsafeMutableRawPointer, capacity: Int)? {
        guard let given = base else { return nil }
        let capacity = Int(room)
        base = nil; head = 0; tail = 0; room = 0
        return (given, capacity)
    }

    /// Frees the memory and leaves a buffer that owns nothing.
    @inlinable public mutating func release() {
        free(base)
        base = nil; head = 0; tail = 0; room = 0
    }
}

/// Where the bytes of a buffer that owns nothing begin: never read.
@inlinable var emptyBase: UnsafeMutableRawPointer { UnsafeMutableRawPointer(bitPattern: 8).unsafelyUnwrapped }
