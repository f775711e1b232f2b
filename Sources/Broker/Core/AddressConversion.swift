import MartletBytes

/// From one spelling of addresses to the other, one to one: the way back gives what was there.
///
/// Inside a level the other side's separator is an escape, `%2E` or `%2F`; in `slashes` so are the wildcards and NUL (`%2B`, `%23`, `%00`),
/// which no MQTT topic may hold. A `%` that begins no escape is written `%25`, and `%25` is read as `%`. Where that would make an escape that
/// was none, another `25` keeps it apart: `%2E` in a topic is `%252E` in a routing key. Bytes that are no UTF-8 are written `%XX` in
/// `slashes`; they alone do not come back.
extension Address {
    /// `address`, which is spelled the other way, spelled as `spelling`. `isPattern`: levels that are wildcards stay such.
    public static func convert(_ address: Span<UInt8>, to spelling: AddressSpelling, isPattern: Bool = false) -> [UInt8] {
        var converted: [UInt8] = []
        converted.reserveCapacity(address.count + 8)
        let old: AddressSpelling = spelling == .slashes ? .dots : .slashes
        var start = old.start(of: address)
        while start <= address.count {
            let end = old.endOfLevel(address, from: start)
            if start > 0 { converted.append(spelling.separator) }
            if isPattern, old.isWildcard(address, start, end) {
                converted.append(address[start] == old.oneLevel ? spelling.oneLevel : spelling.anyLevels)
            } else {
                append(level: address.extracting(start..<end), from: old, to: spelling, &converted)
            }
            start = end + 1
        }
        return converted
    }

    private static var percent: UInt8 { UInt8(ascii: "%") }

    private static func append(level: Span<UInt8>, from old: AddressSpelling, to spelling: AddressSpelling, _ converted: inout [UInt8]) {
        var index = 0
        while index < level.count {
            let byte = level[index]
            if byte == percent {
                index = append(percentAt: index, of: level, from: old, to: spelling, &converted)
            } else if byte >= 0x80, spelling == .slashes {
                let length = utf8Length(level, at: index)
                if length == 0 { converted += escape(byte) }
                for offset in 0..<length { converted.append(level[index + offset]) }
                index += max(1, length)
            } else {
                if spelling.escapes(byte) { converted += escape(byte) } else { converted.append(byte) }
                index += 1
            }
        }
    }

    /// A `%` with every `25` behind it. The answer is where the level goes on.
    private static func append(
        percentAt start: Int, of level: Span<UInt8>, from old: AddressSpelling, to spelling: AddressSpelling, _ converted: inout [UInt8]
    ) -> Int {
        var index = start, repeats = 0
        while hexadecimal(level, behind: index) == percent {
            index += 2
            repeats += 1
        }
        let escaped = hexadecimal(level, behind: index)
        if let escaped, old.escapes(escaped) {
            if repeats == 0 {
                converted.append(escaped)
                return index + 3
            }
            repeats -= 1
        } else if let escaped, spelling.escapes(escaped) {
            repeats += 1
        } else if repeats < 2 {
            repeats = 1 - repeats
        }
        converted.append(percent)
        for _ in 0..<repeats { converted += [UInt8(ascii: "2"), UInt8(ascii: "5")] }
        return index + 1
    }

    private static func escape(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return [percent, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }

    /// What the two digits behind `index` say.
    private static func hexadecimal(_ level: Span<UInt8>, behind index: Int) -> UInt8? {
        guard index + 2 < level.count, let high = digit(level[index + 1]), let low = digit(level[index + 2]) else { return nil }
        return high << 4 | low
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// How many bytes the well-formed UTF-8 sequence of several bytes at `index` has; 0: it is none.
    private static func utf8Length(_ bytes: Span<UInt8>, at index: Int) -> Int {
        let length = bytes[index] >= 0xF0 ? 4 : bytes[index] >= 0xE0 ? 3 : 2
        guard index + length <= bytes.count else { return 0 }
        let sequence = (0..<length).map { bytes[index + $0] }
        return String(validating: sequence, as: UTF8.self)?.unicodeScalars.count == 1 ? length : 0
    }
}

extension AddressSpelling {
    /// Whether a level's byte is written as an escape. A `%` is its own case.
    fileprivate func escapes(_ byte: UInt8) -> Bool {
        switch self {
        case .slashes: byte == separator || byte == oneLevel || byte == anyLevels || byte == 0
        case .dots: byte == separator
        }
    }
}
