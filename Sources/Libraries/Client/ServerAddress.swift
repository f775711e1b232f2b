/// `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`, taken apart. Percent signs are decoded in user and password alone.
public struct ServerAddress: Equatable, Sendable {
    public struct Unreadable: Error, Equatable {
        /// The URL without user and password: errors end up in logs.
        public let shown: String
        /// Why.
        public let reason: String
    }
    public let scheme: String
    public let userName: String?
    public let password: String?
    /// Not empty; without brackets.
    public let host: String
    public let port: UInt16?
    /// What stands behind the slash, as it is written; empty if nothing does.
    public let path: String
    /// There is a slash.
    public let hasPath: Bool
    /// Without user and password.
    public let shown: String

    public init(_ url: String) throws(Unreadable) {
        let shown = url.lastIndex(of: "@").map { "…" + url[$0...] } ?? url
        self.shown = shown
        func fail(_ reason: String) -> Unreadable { Unreadable(shown: shown, reason: reason) }
        guard let schemeEnd = url.firstRange(of: "://") else { throw fail("it has no scheme") }
        scheme = String(url[..<schemeEnd.lowerBound])
        var place = url[schemeEnd.upperBound...]
        let slash = place.firstIndex(of: "/")
        hasPath = slash != nil
        path = slash.map { String(place[place.index(after: $0)...]) } ?? ""
        if let slash { place = place[..<slash] }
        var (user, password): (String?, String?)
        if let at = place.lastIndex(of: "@") {
            let parts = place[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map { Self.percentDecoded($0) }
            guard let name = parts[0], let secret = parts.count > 1 ? parts[1] : "" else {
                throw fail("a % is not followed by two hexadecimal digits of UTF-8")
            }
            user = name
            password = parts.count > 1 ? secret : nil
            place = place[place.index(after: at)...]
        }
        (userName, self.password) = (user, password)
        var portText: Substring?
        if place.hasPrefix("["), let close = place.firstIndex(of: "]") {
            host = String(place[place.index(after: place.startIndex)..<close])
            let after = place[place.index(after: close)...]
            guard after.isEmpty || after.hasPrefix(":") else { throw fail("\"\(after)\" is no port") }
            portText = after.isEmpty ? nil : after.dropFirst()
        } else {
            let colon = place.firstIndex(of: ":")
            host = String(place[..<(colon ?? place.endIndex)])
            portText = colon.map { place[place.index(after: $0)...] }
        }
        guard !host.isEmpty else { throw fail("it names no host") }
        guard let portText else {
            port = nil
            return
        }
        guard let number = UInt16(portText), number > 0 else { throw fail("\"\(portText)\" is no port") }
        port = number
    }

    /// `nil` where a percent sign is not followed by two hexadecimal digits, or the whole is not UTF-8.
    public static func percentDecoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = rest.prefix(2)
            guard digits.count == 2, digits.first != UInt8(ascii: "+"), let decoded = UInt8(String(decoding: digits, as: UTF8.self), radix: 16) else {
                return nil
            }
            bytes.append(decoded)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
