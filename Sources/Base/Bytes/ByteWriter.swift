public import CLinux

extension ByteBuffer {
    /// Appends a frame of at most `capacity` bytes with one capacity check for the frame instead of one for each field.
    /// Answers how many bytes `body` wrote.
    @inlinable @inline(__always) @discardableResult
    public mutating func write(capacity: Int, _ body: (inout ByteWriter) -> Void) -> Int {
        var writer = ByteWriter(start: reserve(capacity), capacity: capacity)
        body(&writer)
        commit(writer.count)
        return writer.count
    }
}

/// Fields into room reserved beforehand, big-endian. Made only by `ByteBuffer.write(capacity:)`.
///
/// Invariant: `count <= capacity`; a write beyond traps.
public struct ByteWriter: ~Copyable {
    @usableFromInline let start: UnsafeMutableRawPointer
    @usableFromInline let capacity: Int
    /// Bytes written so far.
    public var count: Int { @inlinable get { written } }
    @usableFromInline var written = 0

    @inlinable @inline(__always) init(start: UnsafeMutableRawPointer, capacity: Int) {
        self.start = start
        self.capacity = capacity
    }

    @inlinable @inline(__always) public mutating func write(_ byte: UInt8) {
        precondition(written < capacity)
        start.storeBytes(of: byte, toByteOffset: written, as: UInt8.self)
        written &+= 1
    }

    @inlinable @inline(__always) public mutating func write(_ value: UInt16) {
        precondition(written <= capacity - 2)
        start.storeBytes(of: value.bigEndian, toByteOffset: written, as: UInt16.self)
        written &+= 2
    }

    @inlinable @inline(__always) public mutating func write(_ value: UInt32) {
        precondition(written <= capacity - 4)
        start.storeBytes(of: value.bigEndian, toByteOffset: written, as: UInt32.self)
        written &+= 4
    }

    @inlinable @inline(__always) public mutating func write(_ bytes: Span<UInt8>) {
        let length = bytes.count
        precondition(length <= capacity - written)
        if length == 0 { return }
        bytes.withUnsafeBufferPointer { _ = memcpy(start + written, $0.baseAddress!, length) }
        written &+= length
    }
}
