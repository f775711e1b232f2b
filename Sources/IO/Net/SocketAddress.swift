import CLinux
import Glibc

/// Where a socket is: an IPv4 or IPv6 address with its port, or a Unix path (abstract when it begins with NUL).
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    public enum Kind: Sendable { case ipv4, ipv6, unix }
    public let kind: Kind
    public private(set) var port: UInt16
    private let scope: UInt32
    /// The address in network order, or the path.
    private let bytes: [UInt8]

    /// A numeric address ("127.0.0.1", "::1"); nil for anything else, names included.
    public init?(_ text: String, port: UInt16) {
        var address = cl_address()
        guard cl_parse_address(text, &address) == 1 else { return nil }
        address.port = port
        self.init(address)
    }

    /// A Unix socket at `path` (at most 107 bytes; nil if longer or empty).
    public init?(unix path: String) {
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count <= 107 else { return nil }
        (kind, port, scope, self.bytes) = (.unix, 0, 0, bytes)
    }

    init(_ address: cl_address) {
        kind = address.family == 4 ? .ipv4 : address.family == 6 ? .ipv6 : .unix
        port = address.port
        scope = address.scope
        bytes = withUnsafeBytes(of: address.bytes) { Array($0.prefix(Int(address.length))) }
    }

    /// As `cl_address.family`.
    var family: CInt { kind == .unix ? 1 : kind == .ipv6 ? 6 : 4 }

    var raw: cl_address {
        var address = cl_address()
        address.family = UInt8(family)
        address.port = port
        address.scope = scope
        address.length = UInt8(bytes.count)
        withUnsafeMutableBytes(of: &address.bytes) { $0.copyBytes(from: bytes) }
        return address
    }

    /// The addresses of a name or a numeric address, the resolver's order. **Blocks**: never on a loop.
    public static func resolve(_ host: String, port: UInt16) throws(NetError) -> [SocketAddress] {
        if let address = SocketAddress(host, port: port) { return [address] }
        let start = cl_monotonic_ns()
        var found = [cl_address](repeating: cl_address(), count: 16)
        let count = cl_resolve(host, &found, 16)
        guard count > 0 else {
            // EAI_NONAME and EAI_NODATA say no more than the kind does.
            let detail = count == 0 || count == -2 || count == -5 ? "" : String(cString: gai_strerror(count)).lowercased()
            throw NetError(.unresolvable, .resolve, host, elapsed: .nanoseconds(cl_monotonic_ns() - start), detail: detail)
        }
        return found.prefix(Int(count)).map {
            var address = $0; address.port = port; return SocketAddress(address)
        }
    }

    /// The same address with another port.
    public func with(port: UInt16) -> SocketAddress {
        var other = self
        other.port = port
        return other
    }

    public var isLoopback: Bool {
        switch kind {
        case .unix: true
        case .ipv4: bytes[0] == 127
        case .ipv6: bytes.dropLast().allSatisfy { $0 == 0 } && bytes[15] == 1
        }
    }

    /// "127.0.0.1:1883", "[::1]:1883", a path, "@name" for an abstract one, "unix" for a nameless peer.
    public var description: String {
        if kind == .unix {
            guard let first = bytes.first else { return "unix" }
            return first == 0 ? "@" + String(decoding: bytes.dropFirst(), as: UTF8.self) : String(decoding: bytes, as: UTF8.self)
        }
        var raw = raw
        var text = [CChar](repeating: 0, count: 64)
        _ = cl_format_address(&raw, &text, text.count)
        let host = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
        return kind == .ipv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// Where the peer of a connected descriptor is; nil when it is gone.
    public static func peer(of descriptor: Int32) -> SocketAddress? {
        var address = cl_address()
        return cl_peer_address(descriptor, &address) == 0 ? SocketAddress(address) : nil
    }

    /// Where a bound or connected descriptor is at this end.
    public static func local(of descriptor: Int32) -> SocketAddress? {
        var address = cl_address()
        return cl_local_address(descriptor, &address) == 0 ? SocketAddress(address) : nil
    }
}
