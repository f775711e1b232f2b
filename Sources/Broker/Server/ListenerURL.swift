public import MartletSettings
public import MartletTLS

/// Where to listen, as it is written: `mqtt://127.0.0.1:1883`, `mqtt://[::1]:0`, `mqtt+unix:///run/martlet.sock`.
///
/// Invariant: a value exists only for a scheme that this build can serve. Not here: binding, and resolving a host's name.
public struct ListenerURL: Sendable, Equatable, CustomStringConvertible {
    /// Every protocol by its scheme. The one table of what exists, its port, its options and its place among the defaults.
    public enum Scheme: String, CaseIterable, Sendable {
        case mqtt, mqtts, amqp, amqps, http, https, zmq

        public var isBuilt: Bool { self != .zmq }

        public var defaultPort: UInt16 {
            switch self {
            case .mqtt: 1883
            case .mqtts: 8883
            case .amqp: 5672
            case .amqps: 5671
            case .http: 8080
            case .https: 8443
            case .zmq: 5556
            }
        }

        /// With TLS.
        public var isSecure: Bool { self == .mqtts || self == .amqps || self == .https }

        /// What may follow `?`.
        var options: [String] {
            switch self {
            case .mqtt, .amqp, .http: []
            case .mqtts, .amqps, .https: ["cert", "key", "ca", "verify"]
            case .zmq: ["queue", "service"]
            }
        }

        /// Listens when nobody says what should.
        var isDefault: Bool { [.mqtt, .amqp, .http, .zmq].contains(self) && isBuilt }
    }

    /// What the kernel binds.
    public enum Endpoint: Sendable, Equatable {
        /// A name or an address, IPv6 without brackets; port 0 picks a free one.
        case tcp(host: String, port: UInt16)
        case unix(path: String)
    }

    public let scheme: Scheme
    public let endpoint: Endpoint
    public let options: [String: String]

    public init(_ scheme: Scheme, _ endpoint: Endpoint, options: [String: String] = [:]) {
        self.scheme = scheme
        self.endpoint = endpoint
        self.options = options
    }

    /// How to speak TLS there; `nil` without it. `cert` and `key` are the server's PEM files, `ca` whom to trust about clients, who must
    /// then show a certificate (`verify=required`, the default) or may (`verify=optional`).
    public var tls: TLSServerOptions? {
        guard let certificate = options["cert"], let key = options["key"] else { return nil }
        var tls = TLSServerOptions(identity: TLSIdentity(certificate: certificate, key: key))
        tls.clientTrust = options["ca"]
        tls.requiresClientCertificate = options["verify"] != "optional"
        // IANA's name for it, and the one that AWS's documents have devices use.
        if scheme == .mqtts { tls.applicationProtocols = ["mqtt", "x-amzn-mqtt-ca"] }
        if scheme == .https { tls.applicationProtocols = ["http/1.1"] }
        return tls
    }

    /// With none given: loopback only, every protocol of this build on its usual port.
    public static var defaults: [ListenerURL] {
        Scheme.allCases.filter(\.isDefault).map { ListenerURL($0, .tcp(host: "127.0.0.1", port: $0.defaultPort)) }
    }

    public var description: String {
        let query = options.isEmpty ? "" : "?" + options.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "&")
        switch endpoint {
        case .tcp(let host, let port): return "\(scheme.rawValue)://\(host.contains(":") ? "[\(host)]" : host):\(port)\(query)"
        case .unix(let path): return "\(scheme.rawValue)+unix://\(path)\(query)"
        }
    }

    /// Whether nobody but this machine can reach it. A name other than `localhost` is not trusted to stay at home.
    public var isLocal: Bool {
        guard case .tcp(let host, _) = endpoint else { return true }
        return host == "localhost" || host == "::1" || Self.isLoopbackIPv4(host)
    }

    private static func isLoopbackIPv4(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let octets = parts.compactMap { part in part.allSatisfy { $0.isASCII && $0.isNumber } ? UInt8(part) : nil }
        return parts.count == 4 && octets.count == 4 && octets[0] == 127
    }
}

