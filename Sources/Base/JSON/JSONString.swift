public import MartletBytes

/// A string in a document: what is between its quotation marks.
public struct JSONString: Equatable, Sendable {
    public let range: ByteRange
    /// It is not what it says, letter by letter.
    public let isEscaped: Bool

    /// Whether it says `text`, which needs no escapes.
    public func says(_ text: StaticString, in bytes: Span<UInt8>) -> Bool {
        guard isEscaped else { return bytes.at(range).equals(text.bytes) }
        var said = ByteBuffer()
        append(in: bytes, to: &said)
        return said.span.equals(text.bytes)
    }

    /// Appends what it says. `bytes` is the document.
    public func append(in bytes: Span<UInt8>, to buffer: inout ByteBuffer) {
        let here = bytes.at(range)
        guard isEscaped else { return buffer.append(here) }
        var at = 0, copied = 0
        while let escape = here.first(UInt8(ascii: "\\"), from: at) {
            buffer.append(here.extracting(copied..<escape))
            // The reader has seen that it is one.
            guard let (scalar, next) = (try? Self.escape(in: here, at: escape)) ?? nil else { return }
            buffer.append(scalar)
            (at, copied) = (next, next)
        }
        buffer.append(here.extracting(copied..<here.count))
    }

    /// What the escape at a backslash says, and where it ends; nil: more bytes are needed. Half a surrogate pair is none (RFC 8259 section 8.2).
    static func escape(in bytes: Span<UInt8>, at start: Int) throws(JSONViolation) -> (Unicode.Scalar, end: Int)? {
        guard start + 1 < bytes.count else { return nil }
        switch bytes[start + 1] {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return (Unicode.Scalar(bytes[start + 1]), start + 2)
        case UInt8(ascii: "b"): return ("\u{8}", start + 2)
        case UInt8(ascii: "f"): return ("\u{C}", start + 2)
        case UInt8(ascii: "n"): return ("\n", start + 2)
        case UInt8(ascii: "r"): return ("\r", start + 2)
        case UInt8(ascii: "t"): return ("\t", start + 2)
        case UInt8(ascii: "u"): break
        default: throw .unexpected(start + 1)
        }
        guard let high = try unit(in: bytes, at: start + 2) else { return nil }
        if let scalar = Unicode.Scalar(high) { return (scalar, start + 6) }
        guard high < 0xDC00 else { throw .unexpected(start) }
        for (offset, letter) in [UInt8(ascii: "\\"), UInt8(ascii: "u")].enumerated() {
            guard start + 6 + offset < bytes.count else { return nil }
            guard bytes[start + 6 + offset] == letter else { throw .unexpected(start) }
        }
        guard let low = try unit(in: bytes, at: start + 8) else { return nil }
        guard (0xDC00..<0xE000).contains(low), let scalar = Unicode.Scalar(0x10000 + (high - 0xD800) << 10 + (low - 0xDC00)) else { throw .unexpected(start) }
        return (scalar, start + 12)
    }

    /// Four hexadecimal digits.
    private static func unit(in bytes: Span<UInt8>, at start: Int) throws(JSONViolation) -> UInt32? {
        var unit: UInt32 = 0
        for at in start..<start + 4 {
            guard at < bytes.count else { return nil }
            guard let digit = Character(Unicode.Scalar(bytes[at])).hexDigitValue else { throw .unexpected(at) }
            unit = unit << 4 | UInt32(digit)
        }
        return unit
    }
}

extension ByteBuffer {
    /// Appends a string with its quotation marks. `text` is UTF-8; what may not stand in a string is escaped, and nothing else.
    public mutating func append(json text: Span<UInt8>) {
        append(UInt8(ascii: "\""))
        var copied = 0
        for at in 0..<text.count where text[at] < 0x20 || text[at] == UInt8(ascii: "\"") || text[at] == UInt8(ascii: "\\") {
            append(text.extracting(copied..<at))
            copied = at + 1
            append(escaping: text[at])
        }
        append(text.extracting(copied..<text.count))
        append(UInt8(ascii: "\""))
    }

    private mutating func append(escaping byte: UInt8) {
        append(UInt8(ascii: "\\"))
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): append(byte)
        case 0x08: append(UInt8(ascii: "b"))
        case 0x0C: append(UInt8(ascii: "f"))
        case 0x0A: append(UInt8(ascii: "n"))
        case 0x0D: append(UInt8(ascii: "r"))
        case 0x09: append(UInt8(ascii: "t"))
        default:
            append(utf8: byte < 16 ? "u000" as StaticString : "u001")
            append((byte & 15) + (byte & 15 < 10 ? 48 : 87))
        }
    }

    fileprivate mutating func append(_ scalar: Unicode.Scalar) { for byte in String(scalar).utf8 { append(byte) } }
}
