internal import MartletEventLoop
public import MartletNet

/// Streams over Unix sockets. A place is a path of at most 107 bytes, or "@name" for a name without a file (abstract).
public enum Unix {
    /// Serves `path` until the task is cancelled, as `TCP.listen` does. A file that a dead server left is replaced; at the end it is removed.
    /// `connection.credentials` tells who connected.
    public static func listen(
        on path: String, options: StreamOptions = StreamOptions(), loops: Int = 1, ready: (@Sendable (SocketAddress) -> Void)? = nil,
        failed: (@Sendable (UnixConnection, any Error) -> Void)? = nil,
        _ handler: @escaping @Sendable (UnixConnection) async throws -> Void
    ) async throws(NetError) {
        let addresses = try await Place.unix(path).addressesToBind()
        try await StreamServer.listen(on: addresses, tls: nil, options, loops: loops, ready: ready, failed: failed, handler)
    }

    /// Connects, runs `body`, and closes, as `TCP.withConnection` does.
    public static func withConnection<Result>(
        to path: String, options: StreamOptions = StreamOptions(), timeout: Duration = .seconds(10), _ body: (UnixConnection) async throws -> Result
    ) async throws -> Result {
        let core = try await StreamClient.connect(to: .unix(path), tls: nil, options, timeout: timeout, owner: .current)
        return try await StreamClient.scope(core, body)
    }

    /// Connects, and gives the connection to the caller.
    public static func connect(to path: String, options: StreamOptions = StreamOptions(), timeout: Duration = .seconds(10)) async throws(NetError) -> TCPSocket
    {
        TCPSocket(core: try await StreamClient.connect(to: .unix(path), tls: nil, options, timeout: timeout, owner: nil))
    }
}