extension ListenerURL {
    /// The end of a sentence when it is not one: `"mqtt//x" is not a listener such as mqtt://127.0.0.1:1883`.
    public init(parsing text: String) throws(SettingsMisuse) {
        let example = "such as mqtt://127.0.0.1:1883"
        guard let separator = text.firstRange(of: "://") else { throw SettingsMisuse("\"\(text)\" is not a listener's URL \(example)") }
        var name = text[..<separator.lowerBound]
        let isUnix = name.hasSuffix("+unix")
        if isUnix { name = name.dropLast("+unix".count) }
        guard let scheme = Scheme(rawValue: String(name)) else {
            let known = Scheme.allCases.map(\.rawValue)
            throw SettingsMisuse("\"\(text)\" has an unknown scheme\(Nearest.suggestion(for: String(name), among: known))")
        }
        guard scheme.isBuilt else {
            let built = Scheme.allCases.filter(\.isBuilt).map(\.rawValue).joined(separator: ", ")
            throw SettingsMisuse("\(text): this build does not serve \(scheme.rawValue) yet, only \(built)")
        }
        let rest = text[separator.upperBound...].split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let options = try Self.options(rest.count > 1 ? rest[1] : "", of: scheme, in: text)
        try Self.check(options, of: scheme, in: text)
        let place = String(rest[0])
        if isUnix {
            // The kernel's sockaddr_un holds 107 bytes of path.
            guard place.hasPrefix("/"), place.utf8.count > 1, place.utf8.count <= 107, !place.utf8.contains(0) else {
                throw SettingsMisuse("\"\(text)\" needs an absolute path of at most 107 bytes, such as \(scheme.rawValue)+unix:///run/martlet.sock")
            }
            self.init(scheme, .unix(path: place), options: options)
        } else {
            self.init(scheme, try Self.tcp(place.hasSuffix("/") ? String(place.dropLast()) : place, of: scheme, in: text), options: options)
        }
    }

    private static func tcp(_ place: String, of scheme: Scheme, in text: String) throws(SettingsMisuse) -> Endpoint {
        let host: Substring
        var port = Substring()
        if place.hasPrefix("["), let close = place.firstIndex(of: "]") {
            host = place[place.index(after: place.startIndex)..<close]
            port = place[place.index(after: close)...]
            guard host.contains(":"), host.allSatisfy({ $0.isASCII && ($0.isHexDigit || $0 == ":" || $0 == ".") }) else {
                throw SettingsMisuse("\"\(text)\" has no IPv6 address between its brackets")
            }
            guard port.isEmpty || port.first == ":" else { throw SettingsMisuse("\"\(text)\" has something other than a port after its address") }
        } else {
            host = place[..<(place.firstIndex(of: ":") ?? place.endIndex)]
            port = place[host.endIndex...]
            guard !host.isEmpty else { throw SettingsMisuse("\"\(text)\" names no address: write 127.0.0.1 for this machine, 0.0.0.0 for all networks") }
            guard host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-._".contains($0)) }) else {
                throw SettingsMisuse("\"\(text)\" has a host that is neither a name nor an address")
            }
        }
        if port.isEmpty { return .tcp(host: String(host), port: scheme.defaultPort) }
        guard port.dropFirst().allSatisfy({ $0.isASCII && $0.isNumber }), let number = UInt16(port.dropFirst()) else {
            throw SettingsMisuse("\"\(text)\" has a port that is not a number from 0 to 65535")
        }
        return .tcp(host: String(host), port: number)
    }

    private static func check(_ options: [String: String], of scheme: Scheme, in text: String) throws(SettingsMisuse) {
        guard scheme.isSecure else { return }
        guard let certificate = options["cert"], let key = options["key"], !certificate.isEmpty, !key.isEmpty else {
            throw SettingsMisuse("\"\(text)\" needs a certificate and its key, two PEM files: \(scheme.rawValue)://HOST:PORT?cert=FILE&key=FILE")
        }
        guard let verify = options["verify"] else { return }
        guard verify == "required" || verify == "optional" else { throw SettingsMisuse("\"\(text)\": verify is required or optional") }
        guard options["ca"] != nil else { throw SettingsMisuse("\"\(text)\" asks clients for certificates and trusts nobody: add ca=FILE") }
    }

    private static func options(_ query: Substring, of scheme: Scheme, in text: String) throws(SettingsMisuse) -> [String: String] {
        var options: [String: String] = [:]
        for item in query.split(separator: "&") {
            let parts = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard scheme.options.contains(parts[0]) else {
                throw SettingsMisuse("\"\(text)\" has the unknown option \"\(parts[0])\"\(Nearest.suggestion(for: parts[0], among: scheme.options))")
            }
            guard parts.count == 2, options.updateValue(parts[1], forKey: parts[0]) == nil else {
                throw SettingsMisuse("\"\(text)\" needs \"\(parts[0])=VALUE\" once")
            }
        }
        return options
    }
}
