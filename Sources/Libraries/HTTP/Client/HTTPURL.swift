internal import MartletClient

/// An absolute URL of the schemes http, https and http+unix (RFC 9110 section 4.2, RFC 3986), taken apart. What no URL may hold, such as a blank or
/// "ü", is encoded; a fragment is left out, since no server sees it.
///
/// A Unix socket's path is the host, encoded ("http+unix://%2Frun%2Fx.sock/items"), or stands in front of a colon ("http+unix:///run/x.sock:/items").
public struct HTTPURL: Hashable, Sendable, CustomStringConvertible {
    /// Whom a request goes to; two URLs of one origin may share connections and credentials (RFC 9110 section 4.3.1).
    public struct Origin: Hashable, Sendable, CustomStringConvertible {
        public let isSecure: Bool
        /// In lower case, without brackets; a Unix socket's path.
        public let host: String
        /// 0 for a Unix socket.
        public let port: UInt16
        public var isUnix: Bool { port == 0 }

        /// What stands in the field Host.
        public var authority: String {
            if isUnix { return "localhost" }
            let name = host.contains(":") ? "[\(host)]" : host
            return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
        }
        public var description: String { isUnix ? "http+unix://\(host)" : "http\(isSecure ? "s" : "")://\(authority)" }

        var place: Place { isUnix ? .unix(host) : .internet(host: host, port: port) }
    }

    public let origin: Origin
    /// Path and query as they are sent: begins with a slash.
    public let target: String
    public let userName: String?
    public let password: String?

    /// The path without the query.
    public var path: String { String(target.prefix { $0 != "?" }) }
    /// Without user and password: this ends up in logs.
    public var description: String { "\(origin)\(origin.isUnix ? ":" : "")\(target)" }

    init(origin: Origin, target: String, userName: String? = nil, password: String? = nil) {
        self.origin = origin
        self.target = target
        self.userName = userName
        self.password = password
    }

    /// Throws `urlInvalid` with the reason.
    public init(_ text: String) throws(HTTPClientError) {
        let shown = text.lastIndex(of: "@").map { "…" + text[$0...] } ?? text
        func refusal(_ reason: String) -> HTTPClientError { HTTPClientError(.urlInvalid, "cannot use the URL \"\(shown)\": \(reason)") }
        guard let mark = text.firstRange(of: "://") else { throw refusal("it has no scheme; expected http[s]://HOST[:PORT]/PATH") }
        let scheme = text[..<mark.lowerBound].lowercased()
        let rest = text[mark.upperBound...].prefix { $0 != "#" }
        if scheme == "http+unix" {
            guard let (path, target) = Self.unixParts(rest) else { throw refusal("expected http+unix:///PATH/OF/SOCKET:/TARGET") }
            self.init(origin: Origin(isSecure: false, host: path, port: 0), target: Self.encoded(target))
            return
        }
        guard scheme == "http" || scheme == "https" else { throw refusal("the scheme is \"\(scheme)\"; expected http, https or http+unix") }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let address: ServerAddress
        do throws(ServerAddress.Unreadable) { address = try ServerAddress("\(scheme)://\(authority)") } catch { throw refusal(error.reason) }
        let host = address.host.lowercased()
        guard host.utf8.allSatisfy({ Self.isHostByte($0) }) else { throw refusal("\"\(host)\" is no host's name; names beyond ASCII are written as xn--…") }
        let target = rest[authority.endIndex...]
        self.init(
            origin: Origin(isSecure: scheme == "https", host: host, port: address.port ?? (scheme == "https" ? 443 : 80)),
            target: Self.encoded(target.hasPrefix("/") ? String(target) : "/" + target), userName: address.userName, password: address.password)
    }

    private static func unixParts(_ rest: Substring) -> (path: String, target: String)? {
        if rest.hasPrefix("/") || rest.hasPrefix("@") {
            let end = rest.firstRange(of: ":/")?.lowerBound ?? rest.endIndex
            let path = String(rest[..<end])
            return path.count > 1 ? (path, end == rest.endIndex ? "/" : String(rest[rest.index(after: end)...])) : nil
        }
        let host = rest.prefix { $0 != "/" && $0 != "?" }
        guard let path = ServerAddress.percentDecoded(host), path.hasPrefix("/") || path.hasPrefix("@") else { return nil }
        let target = rest[host.endIndex...]
        return (path, target.hasPrefix("/") ? String(target) : "/" + target)
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "~"): true
        default: false
        }
    }

    /// What may not stand in a target, encoded; what is encoded stays.
    static func encoded(_ target: String) -> String {
        var bytes: [UInt8] = []
        for byte in target.utf8 {
            let isBad = byte <= 0x20 || byte >= 0x7F || [0x22, 0x3C, 0x3E, 0x5C, 0x5E, 0x60, 0x7B, 0x7C, 0x7D].contains(byte)
            if isBad { bytes += percent(byte) } else { bytes.append(byte) }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func percent(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }

    /// A name or a value for a query or a form: everything but letters, digits and -._~ is encoded.
    public static func encodedPart(_ text: String) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: bytes.append(byte)
            default: bytes += percent(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The same with another part of a query, encoded, behind what it has.
    public func adding(query name: String, _ value: String) -> HTTPURL {
        let part = "\(Self.encodedPart(name))=\(Self.encodedPart(value))"
        return HTTPURL(origin: origin, target: target + (target.contains("?") ? "&" : "?") + part, userName: userName, password: password)
    }

    /// What a reference such as a field Location means here (RFC 3986 section 5.2). Only http and https: a server has no say over this machine's sockets.
    func resolved(_ reference: String) throws(HTTPClientError) -> HTTPURL {
        let reference = String(reference.prefix { $0 != "#" })
        if let mark = reference.firstRange(of: "://"), reference[..<mark.lowerBound].allSatisfy({ $0.isLetter || $0.isNumber || "+-.".contains($0) }) {
            let url = try HTTPURL(reference)
            if url.origin.isUnix { throw HTTPClientError(.redirectInvalid, "\(self): redirected to the Unix socket \(url.origin.host), which is not followed") }
            return url
        }
        if reference.hasPrefix("//") { return try HTTPURL("http\(origin.isSecure ? "s" : ""):\(reference)") }
        let path = path
        let target: String
        if reference.isEmpty {
            target = self.target
        } else if reference.hasPrefix("/") {
            target = reference
        } else if reference.hasPrefix("?") {
            target = path + reference
        } else {
            target = path[...(path.lastIndex(of: "/") ?? path.startIndex)] + reference
        }
        return HTTPURL(origin: origin, target: Self.encoded(Self.withoutDots(target)))
    }

    /// RFC 3986 section 5.2.4.
    private static func withoutDots(_ target: String) -> String {
        let query = target.firstIndex(of: "?") ?? target.endIndex
        var kept: [Substring] = []
        let segments = target[..<query].dropFirst().split(separator: "/", omittingEmptySubsequences: false)
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            switch segment {
            case ".": if isLast { kept.append("") }
            case "..":
                _ = kept.popLast()
                if isLast { kept.append("") }
            default: kept.append(segment)
            }
        }
        return "/" + kept.joined(separator: "/") + target[query...]
    }
}
