internal import CLinux
internal import Synchronization

/// Cookies that servers have set, for the requests that follow (RFC 6265): by domain, path, security and expiry. Shared by those who hold it.
///
/// Not here: the list of public suffixes. A cookie for a domain of one label ("com") is refused; one for "co.uk" is not known to be too wide.
public final class HTTPCookieJar: Sendable {
    struct Cookie: Sendable {
        var name: String
        var value: String
        var domain: String
        var path: String
        /// For this host alone.
        var isHostOnly: Bool
        var isSecure: Bool
        /// Seconds since 1970; nil: as long as the jar.
        var expires: Int64?
    }
    private let cookies = Mutex<[Cookie]>([])
    private let countMax: Int
    /// RFC 6265 section 6.1 asks for at least so much.
    private static let sizeMax = 4096

    /// `countMax`: above it the oldest go. (RFC 6265 asks for at least 3,000.)
    public init(countMax: Int = 3000) { self.countMax = max(1, countMax) }

    /// How many there are.
    public var count: Int { cookies.withLock { $0.count } }

    public func removeAll() { cookies.withLock { $0 = [] } }

    /// What stands in Cookie; nil if there is none for it (section 5.4): longer paths first.
    func field(for url: HTTPURL, now: Int64 = cl_wall_ns() / 1_000_000_000) -> String? {
        let path = url.path, host = url.origin.host
        let matching = cookies.withLock { cookies -> [Cookie] in
            cookies.removeAll { $0.expires.map { $0 <= now } ?? false }
            return cookies.filter { cookie in
                (cookie.isHostOnly ? host == cookie.domain : Self.isDomain(host, within: cookie.domain)) && Self.isPath(path, within: cookie.path)
                    && (!cookie.isSecure || url.origin.isSecure)
            }
        }
        // A stable order: the earliest set first.
        let sorted = matching.enumerated().sorted { a, b in
            a.element.path.count != b.element.path.count ? a.element.path.count > b.element.path.count : a.offset < b.offset
        }
        return sorted.isEmpty ? nil : sorted.map { "\($0.element.name)=\($0.element.value)" }.joined(separator: "; ")
    }

    /// Takes one Set-Cookie that came from there (sections 5.2 and 5.3); what is not valid is left out.
    func take(_ field: String, from url: HTTPURL, now: Int64 = cl_wall_ns() / 1_000_000_000) {
        guard field.utf8.count <= Self.sizeMax, let cookie = Self.cookie(field, from: url, now: now) else { return }
        cookies.withLock { cookies in
            let same = cookies.firstIndex { $0.name == cookie.name && $0.domain == cookie.domain && $0.path == cookie.path }
            if let expires = cookie.expires, expires <= now {
                if let same { cookies.remove(at: same) }
            } else if let same {
                cookies[same] = cookie
            } else {
                if cookies.count >= countMax { cookies.removeFirst() }
                cookies.append(cookie)
            }
        }
    }

    private static func cookie(_ field: String, from url: HTTPURL, now: Int64) -> Cookie? {
        let parts = field.split(separator: ";", omittingEmptySubsequences: false)
        guard let (name, value) = pair(parts[0]), !name.isEmpty else { return nil }
        var cookie = Cookie(
            name: name, value: value, domain: url.origin.host, path: defaultPath(url.path), isHostOnly: true, isSecure: false, expires: nil)
        var hasMaxAge = false
        for part in parts.dropFirst() {
            let (key, value) = pair(part) ?? (trimmed(part), "")
            switch key.lowercased() {
            case "expires": if !hasMaxAge, let seconds = HTTPDate.seconds(value) { cookie.expires = seconds }
            case "max-age":
                guard let seconds = Int64(value) else { continue }
                hasMaxAge = true
                cookie.expires = seconds <= 0 ? 0 : now + min(seconds, 1 << 40)
            case "domain":
                let domain = (value.hasPrefix(".") ? String(value.dropFirst()) : value).lowercased()
                if domain.isEmpty { continue }
                guard isDomain(url.origin.host, within: domain), domain == url.origin.host || domain.contains(".") else { return nil }
                (cookie.domain, cookie.isHostOnly) = (domain, false)
            case "path": cookie.path = value.hasPrefix("/") ? value : defaultPath(url.path)
            case "secure": cookie.isSecure = true
            default: break
            }
        }
        // A network that can be listened to sets no cookies for one that cannot.
        return cookie.isSecure && !url.origin.isSecure ? nil : cookie
    }

    private static func pair(_ text: Substring) -> (String, String)? {
        guard let equals = text.firstIndex(of: "=") else { return nil }
        return (trimmed(text[..<equals]), trimmed(text[text.index(after: equals)...]))
    }

    private static func trimmed(_ text: Substring) -> String {
        var text = text
        while let first = text.first, first == " " || first == "\t" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" { text.removeLast() }
        return String(text)
    }

    /// Section 5.1.4.
    private static func defaultPath(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { return "/" }
        return String(path[..<slash])
    }

    private static func isPath(_ path: String, within cookie: String) -> Bool {
        path == cookie || path.hasPrefix(cookie) && (cookie.hasSuffix("/") || path.dropFirst(cookie.count).hasPrefix("/"))
    }

    /// Section 5.1.3: an address is within itself alone.
    private static func isDomain(_ host: String, within domain: String) -> Bool {
        if host == domain { return true }
        return host.hasSuffix("." + domain) && !host.contains(":") && host.contains { $0.isLetter }
    }
}
