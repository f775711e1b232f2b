internal import MartletBytes

extension HTTPRequest {
    /// Name and password of `Authorization: Basic …` (RFC 7617), as the bytes that were encoded. Nil if there is no such field, more than one, or one
    /// that is not well-formed. Whoever compares them should take the same time for any.
    public var basicCredentials: (user: [UInt8], password: [UInt8])? {
        let values = fields.values(of: "Authorization")
        guard values.count == 1 else { return nil }
        let words = values[0].split(separator: " ", maxSplits: 1)
        guard words.count == 2, words[0].lowercased() == "basic", let bytes = Base64.bytes(Array(words[1].drop { $0 == " " }.utf8)) else {
            return nil
        }
        guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        return (Array(bytes[..<colon]), Array(bytes[(colon + 1)...]))
    }
}
