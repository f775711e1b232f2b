import MartletBytes

/// Five printable characters for four bytes (RFC 32).
public enum Z85 {
    private static let alphabet = Array("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8)
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(value) }
        return values
    }()

    /// Nil when the number of bytes is not a multiple of 4.
    public static func encode(_ bytes: Span<UInt8>) -> String? {
        guard bytes.count.isMultiple(of: 4) else { return nil }
        var text: [UInt8] = []
        for at in stride(from: 0, to: bytes.count, by: 4) {
            let word = bytes.uint32(at: at)
            for power in [52_200_625, 614_125, 7225, 85, 1] as [UInt32] { text.append(alphabet[Int(word / power % 85)]) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil when the number of characters is not a multiple of 5, one is not of the alphabet, or five are more than four bytes can say.
    public static func decode(_ text: String) -> [UInt8]? {
        let characters = Array(text.utf8)
        guard characters.count.isMultiple(of: 5) else { return nil }
        var bytes: [UInt8] = []
        for at in stride(from: 0, to: characters.count, by: 5) {
            var word: UInt64 = 0
            for character in characters[at..<at + 5] {
                guard values[Int(character)] < 85 else { return nil }
                word = word * 85 + UInt64(values[Int(character)])
            }
            guard let word = UInt32(exactly: word) else { return nil }
            for shift in [24, 16, 8, 0] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: word >> shift)) }
        }
        return bytes
    }
}
