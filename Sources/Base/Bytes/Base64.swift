/// Base 64 with padding (RFC 4648 section 4).
public enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    public static func text(_ bytes: [UInt8]) -> String {
        var buffer = ByteBuffer()
        append(bytes.span, to: &buffer)
        return buffer.span.text
    }

    /// Nil for what is not so written.
    public static func bytes(_ text: [UInt8]) -> [UInt8]? {
        var buffer = ByteBuffer()
        return append(decoding: text.span, to: &buffer) ? buffer.span.array : nil
    }

    public static func append(_ bytes: Span<UInt8>, to buffer: inout ByteBuffer) {
        guard !bytes.isEmpty else { return }
        let letters = alphabet.span
        buffer.write(capacity: (bytes.count + 2) / 3 * 4) { writer in
            var at = 0
            while at < bytes.count {
                let count = min(3, bytes.count - at)
                var bits = Int(bytes[at]) << 16
                if count > 1 { bits |= Int(bytes[at + 1]) << 8 }
                if count > 2 { bits |= Int(bytes[at + 2]) }
                writer.write(letters[bits >> 18])
                writer.write(letters[bits >> 12 & 63])
                writer.write(count > 1 ? letters[bits >> 6 & 63] : UInt8(ascii: "="))
                writer.write(count > 2 ? letters[bits & 63] : UInt8(ascii: "="))
                at += 3
            }
        }
    }

    /// False, with nothing appended, for what is not so written: bits that no byte has must be zero.
    public static func append(decoding text: Span<UInt8>, to buffer: inout ByteBuffer) -> Bool {
        guard !text.isEmpty else { return true }
        guard text.count % 4 == 0 else { return false }
        var isValid = true
        let written = buffer.write(capacity: text.count / 4 * 3) { writer in
            var at = 0
            while at < text.count {
                let isLast = at + 4 == text.count
                let padding = isLast && text[at + 3] == UInt8(ascii: "=") ? (text[at + 2] == UInt8(ascii: "=") ? 2 : 1) : 0
                var bits = 0
                for place in 0..<4 - padding {
                    guard let value = value(text[at + place]) else { return isValid = false }
                    bits |= value << (18 - 6 * place)
                }
                guard bits & ((1 << (8 * padding)) - 1) == 0 else { return isValid = false }
                for place in 0..<3 - padding { writer.write(UInt8(truncatingIfNeeded: bits >> (16 - 8 * place))) }
                at += 4
            }
        }
        if !isValid { buffer.retract(written) }
        return isValid
    }

    @inline(__always) private static func value(_ letter: UInt8) -> Int? {
        switch letter {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): Int(letter) - 65
        case UInt8(ascii: "a")...UInt8(ascii: "z"): Int(letter) - 71
        case UInt8(ascii: "0")...UInt8(ascii: "9"): Int(letter) + 4
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
