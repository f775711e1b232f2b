import CLinux
import Glibc

/// A datagram socket that is bound or connected, and on no loop yet: what can fail has not.
///
/// Its descriptor belongs to the channel that is made of it. Not here: sending and receiving (`DatagramChannel`, `DatagramPort`).
public struct DatagramSocket: Sendable {
    /// Where it is: port 0 became a number.
    public let local: SocketAddress
    /// Where it is connected to.
    public let peer: SocketAddress?
    public let options: DatagramOptions
    let descriptor: Int32
    /// The file to remove when it is closed.
    let unixPath: String?

    /// Binds. A Unix path that nobody listens at any more is taken over; its file is removed at close.
    /// Throws with the phase `bind`: `addressInUse`, `addressNotAvailable`, `permissionDenied`, `other`.
    public init(boundTo address: SocketAddress, options: DatagramOptions = DatagramOptions()) throws(NetError) {
        let descriptor = try Self.open(address, options, .bind)
        do throws(NetError) { unixPath = try Self.bind(descriptor, to: address) } catch {
            cl_close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.options = options
        local = SocketAddress.local(of: descriptor) ?? address
        peer = nil
    }

    /// Connects: the kernel then hands over only what this peer sends, and reports that it refuses (`NetError.Kind.refused`), late and not for sure.
    /// A Unix socket without `options.localAddress` gets an abstract name of its own, so that it can be answered.
    public init(connectedTo address: SocketAddress, from local: SocketAddress? = nil, options: DatagramOptions = DatagramOptions()) throws(NetError) {
        let descriptor = try Self.open(address, options, .connect)
        do throws(NetError) {
            var unixPath: String?
            if let local {
                unixPath = try Self.bind(descriptor, to: local)
            } else if address.kind == .unix {
                var nameless = cl_address(family: 1, port: 0, scope: 0, length: 0, bytes: cl_address().bytes)
                _ = cl_bind(descriptor, &nameless)
            }
            self.unixPath = unixPath
            var raw = address.raw
            try Self.check(cl_connect(descriptor, &raw), .connect, "\(address)")
        } catch {
            cl_close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.options = options
        self.local = SocketAddress.local(of: descriptor) ?? address
        peer = address
    }

    /// Closes a socket of which no channel was made.
    public func close() {
        cl_close(descriptor)
        if let unixPath { _ = cl_unlink_socket(unixPath) }
    }

    private static func check(_ result: Int32, _ phase: NetError.Phase, _ address: String) throws(NetError) {
        guard result < 0 else { return }
        throw NetError(errno: result, phase, address)
    }

    private static func open(_ address: SocketAddress, _ options: DatagramOptions, _ phase: NetError.Phase) throws(NetError) -> Int32 {
        let descriptor = cl_socket(address.family, CInt(SOCK_DGRAM.rawValue))
        try check(descriptor, phase, "\(address)")
        do throws(NetError) { try apply(options, to: descriptor, address, phase) } catch {
            cl_close(descriptor)
            throw error
        }
        return descriptor
    }

    private static func apply(_ options: DatagramOptions, to descriptor: Int32, _ address: SocketAddress, _ phase: NetError.Phase) throws(NetError) {
        guard (1...65_535).contains(options.datagramMax), options.inboundMax > 0 else {
            throw NetError(.other, phase, "\(address)", detail: "datagramMax is 1 to 65535 bytes and inboundMax at least 1")
        }
        func set(_ level: Int, _ name: Int32, _ value: Int) throws(NetError) {
            try check(cl_set_option(descriptor, CInt(level), name, CInt(clamping: value)), phase, "\(address)")
        }
        let socket = Int(SOL_SOCKET), four = Int(IPPROTO_IP), six = Int(IPPROTO_IPV6)
        if let count = options.receiveBuffer { try set(socket, SO_RCVBUF, count) }
        if let count = options.sendBuffer { try set(socket, SO_SNDBUF, count) }
        switch address.kind {
        case .unix: return
        case .ipv4:
            if let hops = options.timeToLive { try set(four, IP_TTL, hops) }
            try set(four, IP_MULTICAST_TTL, options.multicastTTL)
            try set(four, IP_MULTICAST_LOOP, options.multicastLoopback ? 1 : 0)
            // Else a socket bound to every address hears the groups that others on this machine have joined.
            try set(four, 49, 0)  // IP_MULTICAST_ALL
        case .ipv6:
            try set(six, IPV6_V6ONLY, 1)
            if let hops = options.timeToLive { try set(six, IPV6_UNICAST_HOPS, hops) }
            try set(six, IPV6_MULTICAST_HOPS, options.multicastTTL)
            try set(six, IPV6_MULTICAST_LOOP, options.multicastLoopback ? 1 : 0)
            try set(six, 29, 0)  // IPV6_MULTICAST_ALL
        }
        if options.reuseAddress { try set(socket, SO_REUSEADDR, 1) }
        if options.reusePort { try set(socket, SO_REUSEPORT, 1) }
        if options.broadcast { try set(socket, SO_BROADCAST, 1) }
        if let name = options.multicastInterface {
            try check(cl_set_multicast_interface(descriptor, address.family, try Self.interface(name, phase)), phase, "\(address)")
        }
    }

    /// Answers the path to remove at close.
    private static func bind(_ descriptor: Int32, to address: SocketAddress) throws(NetError) -> String? {
        let path = address.unixPath
        if let path { try takeOver(path, address) }
        var raw = address.raw
        try check(cl_bind(descriptor, &raw), .bind, "\(address)")
        return path
    }

    /// Removes the file of a socket that nobody reads from any more.
    private static func takeOver(_ path: String, _ address: SocketAddress) throws(NetError) {
        let probe = cl_socket(address.family, CInt(SOCK_DGRAM.rawValue))
        var raw = address.raw
        let isAlive = probe >= 0 && cl_connect(probe, &raw) == 0
        if probe >= 0 { cl_close(probe) }
        try check(isAlive ? -CInt(CL_EADDRINUSE) : cl_unlink_socket(path), .bind, path)
    }

    /// Receives what is sent to a group from now on, by one interface ("eth0"), or by the one that the routes have for it. For a socket on no loop yet.
    public func join(_ group: SocketAddress, interface: String? = nil) throws(NetError) {
        try Self.setMembership(descriptor, joins: true, group: group, interface: interface, source: nil)
    }

    static func interface(_ name: String, _ phase: NetError.Phase) throws(NetError) -> UInt32 {
        let index = cl_interface_index(name)
        guard index > 0 else {
            throw NetError(.other, phase, name, detail: "no such network interface, `ip link` lists them")
        }
        return index
    }

    /// Joins or leaves a group on a socket. Without an interface the kernel takes the one that its routes have for the group.
    static func setMembership(
        _ descriptor: Int32, joins: Bool, group: SocketAddress, interface: String?, source: SocketAddress?
    ) throws(NetError) {
        let index = if let interface { try Self.interface(interface, .bind) } else { UInt32(0) }
        var group = group.raw
        let error: Int32
        if var source = source?.raw {
            error = cl_set_membership(descriptor, joins ? 1 : 0, index, &group, &source)
        } else {
            error = cl_set_membership(descriptor, joins ? 1 : 0, index, &group, nil)
        }
        try check(error, .bind, SocketAddress(group).host)
    }
}
