import MartletBytes

/// UTF-8 as it comes in (RFC 3629): what is whole is looked at once, what is cut in the middle of a character waits, and what no further byte can
/// mend is found at once. ASCII goes eight bytes at a time.
enum WebSocketText {
    /// Checks `bytes` from `start`, where a character begins. Answers where the first one begins that is not whole, `bytes.count` if none;
    /// nil if no further bytes make this UTF-8.
    @inline(__always)
    static func check(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        let highs: UInt64 = 0x8080_8080_8080_8080
        var at = start
        while at &+ 16 <= bytes.count {
            if (bytes.word(at: at) | bytes.word(at: at &+ 8)) & highs != 0 { return checkSlowly(bytes, from: at) }
            at &+= 16
        }
        while at < bytes.count {
            if bytes[at] >= 0x80 { return checkSlowly(bytes, from: at) }
            at &+= 1
        }
        return at
    }

    static func isWhole(_ bytes: Span<UInt8>) -> Bool { check(bytes, from: 0) == bytes.count }

    @inline(never)
    private static func checkSlowly(_ bytes: Span<UInt8>, from start: Int) -> Int? {
        let highs: UInt64 = 0x8080_8080_8080_8080
        var at = start
        let count = bytes.count
        while at < count {
            let first = bytes[at]
            if first < 0x80 {
                at &+= 1
                while at &+ 8 <= count, bytes.word(at: at) & highs == 0 { at &+= 8 }
                continue
            }
            // The second byte's range keeps out overlong forms, surrogates and what is above U+10FFFF.
            let length: Int, low: UInt8, high: UInt8
            switch first {
            case 0xC2...0xDF: (length, low, high) = (2, 0x80, 0xBF)
            case 0xE0: (length, low, high) = (3, 0xA0, 0xBF)
            case 0xED: (length, low, high) = (3, 0x80, 0x9F)
            case 0xE1...0xEF: (length, low, high) = (3, 0x80, 0xBF)
            case 0xF0: (length, low, high) = (4, 0x90, 0xBF)
            case 0xF1...0xF3: (length, low, high) = (4, 0x80, 0xBF)
            case 0xF4: (length, low, high) = (4, 0x80, 0x8F)
            default: return nil
            }
            let end = min(at &+ length, count)
            if at &+ 1 < end {
                guard bytes[at &+ 1] >= low, bytes[at &+ 1] <= high else { return nil }
                var next = at &+ 2
                while next < end {
                    guard bytes[next] & 0xC0 == 0x80 else { return nil }
                    next &+= 1
                }
            }
            if at &+ length > count { return at }
            at = end
        }
        return at
    }
}
