internal import MartletEventLoop
public import MartletNet

/// Datagrams over UDP: sent one by one, each arrives whole, or late, or twice, or never.
///
/// A place is "127.0.0.1:9000", "example.org:9000" or "[::1]:9000". One socket has one address family: an empty host (":9000") is every IPv4 address of
/// this machine, "[::]:9000" every IPv6 one.
public enum UDP {
    /// Binds a socket to `place` (port 0: a free one, which `ready` tells), runs `body` with it on its own event loop, and closes it when `body` ends.
    ///
    /// For servers: in `body` nothing is handed from thread to thread, and all that one turn of the loop sends leaves in as few system calls as go.
    /// `body` must not block its thread. It is cancelled with the caller; its waits then throw `NetError.Kind.cancelled`.
    /// Throws what `body` does, and `NetError` with the phase `resolve` or `bind`: `unresolvable`, `addressInUse`, `addressNotAvailable`, `permissionDenied`.
    /// ```
    /// try await UDP.bind(on: "127.0.0.1:65432") { socket in
    ///     for try await (datagram, from) in socket { try await socket.send(datagram, to: from) }
    /// }
    /// ```
    public static func bind<Result: Sendable>(
        on place: String, options: DatagramOptions = DatagramOptions(), ready: (@Sendable (SocketAddress) -> Void)? = nil,
        _ body: @escaping @Sendable (UDPSocket) async throws -> Result
    ) async throws -> Result {
        try await DatagramScope.serve(try await DatagramScope.bound(to: try Place(place, phase: .bind), options), ready: ready, body)
    }

    /// The same with a socket that is bound already.
    public static func serve<Result: Sendable>(
        _ socket: DatagramSocket, ready: (@Sendable (SocketAddress) -> Void)? = nil, _ body: @escaping @Sendable (UDPSocket) async throws -> Result
    ) async throws -> Result {
        try await DatagramScope.serve(socket, ready: ready, body)
    }

    /// Binds a socket to `place` and runs `body` with it where the caller runs.
    public static func withSocket<Result>(
        on place: String, options: DatagramOptions = DatagramOptions(), _ body: (UDPSocket) async throws -> Result
    ) async throws -> Result {
        try await DatagramScope.use(try await DatagramScope.bound(to: try Place(place, phase: .bind), options), body)
    }

    /// Connects a socket to `place` and runs `body` with it where the caller runs: `send` needs no address, only this peer is heard, and that it is not
    /// there is reported where the network says so (`NetError.Kind.refused`). Nothing is sent by connecting. `timeout` is for finding the address.
    /// Throws what `body` does, and `NetError` with the phase `resolve`, `bind` or `connect`.
    /// ```
    /// let reply = try await UDP.withSocket(to: "127.0.0.1:65432") { socket in
    ///     try await socket.send("Hello, UDP!")
    ///     return try await socket.receive(timeout: .seconds(1))
    /// }
    /// ```
    public static func withSocket<Result>(
        to place: String, options: DatagramOptions = DatagramOptions(), timeout: Duration = .seconds(10), _ body: (UDPSocket) async throws -> Result
    ) async throws -> Result {
        try await DatagramScope.use(try await DatagramScope.connected(to: try Place(place, phase: .connect), options, timeout: timeout), body)
    }
}

/// Datagrams between processes of this machine: whole, in order and not lost, but where `receive` is not called the sender waits.
///
/// A place is a path of at most 107 bytes, or "@name" for a name without a file (abstract). A file that a dead process left is replaced; at the end it
/// is removed.
public enum UnixDatagram {
    /// As `UDP.bind`.
    public static func bind<Result: Sendable>(
        on path: String, options: DatagramOptions = DatagramOptions(), ready: (@Sendable (SocketAddress) -> Void)? = nil,
        _ body: @escaping @Sendable (UDPSocket) async throws -> Result
    ) async throws -> Result {
        try await DatagramScope.serve(try await DatagramScope.bound(to: .unix(path), options), ready: ready, body)
    }

