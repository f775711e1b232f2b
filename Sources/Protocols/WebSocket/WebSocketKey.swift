import MartletBytes

/// Sec-WebSocket-Key and Sec-WebSocket-Accept (RFC 6455 section 4.2.2): neither is a secret; they show that both ends mean WebSocket.
enum WebSocketKey {
    private static let uuid = Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)

    /// Whether it is Base64 of sixteen bytes.
    static func isKey(_ key: [UInt8]) -> Bool { Base64.bytes(key)?.count == 16 }

    static func accept(_ key: some Sequence<UInt8>) -> String { Base64.text(SHA1.hash(Array(key) + uuid)) }
}

/// FIPS 180-4, section 6.1. Broken as a signature, and none here.
enum SHA1 {
    static func hash(_ message: [UInt8]) -> [UInt8] {
        var padded = message + [0x80]
        padded.append(contentsOf: repeatElement(0, count: (120 - padded.count % 64) % 64))
        let bits = UInt64(message.count) * 8
        for shift in stride(from: 56, through: 0, by: -8) { padded.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift))) }
        var state: [UInt32] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0]
        for block in stride(from: 0, to: padded.count, by: 64) { mix(padded, block, into: &state) }
        return state.flatMap { word in [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> UInt32($0)) } }
    }

    private static func rotated(_ word: UInt32, _ bits: UInt32) -> UInt32 { word << bits | word >> (32 - bits) }

    private static func mix(_ bytes: [UInt8], _ block: Int, into state: inout [UInt32]) {
        var words = (0..<16).map { bytes.span.uint32(at: block + 4 * $0) }
        for at in 16..<80 { words.append(rotated(words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16], 1)) }
        var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
        for at in 0..<80 {
            let (mixed, constant): (UInt32, UInt32) =
                switch at / 20 {
                case 0: (b & c | ~b & d, 0x5A82_7999)
                case 1: (b ^ c ^ d, 0x6ED9_EBA1)
                case 2: (b & c | b & d | c & d, 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            (a, b, c, d, e) = (rotated(a, 5) &+ mixed &+ e &+ constant &+ words[at], a, rotated(b, 30), c, d)
        }
        for (at, value) in [a, b, c, d, e].enumerated() { state[at] &+= value }
    }
}
