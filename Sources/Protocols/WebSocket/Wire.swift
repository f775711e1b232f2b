import MartletBytes

/// A frame's beginning (RFC 6455 section 5.2).
/// ```
///  bit 7    6    5    4    3 2 1 0   7     6 … 0
///     FIN  RSV1 RSV2 RSV3  opcode    MASK  length | 126 and 2 bytes | 127 and 8 bytes   [masking key, 4 bytes]   payload
/// ```
enum WebSocketWire {
    static let final: UInt8 = 0x80, compressed: UInt8 = 0x40, reserved: UInt8 = 0x30, control: UInt8 = 0x08, opcode: UInt8 = 0x0F
    static let mask: UInt8 = 0x80
    static let controlMax = 125
    /// Two bytes, eight of length, four of the masking key.
    static let headerMax = 14
    static let extensionName: StaticString = "permessage-deflate"

    /// Bytes of the header of a frame of `count` bytes, without the masking key.
    @inline(__always) static func headerCount(_ count: Int) -> Int { count < 126 ? 2 : count < 65536 ? 4 : 10 }
}

/// What a data or a control frame is.
enum WebSocketOpcode {
    static let continuation: UInt8 = 0, text: UInt8 = 1, binary: UInt8 = 2, close: UInt8 = 8, ping: UInt8 = 9, pong: UInt8 = 10
}

extension ByteBuffer {
    /// A frame's header: `first` is FIN, RSV1 and the opcode.
    @inline(__always)
    mutating func appendWebSocketHeader(_ first: UInt8, count: Int, isMasked: Bool) {
        let mask = isMasked ? WebSocketWire.mask : 0
        if count < 126 {
            append(UInt16(first) << 8 | UInt16(mask | UInt8(truncatingIfNeeded: count)))
        } else if count < 65536 {
            append(UInt32(first) << 24 | UInt32(mask | 126) << 16 | UInt32(count))
        } else {
            append(UInt16(first) << 8 | UInt16(mask | 127))
            append(UInt64(count))
        }
    }
}
