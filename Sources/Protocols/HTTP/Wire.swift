import MartletBytes

/// What the bytes of a message may be.
enum HTTPWire {
    static let tab = UInt8(ascii: "\t"), lineFeed = UInt8(ascii: "\n"), carriageReturn = UInt8(ascii: "\r"), blank = UInt8(ascii: " ")
    static let colon = UInt8(ascii: ":")
    static let lineEnd: UInt16 = 0x0D0A

    /// RFC 9110 section 5.6.2: letters, digits and fifteen signs.
    @inline(__always) static func isToken(_ byte: UInt8) -> Bool {
        let mask: UInt64 = byte < 64 ? 0x03FF_6CFA_0000_0000 : 0x57FF_FFFF_C7FF_FFFE
        return byte < 128 && (mask >> UInt64(byte & 63)) & 1 != 0
    }

    /// The first byte that no token holds, or `end`. Eight at once, because names are letters and hyphens.
    @inline(__always) static func endOfToken(in bytes: Span<UInt8>, from start: Int, to end: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var at = start
        while at &+ 8 <= end {
            let word = bytes.word(at: at)
            let small = (word | ones &* 0x20) & (ones &* 0x7F), hyphens = (word ^ (ones &* 0x2D)) & (ones &* 0x7F)
            // The high bit of each byte: from `a`, beyond `z`, not a hyphen.
            let isLetter = (small &+ ones &* (0x80 - 0x61)) & ~(small &+ ones &* (0x80 - 0x7B))
            let other = (~isLetter & (hyphens &+ ones &* 0x7F) | word) & (ones &* 0x80)
            if other == 0 {
                at &+= 8
                continue
            }
            at &+= other.trailingZeroBitCount / 8
            if !isToken(bytes[at]) { return at }
            at &+= 1
        }
        while at < end, isToken(bytes[at]) { at &+= 1 }
        return at
    }

    static func isToken(_ bytes: Span<UInt8>) -> Bool {
        for at in 0..<bytes.count where !isToken(bytes[at]) { return false }
        return bytes.count > 0
    }

    @inline(__always) static func isBlank(_ byte: UInt8) -> Bool { byte == blank || byte == tab }

    @inline(__always) static func isDigit(_ byte: UInt8) -> Bool { byte &- 0x30 < 10 }

    /// The first byte that no field value holds (a control byte but for the tab), or `end`. Eight at once.
    @inline(__always) static func firstControl(in bytes: Span<UInt8>, from start: Int, to end: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        var at = start
        while at &+ 8 <= end {
            let word = bytes.word(at: at)
            let deletes = word ^ (ones &* 0x7F)
            let found = ((word &- ones &* 0x20) & ~word | (deletes &- ones) & ~deletes) & (ones &* 0x80)
            if found == 0 {
                at &+= 8
                continue
            }
            at &+= found.trailingZeroBitCount / 8
            if bytes[at] != tab { return at }
            at &+= 1
        }
        while at < end {
            let byte = bytes[at]
            if byte < 0x20 && byte != tab || byte == 0x7F { return at }
            at &+= 1
        }
        return end
    }

    /// `name` in small letters and hyphens.
    @inline(__always) static func isName(_ bytes: Span<UInt8>, _ range: ByteRange, _ name: StaticString) -> Bool { equals(bytes.at(range), name.bytes) }

    /// But for the case of ASCII letters.
    static func equals(_ a: Span<UInt8>, _ b: Span<UInt8>) -> Bool {
        guard a.count == b.count else { return false }
        for at in 0..<a.count where a[at] != b[at] {
            let letter = a[at] | 0x20
            guard letter == b[at] | 0x20, letter &- 0x61 < 26 else { return false }
        }
        return true
    }

    /// Without the blanks at both ends.
    @inline(__always) static func trimmed(_ bytes: Span<UInt8>, from start: Int, to end: Int) -> ByteRange {
        var start = start, end = end
        while start < end, isBlank(bytes[start]) { start &+= 1 }
        while end > start, isBlank(bytes[end &- 1]) { end &-= 1 }
        return ByteRange(start, end &- start)
    }

    /// A host with or without a port (RFC 9110 section 7.2): a name or an IPv4 address of letters, digits, `-._~%`, or an IPv6 address in brackets.
    static func isAuthority(_ bytes: Span<UInt8>, needsPort: Bool = false) -> Bool {
        var at = 0
        if bytes.count > 0, bytes[0] == UInt8(ascii: "[") {
            at = 1
            while at < bytes.count, isHexDigit(bytes[at]) || bytes[at] == colon || bytes[at] == UInt8(ascii: ".") { at += 1 }
            guard at > 2, at < bytes.count, bytes[at] == UInt8(ascii: "]") else { return false }
            at += 1
        } else {
            while at < bytes.count, isHostByte(bytes[at]) { at += 1 }
        }
        if at == bytes.count { return !needsPort }
        guard at > 0, bytes[at] == colon, bytes.count - at <= 6 else { return false }
        for index in at + 1..<bytes.count where !isDigit(bytes[index]) { return false }
        return !needsPort || at + 1 < bytes.count
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        let mask: UInt64 = byte < 64 ? 0x03FF_6020_0000_0000 : 0x47FF_FFFE_87FF_FFFE
        return byte < 128 && (mask >> UInt64(byte & 63)) & 1 != 0
    }

    static func isHexDigit(_ byte: UInt8) -> Bool { isDigit(byte) || (byte | 0x20) &- 0x61 < 6 }
}

extension ByteBuffer {
    /// Of a literal, `append(utf8:)` makes a `String`.
    @inline(__always) mutating func append(literal text: StaticString) { append(text.bytes) }
}
