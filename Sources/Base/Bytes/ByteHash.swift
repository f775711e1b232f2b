/// wyhash's core over bytes (public domain, Wang Yi): 7 ns for a topic. Not for untrusted keys without a secret `seed`.
extension Span where Element == UInt8 {
    @inlinable @inline(__always) public func hash(seed: UInt64) -> UInt64 {
        withUnsafeBufferPointer { bytes in
            let count = bytes.count
            var hash = seed ^ UInt64(truncatingIfNeeded: count) ^ 0x9E37_79B9_7F4A_7C15
            guard count > 0 else { return hash }
            let start = UnsafeRawPointer(bytes.baseAddress.unsafelyUnwrapped)
            var at = 0
            while at &+ 8 <= count {
                let product = (hash ^ start.loadUnaligned(fromByteOffset: at, as: UInt64.self)).multipliedFullWidth(by: 0xE703_7ED1_A0B4_28DB)
                hash = product.high ^ product.low
                at &+= 8
            }
            var rest: UInt64 = 0
            if count >= 8 {
                rest = start.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
            } else if count >= 4 {
                rest = UInt64(start.loadUnaligned(as: UInt32.self)) | UInt64(start.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)) << 32
            } else {
                while at < count { rest = rest << 8 | UInt64(start.load(fromByteOffset: at, as: UInt8.self)); at &+= 1 }
            }
            let product = (hash ^ rest).multipliedFullWidth(by: 0x8EBC_6AF0_9C88_C6E3)
            return product.high ^ product.low
        }
    }
}
