internal import MartletBytes

/// Fixed headers, numbers and length-prefixed fields (MQTT 5.0 chapters 1.5 and 2; 3.1.1 chapters 1.5 and 2).
/// ```
/// | type 4 | flags 4 | remaining length, 1 to 4 bytes | remaining length bytes ... |
///   ^ start                                            ^ body                      ^ end
/// ```
/// Invariant: a frame is found from its header alone, so looking again after more bytes came costs the same few steps.
/// What is wrong is judged in one order whatever way the bytes are cut: first byte, remaining length, size, body.
struct MQTTFrame {
    var first: UInt8
    var body: Int
    var end: Int

    var type: UInt8 { first >> 4 }
    var count: Int { end - body }

    /// The frame whose fixed header begins at `offset`, or `nil` when it is not all there. The first byte is judged by the caller.
    @inline(__always)
    static func find(in bytes: Span<UInt8>, at offset: Int, sizeMax: UInt32) throws(MQTTViolation) -> MQTTFrame? {
        let available = bytes.count
        guard available - offset >= 2 else { return nil }
        var length = Int(bytes[offset + 1])
        var at = offset + 2
        if length >= 128 {
            guard let (wide, next) = try wideLength(in: bytes, at: offset + 1) else { return nil }
            length = wide
            at = next
        }
        guard at - offset + length <= Int(sizeMax) else { throw .packetTooLarge }
        guard available - at >= length else { return nil }
        return MQTTFrame(first: bytes[offset], body: at, end: at + length)
    }

    /// A variable byte integer of two to four bytes, or `nil` when it is not all there.
    static func wideLength(in bytes: Span<UInt8>, at offset: Int) throws(MQTTViolation) -> (Int, Int)? {
        var value = 0
        for index in 0..<4 {
            guard offset + index < bytes.count else { return nil }
            let byte = bytes[offset + index]
            value |= Int(byte & 0x7F) << (7 * index)
            guard byte < 128 else { continue }
            guard byte != 0 || index == 0 else { throw .malformed(.variableByteInteger) }
            return (value, offset + index + 1)
        }
        throw .malformed(.variableByteInteger)
    }

    /// The fields, with nothing behind the packet in sight. Offsets stay those of `bytes`.
    @_lifetime(copy bytes)
    func reader(in bytes: Span<UInt8>) -> ByteReader { ByteReader(bytes.extracting(0..<end), offset: body) }
}

/// The packet types (MQTT 5.0 table 2-1).
enum MQTTPacketType {
    static var connect: UInt8 { 1 }
    static var connack: UInt8 { 2 }
    static var publish: UInt8 { 3 }
    static var puback: UInt8 { 4 }
    static var pubrec: UInt8 { 5 }
    static var pubrel: UInt8 { 6 }
    static var pubcomp: UInt8 { 7 }
    static var subscribe: UInt8 { 8 }
    static var suback: UInt8 { 9 }
    static var unsubscribe: UInt8 { 10 }
    static var unsuback: UInt8 { 11 }
    static var pingreq: UInt8 { 12 }
    static var pingresp: UInt8 { 13 }
    static var disconnect: UInt8 { 14 }
    static var auth: UInt8 { 15 }

    /// Whether the flags are those the type must carry, but for PUBLISH [MQTT-2.1.3-1]. MQTT 3.1 has DUP where others reserve 0010.
    static func hasFlags(_ first: UInt8, _ version: MQTTVersion) -> Bool {
        reserves0010(first >> 4) ? first & (version == .v3_1 ? 7 : 15) == 2 : first & 15 == 0
    }

    static func reserves0010(_ type: UInt8) -> Bool { type == pubrel || type == subscribe || type == unsubscribe }

    /// Judges the first byte of a packet that is not an ordinary PUBLISH; `accepted` has a bit for each type this side takes.
    static func check(_ first: UInt8, version: MQTTVersion, accepted: UInt16) throws(MQTTViolation) {
        let type = first >> 4
        if type == publish {
            switch first >> 1 & 3 {
            case 0: if first & 8 != 0 { throw .malformed(.duplicateQoSZero) }
            case 3: throw .malformed(.qosThree)
            default: break
            }
            return
        }
        guard type != 0, type != auth || version == .v5 else { throw .malformed(.reservedPacketType) }
        guard hasFlags(first, version) else { throw .malformed(.fixedHeaderFlags) }
        guard accepted >> UInt16(type) & 1 == 1 else { throw .protocolError(.unexpectedPacket) }
    }

    /// Whether `first` begins a PUBLISH that needs no further look at its flags: QoS 0 without DUP, QoS 1, or QoS 2.
    @inline(__always)
    static func isPlainPublish(_ first: UInt8) -> Bool { first >> 4 == publish && 0x3C3F >> UInt16(first & 15) & 1 == 1 }
}

extension ByteReader {
    var isAtEnd: Bool { remaining == 0 }

    @_lifetime(self: copy self) mutating func byte() throws(MQTTViolation) -> UInt8 {
        guard let value = readUInt8() else { throw .malformed(.cutShort) }
        return value
    }

    @_lifetime(self: copy self) mutating func uint16() throws(MQTTViolation) -> UInt16 {
        guard let value = readUInt16() else { throw .malformed(.cutShort) }
        return value
    }

    @_lifetime(self: copy self) mutating func uint32() throws(MQTTViolation) -> UInt32 {
        guard let value = readUInt32() else { throw .malformed(.cutShort) }
        return value
    }

    /// [MQTT-2.2.1-3]; 3.1.1: [MQTT-2.3.1-1]
    @_lifetime(self: copy self) mutating func packetIdentifier() throws(MQTTViolation) -> UInt16 {
        let value = try uint16()
        guard value != 0 else { throw .malformed(.packetIdentifierZero) }
        return value
    }

    /// A variable byte integer, section 1.5.5.
    @_lifetime(self: copy self) mutating func variableByteInteger() throws(MQTTViolation) -> Int {
        guard let (value, next) = try MQTTFrame.wideLength(in: bytes, at: offset) else { throw .malformed(.cutShort) }
        offset = next
        return value
    }

    @_lifetime(self: copy self) mutating func range(_ count: Int) throws(MQTTViolation) -> ByteRange {
        guard let range = readRange(count) else { throw .malformed(.cutShort) }
        return range
    }

    /// Binary data: a two-byte length and that many bytes.
    @_lifetime(self: copy self) mutating func binary() throws(MQTTViolation) -> ByteRange {
        try range(Int(try uint16()))
    }

    /// A UTF-8 encoded string.
    @_lifetime(self: copy self) mutating func text() throws(MQTTViolation) -> ByteRange {
        let range = try binary()
        guard MQTTText.isText(bytes.at(range)) else { throw .malformed(.text) }
        return range
    }

    /// A topic name, not empty.
    @_lifetime(self: copy self) mutating func topicName(levelsMax: UInt16) throws(MQTTViolation) -> ByteRange {
        let range = try binary()
        guard !range.isEmpty else { throw .topicNameInvalid }
        try MQTTText.checkTopicName(bytes, range, levelsMax: levelsMax)
        return range
    }

    /// The properties' place, without the length in front of them.
    @_lifetime(self: copy self) mutating func properties() throws(MQTTViolation) -> ByteRange {
        try range(try variableByteInteger())
    }

    func end() throws(MQTTViolation) {
        guard isAtEnd else { throw .malformed(.trailingBytes) }
    }
}
