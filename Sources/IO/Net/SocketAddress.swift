import CLinux
import Glibc

/// Where a socket is: an IPv4 or IPv6 address with its port, or a Unix path (abstract when it begins with NUL).
public struct SocketAddress: Sendable, Hashable, CustomStringConvertible {
    public enum Kind: Sendable { case ipv4, ipv6, unix }
    public private(set) var port: UInt16
    private let location: Location

    /// Addresses in network order, without memory of their own: one is made for each datagram.
    private enum Location: Sendable, Hashable {
        case ipv4(UInt32)
        case ipv6(UInt64, UInt64, scope: UInt32)
        case unix([UInt8])
    }

    public var kind: Kind {
        switch location {
        case .ipv4: .ipv4
        case .ipv6: .ipv6
        case .unix: .unix
        }
    }

    /// A numeric address ("127.0.0.1", "::1"), an IPv6 one also with its scope ("fe80::1%eth0"); nil for anything else, names included.
    public init?(_ text: String, port: UInt16) {
        var address = cl_address(), numeric = text[...], scope: UInt32 = 0
        if let percent = text.firstIndex(of: "%") {
            let name = String(text[text.index(after: percent)...])
            scope = UInt32(name) ?? cl_interface_index(name)
            guard scope > 0 else { return nil }
            numeric = text[..<percent]
        }
        guard cl_parse_address(String(numeric), &address) == 1, scope == 0 || address.family == 6 else { return nil }
        address.port = port
        address.scope = scope
        self.init(address)
    }

    /// A Unix socket at `path` (at most 107 bytes; nil if longer or empty).
    public init?(unix path: String) {
        let bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count <= 107 else { return nil }
        (port, location) = (0, .unix(bytes))
    }

    init(_ address: cl_address) {
        port = address.port
        location = withUnsafeBytes(of: address.bytes) { bytes in
            switch address.family {
            case 4: .ipv4(bytes.loadUnaligned(as: UInt32.self))
            case 6: .ipv6(bytes.loadUnaligned(as: UInt64.self), bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self), scope: address.scope)
            default: .unix(Array(bytes.prefix(Int(address.length))))
            }
        }
    }

    /// As the kernel gave it.
    init(name: UnsafeRawPointer, count: UInt32) {
        var address = cl_address()
        cl_decode_address(name, count, &address)
        self.init(address)
    }

    /// As `cl_address.family`.
    var family: CInt { kind == .unix ? 1 : kind == .ipv6 ? 6 : 4 }

    var raw: cl_address {
        var address = cl_address()
        address.family = UInt8(family)
        address.port = port
        withUnsafeMutableBytes(of: &address.bytes) { bytes in
            switch location {
            case .ipv4(let word):
                bytes.storeBytes(of: word, as: UInt32.self)
                address.length = 4
            case .ipv6(let high, let low, let scope):
                bytes.storeBytes(of: high, as: UInt64.self)
                bytes.storeBytes(of: low, toByteOffset: 8, as: UInt64.self)
                address.length = 16
                address.scope = scope
            case .unix(let path):
                bytes.copyBytes(from: path)
                address.length = UInt8(path.count)
            }
        }
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
        switch location {
        case .unix: true
        case .ipv4(let word): UInt32(bigEndian: word) >> 24 == 127
        case .ipv6(let high, let low, _): high == 0 && UInt64(bigEndian: low) == 1
        }
    }

    /// 224.0.0.0/4 or ff00::/8.
    public var isMulticast: Bool {
        switch location {
        case .unix: false
        case .ipv4(let word): UInt32(bigEndian: word) >> 28 == 0xE
        case .ipv6(let high, _, _): UInt64(bigEndian: high) >> 56 == 0xFF
        }
    }

    /// The file of a Unix socket; nil where there is none.
    var unixPath: String? {
        guard case .unix(let path) = location, let first = path.first, first != 0 else { return nil }
        return description
    }

    /// "127.0.0.1:1883", "[::1]:1883", a path, "@name" for an abstract one, "unix" for a nameless peer.
    public var description: String {
        if case .unix(let path) = location {
            guard let first = path.first else { return "unix" }
            return first == 0 ? "@" + String(decoding: path.dropFirst(), as: UTF8.self) : String(decoding: path, as: UTF8.self)
        }
        return kind == .ipv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// "127.0.0.1", "::1": without the port; as above for a Unix socket.
    public var host: String {
        if kind == .unix { return description }
        var raw = raw
        var text = [CChar](repeating: 0, count: 64)
        _ = cl_format_address(&raw, &text, text.count)
        return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
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

    /// What became of a stream's connect to this address: 0, or a negative errno. TCP may give a socket that tries a free port of its own machine that very
    /// port, and it meets itself (RFC 9293, 3.5: simultaneous open): nobody was there.
    func connectResult(of descriptor: Int32) -> Int32 {
        let error = cl_connect_result(descriptor)
        return error == 0 && kind != .unix && Self.local(of: descriptor) == self ? -ECONNREFUSED : error
    }
}
