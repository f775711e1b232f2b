public import CLinux

/// A place in a machine's input: `count` bytes from `start`, valid until the next event is asked for.
/// Limits: 4 GiB each, far above every packet limit.
public struct ByteRange: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var start: UInt32
    public var count: UInt32

    @inlinable public init(_ start: Int, _ count: Int) {
        self.start = UInt32(truncatingIfNeeded: start)
        self.count = UInt32(truncatingIfNeeded: count)
    }

    @inlinable public static var empty: ByteRange { ByteRange(0, 0) }
    @inlinable public var isEmpty: Bool { count == 0 }
    @inlinable public var end: Int { Int(start) + Int(count) }
}

extension Span where Element == UInt8 {
    /// The bytes at `range`; traps when the range does not lie in the span.
    @inlinable @_lifetime(copy self)
    public func at(_ range: ByteRange) -> Span<UInt8> { extracting(Int(range.start)..<range.end) }

    /// A copy, for whoever keeps the bytes. Not for the hot path.
    @inlinable public var array: [UInt8] {
        withUnsafeBufferPointer { Array($0) }
    }

    /// The big-endian integer at `offset`; traps outside the span.
    @inlinable @inline(__always) public func uint16(at offset: Int) -> UInt16 {
        precondition(offset >= 0 && offset <= count - 2)
        return UInt16(bigEndian: withUnsafeBufferPointer { UnsafeRawPointer($0.baseAddress!).loadUnaligned(fromByteOffset: offset, as: UInt16.self) })
    }

    /// The big-endian integer at `offset`; traps outside the span.
    @inlinable @inline(__always) public func uint32(at offset: Int) -> UInt32 {
        precondition(offset >= 0 && offset <= count - 4)
        return UInt32(bigEndian: withUnsafeBufferPointer { UnsafeRawPointer($0.baseAddress!).loadUnaligned(fromByteOffset: offset, as: UInt32.self) })
    }

    /// The big-endian integer at `offset`; traps outside the span.
    @inlinable @inline(__always) public func uint64(at offset: Int) -> UInt64 { word(at: offset).byteSwapped }

    /// Eight bytes at `offset` as one number, the first byte lowest: for scans that look at eight at once. Traps outside the span.
    @inlinable @inline(__always) public func word(at offset: Int) -> UInt64 {
        precondition(offset >= 0 && offset <= count - 8)
        return UInt64(littleEndian: withUnsafeBufferPointer { UnsafeRawPointer($0.baseAddress!).loadUnaligned(fromByteOffset: offset, as: UInt64.self) })
    }

    /// Where the first `byte` at `start` or later is: eight are looked at at once.
    public func first(_ byte: UInt8, from start: Int) -> Int? {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var at = start
        while at &+ 8 <= count {
            let word = word(at: at) ^ (ones &* UInt64(byte))
            let zeros = (word &- ones) & ~word & (ones &* 0x80)
            if zeros != 0 { return at &+ zeros.trailingZeroBitCount / 8 }
            at &+= 8
        }
        while at < count {
            if self[at] == byte { return at }
            at &+= 1
        }
        return nil
    }

    /// Whether both hold the same bytes.
    @inlinable public func equals(_ other: Span<UInt8>) -> Bool {
        let count = count
        guard count == other.count else { return false }
        return withUnsafeBufferPointer { a in
            other.withUnsafeBufferPointer { b in
                if count > 32 { return memcmp(a.baseAddress!, b.baseAddress!, count) == 0 }
                // Short ones, as most are, word by word: a call costs more than the comparison.
                if count == 0 { return true }
                let a = UnsafeRawPointer(a.baseAddress.unsafelyUnwrapped), b = UnsafeRawPointer(b.baseAddress.unsafelyUnwrapped)
                if count >= 8 {
                    var at = 0
                    while at &+ 8 <= count {
                        if a.loadUnaligned(fromByteOffset: at, as: UInt64.self) != b.loadUnaligned(fromByteOffset: at, as: UInt64.self) { return false }
                        at &+= 8
                    }
                    let last = count &- 8
                    return a.loadUnaligned(fromByteOffset: last, as: UInt64.self) == b.loadUnaligned(fromByteOffset: last, as: UInt64.self)
                }
                var at = 0
                while at < count {
                    if a.load(fromByteOffset: at, as: UInt8.self) != b.load(fromByteOffset: at, as: UInt8.self) { return false }
                    at &+= 1
                }
                return true
            }
        }
    }

    /// Text for a log line or an error: UTF-8, repaired where it is not. Not for the hot path.
    public var text: String { withUnsafeBufferPointer { String(decoding: $0, as: UTF8.self) } }
}

extension Array where Element == UInt8 {
    @inlinable public mutating func append(_ bytes: Span<UInt8>) { bytes.withUnsafeBufferPointer { append(contentsOf: $0) } }
}
