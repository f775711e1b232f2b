/// The masking keys of a client's frames: SipHash-2-4 of a counter under a secret key, so that whoever has seen many of them cannot tell the next
/// (RFC 6455 section 10.3). Two from each hash.
struct WebSocketMaskingKeys {
    private let key: (UInt64, UInt64)
    private var counter: UInt64 = 0
    private var spare: UInt32 = 0
    private var hasSpare = false

    /// Sixteen bytes from the system's generator; fixed ones in tests alone.
    init(_ secret: (UInt64, UInt64)) { key = secret }

    @inline(__always)
    mutating func next() -> UInt32 {
        if hasSpare {
            hasSpare = false
            return spare
        }
        let hash = Self.hash(counter, key)
        counter &+= 1
        spare = UInt32(truncatingIfNeeded: hash >> 32)
        hasSpare = true
        return UInt32(truncatingIfNeeded: hash)
    }

    /// SipHash-2-4 of the eight bytes of `message`.
    static func hash(_ message: UInt64, _ key: (UInt64, UInt64)) -> UInt64 {
        var v0 = key.0 ^ 0x736F_6D65_7073_6575, v1 = key.1 ^ 0x646F_7261_6E64_6F6D
        var v2 = key.0 ^ 0x6C79_6765_6E65_7261, v3 = key.1 ^ 0x7465_6462_7974_6573
        func rotated(_ value: UInt64, _ bits: UInt64) -> UInt64 { value &<< bits | value &>> (64 &- bits) }
        func rounds(_ count: Int) {
            for _ in 0..<count {
                v0 = v0 &+ v1
                v1 = rotated(v1, 13) ^ v0
                v0 = rotated(v0, 32)
                v2 = v2 &+ v3
                v3 = rotated(v3, 16) ^ v2
                v0 = v0 &+ v3
                v3 = rotated(v3, 21) ^ v0
                v2 = v2 &+ v1
                v1 = rotated(v1, 17) ^ v2
                v2 = rotated(v2, 32)
            }
        }
        // The message, then its length.
        v3 ^= message
        rounds(2)
        v0 ^= message
        v3 ^= 8 << 56
        rounds(2)
        v0 ^= 8 << 56
        v2 ^= 0xFF
        rounds(4)
        return v0 ^ v1 ^ v2 ^ v3
    }
}
