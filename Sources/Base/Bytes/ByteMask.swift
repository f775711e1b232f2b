extension ByteBuffer {
    /// Appends `bytes`, each exclusive-or'ed with the byte of `key` whose turn it is (RFC 6455 section 5.3), the lowest byte of `key` first.
    /// Sixty-four at a time, while they are copied.
    @inlinable @inline(__always)
    public mutating func append(_ bytes: Span<UInt8>, mask key: UInt32) {
        let count = bytes.count
        if count == 0 { return }
        let to = reserve(count)
        bytes.withUnsafeBufferPointer { source in
            guard let from = UnsafeRawPointer(source.baseAddress) else { return }
            var at = 0
            if count >= 16 {
                let mask = unsafeBitCast(SIMD4<UInt32>(repeating: key.littleEndian), to: SIMD2<UInt64>.self)
                let wide = SIMD8<UInt64>(lowHalf: SIMD4(lowHalf: mask, highHalf: mask), highHalf: SIMD4(lowHalf: mask, highHalf: mask))
                while at &+ 64 <= count {
                    let masked = from.loadUnaligned(fromByteOffset: at, as: SIMD8<UInt64>.self) ^ wide
                    to.storeBytes(of: masked, toByteOffset: at, as: SIMD8<UInt64>.self)
                    at &+= 64
                }
                while at &+ 16 <= count {
                    let masked = from.loadUnaligned(fromByteOffset: at, as: SIMD2<UInt64>.self) ^ mask
                    to.storeBytes(of: masked, toByteOffset: at, as: SIMD2<UInt64>.self)
                    at &+= 16
                }
            }
            while at &+ 4 <= count {
                to.storeBytes(of: from.loadUnaligned(fromByteOffset: at, as: UInt32.self) ^ key.littleEndian, toByteOffset: at, as: UInt32.self)
                at &+= 4
            }
            var rest = key
            while at < count {
                to.storeBytes(of: from.load(fromByteOffset: at, as: UInt8.self) ^ UInt8(truncatingIfNeeded: rest), toByteOffset: at, as: UInt8.self)
                rest >>= 8
                at &+= 1
            }
        }
        commit(count)
    }
}
