internal import MartletBytes

/// What is written with `%` in a target (RFC 3986 section 2.1).
enum HTTPText {
    /// Decoded; nil if a `%` has not two digits behind it, or the bytes are no UTF-8. In a query `+` is a blank.
    static func decoded(_ bytes: Span<UInt8>, isQuery: Bool = false) -> String? {
        var plain: [UInt8] = []
        plain.reserveCapacity(bytes.count)
        var at = 0
        while at < bytes.count {
            let byte = bytes[at]
            if byte == UInt8(ascii: "%") {
                guard at + 2 < bytes.count, let high = digit(bytes[at + 1]), let low = digit(bytes[at + 2]) else { return nil }
                plain.append(high << 4 | low)
                at += 3
            } else {
                plain.append(isQuery && byte == UInt8(ascii: "+") ? 0x20 : byte)
                at += 1
            }
        }
        return String(validating: plain, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        case 0x61...0x66: byte - 0x57
        default: nil
        }
    }

    /// A decimal integer with or without a sign, as a whole.
    static func integer(_ bytes: Span<UInt8>) -> Int? {
        var at = 0
        let isNegative = bytes.count > 0 && bytes[0] == UInt8(ascii: "-")
        if isNegative || bytes.count > 0 && bytes[0] == UInt8(ascii: "+") { at = 1 }
        guard at < bytes.count else { return nil }
        var value = 0
        while at < bytes.count {
            let digit = bytes[at] &- 0x30
            guard digit < 10 else { return nil }
            let (scaled, over) = value.multipliedReportingOverflow(by: 10)
            let (sum, overSum) = scaled.addingReportingOverflow(isNegative ? -Int(digit) : Int(digit))
            if over || overSum { return nil }
            value = sum
            at += 1
        }
        return value
    }
}
