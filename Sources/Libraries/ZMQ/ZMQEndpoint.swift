internal import MartletNet

/// Where a socket is bound, or connects to.
public struct ZMQEndpoint: Sendable, Hashable, CustomStringConvertible {
    /// A stream of bytes to a place.
    struct Stream: Sendable, Hashable {
        var place: Place
        /// Where a connection is to come from: an address or an interface, and a port or 0.
        var source: Place?
        var webSocket: WebSocketPath?
    }
    /// What a stream over WebSocket begins with.
    struct WebSocketPath: Sendable, Hashable {
        /// Percent-encoded, with its slash and with what is asked behind it; nil: none was written.
        var target: String?
        var isSecure: Bool
    }
    enum Transport: Sendable, Hashable {
        case stream(Stream)
        case inproc(String)
    }
    let transport: Transport
    /// As it was written; of a bound one with what the system chose.
    public let description: String

    /// `tcp://HOST:PORT`, where HOST is a name, an address, `[…]` around an IPv6 address, which may have a scope (`[fe80::1%eth0]`), or, to bind, an
    /// interface (`eth0`, for all of its addresses) or `*`; PORT `*` or 0 is a free one, to bind;
    /// `tcp://SOURCE:PORT;HOST:PORT`, to connect from an address or an interface, PORT `*` or 0 for any;
    /// `ipc:///PATH`, `ipc://@NAME` for an abstract name; `inproc://NAME`, within the process;
    /// `ws://HOST:PORT/PATH` over WebSocket and `wss://…` with TLS (RFC 45, ZWS 2.0): bound without `/PATH` every path is served.
    /// Throws `endpointInvalid`.
    public init(_ text: String) throws(ZMQError) {
        func refusal(_ reason: String) -> ZMQError { .endpointInvalid(text, reason: reason) }
        guard let separator = text.firstRange(of: "://") else { throw refusal("it has no scheme such as tcp://") }
        let rest = text[separator.upperBound...]
        guard !rest.isEmpty else { throw refusal("nothing follows the scheme") }
        switch text[..<separator.lowerBound] {
        case "tcp":
            let parts = rest.split(separator: ";", maxSplits: 1, omittingEmptySubsequences: false)
            var stream = Stream(place: try Self.place(parts[parts.count - 1], refusal))
            if parts.count > 1 { stream.source = try Self.place(parts[0], refusal) }
            transport = .stream(stream)
        case "ipc": transport = .stream(Stream(place: .unix(String(rest))))
        case "inproc": transport = .inproc(String(rest))
        case "ws": transport = .stream(try Self.webSocket(rest, isSecure: false, refusal))
        case "wss": transport = .stream(try Self.webSocket(rest, isSecure: true, refusal))
        case let scheme: throw refusal("\(scheme) is none of tcp, ipc, inproc, ws, wss")
        }
        description = text
    }

    private init(_ transport: Transport, _ description: String) {
        self.transport = transport
        self.description = description
    }

    private static func place(_ text: Substring, _ refusal: (String) -> ZMQError) throws(ZMQError) -> Place {
        guard let colon = text.lastIndex(of: ":") else { throw refusal("it has no port") }
        var host = text[..<colon]
        let port = text[text.index(after: colon)...]
        guard let number = port == "*" ? 0 : UInt16(port) else { throw refusal("\(port) is no port") }
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            throw refusal("an IPv6 address stands in brackets")
        }
        guard !host.isEmpty else { throw refusal("it has no host") }
        return .internet(host: host == "*" ? "" : String(host), port: number)
    }

    private static func webSocket(_ text: Substring, isSecure: Bool, _ refusal: (String) -> ZMQError) throws(ZMQError) -> Stream {
        let slash = text.firstIndex(of: "/") ?? text.endIndex
        var authority = String(text[..<slash])
        if authority.hasSuffix("]") || !authority.contains(":") { authority += isSecure ? ":443" : ":80" }
        let target = slash == text.endIndex ? nil : String(text[slash...])
        guard target?.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "#") }) != false else {
            throw refusal("a path is ASCII without blanks and without a fragment: percent-encode it")
        }
        return Stream(place: try place(authority[...], refusal), webSocket: WebSocketPath(target: target, isSecure: isSecure))
    }

    /// Where a bound socket really is.
    func bound(to address: SocketAddress) -> ZMQEndpoint {
        guard case .stream(let stream) = transport, let webSocket = stream.webSocket else {
            return ZMQEndpoint(transport, "\(address.kind == .unix ? "ipc" : "tcp")://\(address)")
        }
        return ZMQEndpoint(transport, "\(webSocket.isSecure ? "wss" : "ws")://\(address)\(webSocket.target ?? "")")
    }

    /// Without `*` and 0, which only a bound socket may leave to the system.
    func streamToConnect() throws(ZMQError) -> Stream? {
        guard case .stream(let stream) = transport else { return nil }
        if case .internet(let host, let port) = stream.place, host.isEmpty || port == 0 {
            throw .endpointInvalid(description, reason: "to connect it needs a host and a port")
        }
        return stream
    }
}
