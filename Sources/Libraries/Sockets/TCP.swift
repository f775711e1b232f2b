internal import MartletEventLoop
public import MartletNet
public import MartletTLS

/// Streams over TCP.
public enum TCP {
    /// Serves `place` until the task is cancelled: `handler` runs in a child task for each connection, on the connection's loop, and its end
    /// closes the connection. A handler that throws ends its own connection alone; `failed` is told.
    ///
    /// `place` is "HOST:PORT"; port 0 is a free one, and an empty host is every address of this machine. `ready` is told the first address that
    /// is bound. `loops` threads serve the connections, which are dealt out in turn; a handler must not block its thread.
    /// With `tls` a handler begins after the handshake, for which there are 10 s (`StreamOptions.handshakeTimeout`).
    /// Throws `addressInUse`, `addressNotAvailable`, `permissionDenied`, `unresolvable`, and `tls` for a certificate or key that cannot be used.
    public static func listen(
        on place: String, tls: TLSServerOptions? = nil, options: StreamOptions = StreamOptions(), loops: Int = 1,
        ready: (@Sendable (SocketAddress) -> Void)? = nil,
        failed: (@Sendable (TCPConnection, any Error) -> Void)? = nil,
        _ handler: @escaping @Sendable (TCPConnection) async throws -> Void
    ) async throws(NetError) {
        let addresses = try await Place(place, phase: .listen).addressesToBind()
        try await StreamServer.listen(on: addresses, tls: tls, options, loops: loops, ready: ready, failed: failed, handler)
    }

    /// Connects, runs `body`, and closes. See `StreamConnection.close` for how it ends.
    ///
    /// A name's addresses are tried in turn, both families, a quarter of a second apart, and the first that answers is taken (RFC 8305).
    /// Throws `refused`, `timedOut`, `unreachable`, `unresolvable`, `reset`, `permissionDenied`, `cancelled`, with `tls` also
    /// `certificateExpired`, `certificateWrongHost`, `certificateUntrusted`, `certificateRequired` and `tls`, and what `body` throws. `timeout` is for all of it.
    public static func withConnection<Result>(
        to place: String, tls: TLSClientOptions? = nil, options: StreamOptions = StreamOptions(), timeout: Duration = .seconds(10),
        _ body: (TCPConnection) async throws -> Result
    ) async throws -> Result {
        let core = try await StreamClient.connect(to: Place(place), tls: tls, options, timeout: timeout, owner: .current)
        return try await StreamClient.scope(core, body)
    }

    /// Connects, and gives the connection to the caller, who closes it, or drops it: then what was written still leaves.
    public static func connect(
        to place: String, tls: TLSClientOptions? = nil, options: StreamOptions = StreamOptions(), timeout: Duration = .seconds(10)
    ) async throws(NetError) -> TCPSocket {
        TCPSocket(core: try await StreamClient.connect(to: Place(place), tls: tls, options, timeout: timeout, owner: nil))
    }
}
