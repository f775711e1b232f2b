internal import MartletBytes

/// Frames and fields (AMQP 0-9-1 section 4.2).
/// ```
/// | type 1 | channel 2 | size 4 | payload: size bytes | 0xCE |
///   ^ start                       ^ body                ^ end
/// ```
/// Invariant: a frame is found from its seven bytes of header alone, so looking again after more bytes came costs the same few steps.
struct AMQPFrame {
    static var method: UInt8 { 1 }
    static var header: UInt8 { 2 }
    static var body: UInt8 { 3 }
    static var heartbeat: UInt8 { 8 }
    static var endOctet: UInt8 { 0xCE }
    /// Header and end octet.
    static var overhead: Int { 8 }

    var type: UInt8
    var channel: UInt16
    var body: Int
    var end: Int

    var count: Int { end &- body }
    /// Behind the end octet.
    var next: Int { end &+ 1 }

    /// What the seven bytes at `offset` say; `nil` when not even the shortest frame is there. The payload may not be.
    @inline(__always)
    static func peek(in bytes: Span<UInt8>, at offset: Int) -> AMQPFrame? {
        guard offset <= bytes.count - overhead else { return nil }
        let head = bytes.word(at: offset).byteSwapped
        let body = offset &+ 7
        return AMQPFrame(
            type: UInt8(truncatingIfNeeded: head >> 56), channel: UInt16(truncatingIfNeeded: head >> 40), body: body,
            end: body &+ Int(UInt32(truncatingIfNeeded: head >> 8)))
    }

    /// The frame that begins at `offset`, or `nil` when it is not all there. One that is too large is not waited for.
    static func find(in bytes: Span<UInt8>, at offset: Int, frameMax: UInt32) throws(AMQPFault) -> AMQPFrame? {
        guard bytes.count - offset >= 7 else { return nil }
        guard Int(bytes.uint32(at: offset + 3)) + overhead <= Int(frameMax) else { throw .frameTooLarge }
        guard let frame = peek(in: bytes, at: offset), frame.end < bytes.count else { return nil }
        guard bytes[frame.end] == endOctet else { throw .frameEnd }
        guard frame.type == method || frame.type == body || frame.type == header || frame.type == heartbeat else { throw .frameType }
        return frame
    }

    /// The frame of this type that begins at `offset`, if it is all there and well framed.
    @inline(__always)
    static func whole(_ type: UInt8, in bytes: Span<UInt8>, at offset: Int, frameMax: UInt32) -> AMQPFrame? {
        guard let frame = peek(in: bytes, at: offset), frame.type == type, frame.end < bytes.count else { return nil }
        guard frame.count &+ overhead <= Int(frameMax), bytes[frame.end] == endOctet else { return nil }
        return frame
    }

    /// The payload, with nothing behind it in sight. Offsets stay those of `bytes`.
    @_lifetime(copy bytes)
    func reader(in bytes: Span<UInt8>) -> ByteReader { ByteReader(bytes.extracting(0..<end), offset: body) }
}

/// "AMQP" and the version (section 4.2.2).
enum AMQPProtocolHeader {
    static let bytes: [UInt8] = [0x41, 0x4D, 0x51, 0x50, 0, 0, 9, 1]
}

extension ByteReader {
    var isAtEnd: Bool { remaining == 0 }

    @_lifetime(self: copy self) mutating func octet() throws(AMQPFault) -> UInt8 {
        guard let value = readUInt8() else { throw .cutShort }
        return value
    }

    @_lifetime(self: copy self) mutating func short() throws(AMQPFault) -> UInt16 {
        guard let value = readUInt16() else { throw .cutShort }
        return value
    }

    @_lifetime(self: copy self) mutating func long() throws(AMQPFault) -> UInt32 {
        guard let value = readUInt32() else { throw .cutShort }
        return value
    }

    @_lifetime(self: copy self) mutating func longLong() throws(AMQPFault) -> UInt64 {
        guard let value = readUInt64() else { throw .cutShort }
        return value
    }

    @_lifetime(self: copy self) mutating func range(_ count: Int) throws(AMQPFault) -> ByteRange {
        guard let range = readRange(count) else { throw .cutShort }
        return range
    }

    /// One byte of length and that many bytes, which may be any.
    @_lifetime(self: copy self) mutating func shortString() throws(AMQPFault) -> ByteRange { try range(Int(try octet())) }

    /// Four bytes of length and that many bytes.
    @_lifetime(self: copy self) mutating func longString() throws(AMQPFault) -> ByteRange { try range(Int(try long())) }

    /// A field table without its length, checked.
    @_lifetime(self: copy self) mutating func table(depthMax: UInt8) throws(AMQPFault) -> ByteRange {
        let range = try longString()
        if !range.isEmpty { try AMQPTableCursor.check(range, in: bytes, isArray: false, depthMax: depthMax) }
        return range
    }

    func end() throws(AMQPFault) {
        guard isAtEnd else { throw .trailingBytes }
    }
}

extension ByteBuffer {
    mutating func append(shortString bytes: [UInt8]) throws(AMQPMisuse) {
        guard bytes.count <= 255 else { throw .textTooLong }
        append(UInt8(bytes.count))
        append(bytes.span)
    }

    mutating func append(longString bytes: [UInt8]) {
        append(UInt32(truncatingIfNeeded: bytes.count))
        append(bytes.span)
    }
}
