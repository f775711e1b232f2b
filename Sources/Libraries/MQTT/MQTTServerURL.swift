/// `mqtt://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC]`, or `mqtts://` for TLS. Percent signs are decoded in user and password alone: a topic may hold them.
/// Not here: WebSocket and Unix sockets.
public struct MQTTServerURL: Equatable, Sendable {
    public private(set) var host = ""
    /// 1883 if none is named, with TLS 8883.
    public private(set) var port: UInt16 = 1883
    /// `mqtts`.
    public private(set) var isSecure = false
    public private(set) var userName: String?
    public private(set) var password: String?
    /// What stands behind the slash; `nil` if nothing does.
    public private(set) var topic: String?
    /// Without user and password: errors end up in logs.
    let shown: String

    /// Throws `urlInvalid`.
    public init(_ url: String) throws(MQTTClientError) {
        let shown = url.lastIndex(of: "@").map { "…" + url[$0...] } ?? url
        self.shown = shown
        func fail(_ reason: String) -> MQTTClientError { .urlInvalid(shown, reason: reason) }
        guard let scheme = url.firstRange(of: "://") else { throw fail("it has no scheme") }
        switch url[..<scheme.lowerBound] {
        case "mqtt": break
        case "mqtts": (isSecure, port) = (true, 8883)
        case let other: throw fail("\"\(other)\" is not a scheme of this build")
        }
        var place = url[scheme.upperBound...]
        if let slash = place.firstIndex(of: "/") {
            let rest = place[place.index(after: slash)...]
            topic = rest.isEmpty ? nil : String(rest)
            place = place[..<slash]
        }
        if let at = place.lastIndex(of: "@") {
            let parts = place[..<at].split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map { Self.percentDecoded($0) }
            guard let name = parts[0], let password = parts.count > 1 ? parts[1] : "" else {
                throw fail("a % is not followed by two hexadecimal digits of UTF-8")
            }
            userName = name
            self.password = parts.count > 1 ? password : nil
            place = place[place.index(after: at)...]
        }
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
        if let portText {
            guard let number = UInt16(portText), number > 0 else { throw fail("\"\(portText)\" is no port") }
            port = number
        }
    }

    private static func percentDecoded(_ text: Substring) -> String? {
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
