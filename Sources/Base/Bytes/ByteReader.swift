/// A cursor over bytes that stay where they are.
///
/// Two kinds of reading: `bytes` and `offset` are for a machine's framing, which looks before it takes; the `read…` calls
/// are for the fields of a whole frame and answer `nil` when the frame ends too early.
/// Invariant: `offset <= bytes.count`; a call that answers `nil` has consumed nothing.
public struct ByteReader: ~Escapable {
    public let bytes: Span<UInt8>
    public var offset: Int

    @inlinable @_lifetime(copy bytes)
    public init(_ bytes: Span<UInt8>, offset: Int = 0) {
        self.bytes = bytes
        self.offset = offset
    }

    @inlinable public var remaining: Int { bytes.count - offset }

    @inlinable @inline(__always) @_lifetime(self: copy self) public mutating func readUInt8() -> UInt8? {
        guard remaining >= 1 else { return nil }
        offset += 1
        return bytes[offset - 1]
    }

    @inlinable @inline(__always) @_lifetime(self: copy self) public mutating func readUInt16() -> UInt16? {
        guard remaining >= 2 else { return nil }
        offset += 2
        return bytes.uint16(at: offset - 2)
    }

    @inlinable @inline(__always) @_lifetime(self: copy self) public mutating func readUInt32() -> UInt32? {
        guard remaining >= 4 else { return nil }
        offset += 4
        return bytes.uint32(at: offset - 4)
    }

    @inlinable @inline(__always) @_lifetime(self: copy self) public mutating func readUInt64() -> UInt64? {
        guard remaining >= 8 else { return nil }
        offset += 8
        return bytes.uint64(at: offset - 8)
    }

    /// The place of the next `count` bytes, which are skipped.
    @inlinable @inline(__always) @_lifetime(self: copy self) public mutating func readRange(_ count: Int) -> ByteRange? {
        guard count >= 0, remaining >= count else { return nil }
        offset += count
        return ByteRange(offset - count, count)
    }
}