    /// As `UDP.withSocket(on:)`.
    public static func withSocket<Result>(
        on path: String, options: DatagramOptions = DatagramOptions(), _ body: (UDPSocket) async throws -> Result
    ) async throws -> Result {
        try await DatagramScope.use(try await DatagramScope.bound(to: .unix(path), options), body)
    }

    /// As `UDP.withSocket(to:)`. Without `options.localAddress` the kernel gives an abstract name, to which the other side can answer.
    public static func withSocket<Result>(
        to path: String, options: DatagramOptions = DatagramOptions(), _ body: (UDPSocket) async throws -> Result
    ) async throws -> Result {
        try await DatagramScope.use(try await DatagramScope.connected(to: .unix(path), options, timeout: .zero), body)
    }
}

/// What both have in common: from a place to a socket, and the socket's end.
enum DatagramScope {
    static func bound(to place: Place, _ options: DatagramOptions) async throws(NetError) -> DatagramSocket {
        guard let address = try await place.addressesToBind().first else { throw NetError(.unresolvable, .bind, "\(place)") }
        return try DatagramSocket(boundTo: address, options: options)
    }

    /// The first of the name's addresses to which there is a route.
    static func connected(to place: Place, _ options: DatagramOptions, timeout: Duration) async throws(NetError) -> DatagramSocket {
        var last: NetError?
        let local = try await localAddress(options)
        for address in try await addresses(of: place, timeout: timeout) where local == nil || local?.kind == address.kind {
            do throws(NetError) { return try DatagramSocket(connectedTo: address, from: local, options: options) } catch { last = error }
        }
        throw last ?? NetError(.unresolvable, .connect, "\(place)", detail: "no address of the local address's family")
    }

    private static func localAddress(_ options: DatagramOptions) async throws(NetError) -> SocketAddress? {
        guard let text = options.localAddress else { return nil }
        let isPath = text.hasPrefix("/") || text.hasPrefix("@") || text.hasPrefix(".")
        return try await (isPath ? Place.unix(text) : try Place(text, phase: .bind)).addressesToBind().first
    }

    static func addresses(of place: Place, timeout: Duration) async throws(NetError) -> [SocketAddress] {
        if let address = try place.address(phase: .connect) { return [address] }
        guard case .internet(let host, let port) = place, !host.isEmpty else { throw NetError(.unresolvable, .connect, "\(place)", detail: "say which host") }
        return try await Resolver.system.addresses(of: host, port: port, timeout: timeout)
    }

    /// Runs `body` on a loop of its own.
    static func serve<Result: Sendable>(
        _ socket: DatagramSocket, ready: (@Sendable (SocketAddress) -> Void)?,
        _ body: @escaping @Sendable (UDPSocket) async throws -> Result
    ) async throws -> Result {
        let loops: [EventLoop]
        do throws(NetError) { loops = try SocketLoops.lend(1, for: "\(socket.local)") } catch {
            socket.close()
            throw error
        }
        let port = DatagramPort(socket, on: loops[0])
        ready?(port.local)
        let task = Task(executorPreference: loops[0].tasks) { try await body(UDPSocket(port)) }
        let result = await withTaskCancellationHandler {
            await task.result
        } onCancel: {
            task.cancel()
        }
        await port.close()
        SocketLoops.takeBack(loops)
        return try result.get()
    }

    static func use<Result>(_ socket: DatagramSocket, _ body: (UDPSocket) async throws -> Result) async throws -> Result {
        let loop: EventLoop
        do throws(NetError) { loop = try SocketLoops.client(for: "\(socket.local)") } catch {
            socket.close()
            throw error
        }
        let port = DatagramPort(socket, on: loop)
        do {
            let result = try await body(UDPSocket(port))
            await port.close()
            return result
        } catch {
            await port.close()
            throw error
        }
    }
}
