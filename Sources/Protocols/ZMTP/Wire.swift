public import MartletBytes

/// One frame's place (RFC 37, Framing).
/// ```
/// flags | size: 1 octet, or 8 with LONG | body
/// ```
struct ZMTPFrame {
    let flags: UInt8
    let body: Int
    /// Bytes of the body, `Int.max` when it says more.
    let count: Int

    var isCommand: Bool { flags & ZMTPWire.command != 0 }
    var hasMore: Bool { flags & ZMTPWire.more != 0 }
    var range: ByteRange { ByteRange(body, count) }
    var end: Int { body &+ count }

    /// The frame that begins at `offset`, if its flags and size are there. Of `known` flags only the others are wrong.
    @inline(__always)
    static func read(_ bytes: Span<UInt8>, at offset: Int, known: UInt8) throws(ZMTPViolation) -> ZMTPFrame? {
        let there = bytes.count &- offset
        guard there >= 1 else { return nil }
        let flags = bytes[offset]
        if flags & ~known != 0 { throw .reservedFlags }
        if flags & ZMTPWire.long == 0 {
            guard there >= 2 else { return nil }
            return ZMTPFrame(flags: flags, body: offset &+ 2, count: Int(bytes[offset &+ 1]))
        }
        guard there >= 9 else { return nil }
        let size = bytes.uint64(at: offset &+ 1)
        return ZMTPFrame(flags: flags, body: offset &+ 9, count: size > UInt64(UInt32.max) ? .max : Int(size))
    }

    /// The frame that one message of WebSocket is (RFC 45, Framing): flags, then the body to its end.
    static func readCarried(_ bytes: Span<UInt8>, at offset: Int) throws(ZMTPViolation) -> ZMTPFrame? {
        guard offset < bytes.count else { return nil }
        let flags = bytes[offset]
        if flags & ~(ZMTPWire.more | ZMTPWire.carriedCommand) != 0 { throw .reservedFlags }
        let isCommand = flags & ZMTPWire.carriedCommand != 0
        return ZMTPFrame(flags: flags & ZMTPWire.more | (isCommand ? ZMTPWire.command : 0), body: offset &+ 1, count: bytes.count &- offset &- 1)
    }

    /// Whether the whole body lies in so many bytes.
    @inline(__always) func isWhole(in count: Int) -> Bool { self.count <= count &- body }
}

enum ZMTPWire {
    static var more: UInt8 { 1 }
    static var long: UInt8 { 2 }
    static var command: UInt8 { 4 }
    /// Over WebSocket.
    static var carriedCommand: UInt8 { 2 }

    /// What every peer sends first; its padding means nothing.
    static var signatureCount: Int { 10 }
    /// With the major version: enough for the other side to tell what it talks to.
    static var versionedCount: Int { 11 }
    static var greetingCount: Int { 64 }
    static var mechanismOffset: Int { 12 }
    static var mechanismCount: Int { 20 }
    static var asServerOffset: Int { 32 }

    static func appendSignature(into output: inout ByteBuffer) {
        output.write(capacity: versionedCount) { writer in
            writer.write(0xFF as UInt8)
            writer.write(0 as UInt64)
            writer.write(0x7F as UInt8)
            writer.write(3 as UInt8)
        }
    }

    /// What follows the major version, of 3.1.
    static func appendGreeting(mechanism: StaticString, asServer: Bool, into output: inout ByteBuffer) {
        output.write(capacity: greetingCount) { writer in
            writer.write(1 as UInt8)
            writer.write(mechanism.bytes)
            for _ in mechanism.utf8CodeUnitCount..<mechanismCount { writer.write(0 as UInt8) }
            writer.write(asServer ? 1 as UInt8 : 0)
            for _ in 0..<31 { writer.write(0 as UInt8) }
        }
    }

    /// Whether the 20 octets are this name and zeros.
    static func names(_ field: Span<UInt8>, _ mechanism: StaticString) -> Bool {
        let count = mechanism.utf8CodeUnitCount
        guard field.extracting(..<count).equals(mechanism.bytes) else { return false }
        for at in count..<field.count where field[at] != 0 { return false }
        return true
    }

    @inline(__always)
    static func appendHeader(_ flags: UInt8, count: Int, into output: inout ByteBuffer) {
        if count <= 255 {
            output.append(UInt16(flags) << 8 | UInt16(truncatingIfNeeded: count))
        } else {
            output.append(flags | long)
            output.append(UInt64(count))
        }
    }

    /// Flags, size and name of a command with so many bytes behind the name, which the caller appends.
    static func appendCommand(_ name: StaticString, count: Int, into output: inout ByteBuffer) {
        appendHeader(command, count: 1 + name.utf8CodeUnitCount + count, into: &output)
        appendName(name, into: &output)
    }

    static func appendName(_ name: StaticString, into output: inout ByteBuffer) {
        output.append(UInt8(name.utf8CodeUnitCount))
        output.append(name.bytes)
    }
}

/// Frames as every peer reads them that is not behind CURVE, whatever its version: written once, they can be sent to many.
public enum ZMTPEncoder {
    /// The most bytes in front of a frame's body.
    public static var headerMax: Int { 9 }

    /// One frame of a message.
    @inline(__always)
    public static func append(_ body: Span<UInt8>, more: Bool, into output: inout ByteBuffer) {
        let count = body.count, flags = more ? ZMTPWire.more : 0
        output.write(capacity: headerMax + count) { writer in
            if count <= 255 {
                writer.write(UInt16(flags) << 8 | UInt16(truncatingIfNeeded: count))
            } else {
                writer.write(flags | ZMTPWire.long)
                writer.write(UInt64(count))
            }
            writer.write(body)
        }
    }
}
