/// Where a stream or datagram socket listens, or whom it talks to, as people write it.
public enum Place: Sendable, Hashable, CustomStringConvertible {
    /// A name or an address, and a port. An empty host is every address of this machine.
    case internet(host: String, port: UInt16)
    /// A path, or "@name" for an abstract name.
    case unix(String)

    /// "example.org:443", "127.0.0.1:9000", "[::1]:9000"; ":9000" and "*:9000" for every address. Throws `unresolvable`.
    public init(_ text: String, phase: NetError.Phase = .resolve) throws(NetError) {
        let refusal = NetError(.unresolvable, phase, text, detail: "a place is HOST:PORT, such as 127.0.0.1:9000 or [::1]:9000")
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else { throw refusal }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw refusal
        }
        self = .internet(host: host == "*" ? "" : String(host), port: port)
    }

    /// The host to be checked and asked for by TLS; nil for a path.
    public var host: String? {
        switch self {
        case .internet(let host, _): host.isEmpty ? "localhost" : host
        case .unix: nil
        }
    }

    public var description: String {
        switch self {
        case .internet(let host, let port): host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        case .unix(let path): path
        }
    }

    /// The address, if no name has to be looked up for it. Throws `tooLong` for a path of over 107 bytes.
    public func address(phase: NetError.Phase) throws(NetError) -> SocketAddress? {
        switch self {
        case .internet(let host, let port): return SocketAddress(host, port: port)
        case .unix(let path):
            let name = path.hasPrefix("@") ? "\0" + path.dropFirst() : path
            guard let address = SocketAddress(unix: name) else { throw NetError(.tooLong, phase, path) }
            return address
        }
    }

    /// Every address to listen on. `localhost` and an empty host are one for each family.
    public func addressesToBind(by resolver: Resolver = .system, timeout: Duration = .seconds(10)) async throws(NetError) -> [SocketAddress] {
        if let address = try address(phase: .listen) { return [address] }
        guard case .internet(let host, let port) = self else { return [] }
        if host.isEmpty { return ["0.0.0.0", "::"].compactMap { SocketAddress($0, port: port) } }
        return try await resolver.addresses(of: host, port: port, timeout: timeout)
    }
}
