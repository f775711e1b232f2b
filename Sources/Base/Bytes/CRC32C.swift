import CLinux

/// A CRC-32C (Castagnoli; RFC 3720, appendix B.4), taken over one piece after the other: 5 to 25 bytes a nanosecond where the
/// processor has the instruction. It finds accidents; against intent it is worth nothing.
public struct CRC32C: Equatable, Sendable, BitwiseCopyable {
    /// The checksum of all that was appended; 0 of nothing.
    public private(set) var value: UInt32 = 0

    public init() {}

    public init(_ bytes: Span<UInt8>) { append(bytes) }

    public mutating func append(_ bytes: Span<UInt8>) { value = bytes.withUnsafeBufferPointer { cl_crc32c(value, $0.baseAddress, $0.count) } }

    /// The number's bytes, big-endian as `ByteBuffer.append` lays them.
    public mutating func append(_ number: UInt32) { withUnsafeBytes(of: number.bigEndian) { value = cl_crc32c(value, $0.baseAddress, 4) } }

    public mutating func append(_ number: UInt64) { withUnsafeBytes(of: number.bigEndian) { value = cl_crc32c(value, $0.baseAddress, 8) } }
}
