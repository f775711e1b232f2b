internal import MartletNet

/// Where a socket is bound, or connects to.
public struct ZMQEndpoint: Sendable, Hashable, CustomStringConvertible {
    enum Transport: Sendable, Hashable {
        case stream(Place)
        case inproc(String)
    }
    let transport: Transport
    /// As it was written; of a bound one with what the system chose.
    public let description: String

    /// `tcp://HOST:PORT`, where HOST is a name, an address, `[…]` around an IPv6 address, or, to bind, `*`; PORT `*` or 0 is a free one, to bind;
    /// `ipc:///PATH`, `ipc://@NAME` for an abstract name; `inproc://NAME`, within the process. Throws `endpointInvalid`.
    public init(_ text: String) throws(ZMQError) {
        func refusal(_ reason: String) -> ZMQError { .endpointInvalid(text, reason: reason) }
        guard let separator = text.firstRange(of: "://") else { throw refusal("it has no scheme such as tcp://") }
        let rest = text[separator.upperBound...]
        guard !rest.isEmpty else { throw refusal("nothing follows the scheme") }
        switch text[..<separator.lowerBound] {
        case "tcp": transport = .stream(try Self.place(rest, refusal))
        case "ipc": transport = .stream(.unix(String(rest)))
        case "inproc": transport = .inproc(String(rest))
        case let scheme: throw refusal("\(scheme) is none of tcp, ipc, inproc")
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

    /// Where a bound socket really is.
    func bound(to address: SocketAddress) -> ZMQEndpoint {
        let scheme = address.kind == .unix ? "ipc" : "tcp"
        return ZMQEndpoint(transport, "\(scheme)://\(address)")
    }

    /// Without `*` and 0, which only a bound socket may leave to the system.
    func placeToConnect() throws(ZMQError) -> Place? {
        guard case .stream(let place) = transport else { return nil }
        if case .internet(let host, let port) = place, host.isEmpty || port == 0 {
            throw .endpointInvalid(description, reason: "to connect it needs a host and a port")
        }
        return place
    }
}
