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

    @inlinable @inline(__always) public mutating func write(_ value: UInt64) {
        precondition(written <= capacity - 8)
        start.storeBytes(of: value.bigEndian, toByteOffset: written, as: UInt64.self)
        written &+= 8
    }

    @inlinable @inline(__always) public mutating func write(_ bytes: Span<UInt8>) {
        let length = bytes.count
        precondition(length <= capacity &- written)
        bytes.withUnsafeBufferPointer { source in
            guard let from = UnsafeRawPointer(source.baseAddress) else { return }
            let to = start + written
            // Names are short: two words that overlap cost less than a call.
            if length > 32 {
                memcpy(to, from, length)
            } else if length >= 16 {
                let last = from.loadUnaligned(fromByteOffset: length &- 16, as: SIMD16<UInt8>.self)
                to.storeBytes(of: from.loadUnaligned(as: SIMD16<UInt8>.self), as: SIMD16<UInt8>.self)
                to.storeBytes(of: last, toByteOffset: length &- 16, as: SIMD16<UInt8>.self)
            } else if length >= 8 {
                let last = from.loadUnaligned(fromByteOffset: length &- 8, as: UInt64.self)
                to.storeBytes(of: from.loadUnaligned(as: UInt64.self), as: UInt64.self)
                to.storeBytes(of: last, toByteOffset: length &- 8, as: UInt64.self)
            } else if length >= 4 {
                let last = from.loadUnaligned(fromByteOffset: length &- 4, as: UInt32.self)
                to.storeBytes(of: from.loadUnaligned(as: UInt32.self), as: UInt32.self)
                to.storeBytes(of: last, toByteOffset: length &- 4, as: UInt32.self)
            } else if length > 0 {
                let last = from.load(fromByteOffset: length &- 1, as: UInt8.self), middle = from.load(fromByteOffset: length >> 1, as: UInt8.self)
                to.storeBytes(of: from.load(as: UInt8.self), as: UInt8.self)
                to.storeBytes(of: middle, toByteOffset: length >> 1, as: UInt8.self)
                to.storeBytes(of: last, toByteOffset: length &- 1, as: UInt8.self)
            }
        }
        written &+= length
    }
}
