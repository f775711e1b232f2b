public import MartletAMQPProtocol
internal import MartletClient
internal import MartletEventLoop
internal import MartletNet
internal import MartletTLS
internal import Synchronization

/// A connection to an AMQP 0-9-1 server, such as RabbitMQ or Martlet.
/// ```swift
/// try await AMQPConnection.withConnection(to: "amqp://guest:guest@localhost/") { connection in
///     try await connection.withChannel { channel in
///         let tasks = try await channel.declareQueue("tasks", durable: true)
///         try await channel.publish("resize 7.png", routingKey: tasks.name, persistent: true)  // returns when confirmed
///         try await channel.consume(tasks, prefetch: 10) { deliveries in
///             for try await delivery in deliveries {
///                 try await work(delivery.body)
///                 try await delivery.ack()
///             }
///         }
///     }
/// }
/// ```
/// Any task may use it. The I/O runs on the library's own thread and the caller's code where it was called, so that a busy caller cannot starve
/// the heartbeats. Cancelling a task ends every wait in it. A connection that is lost is made again, with all that it had (`AMQPReconnect`).
public final class AMQPConnection: Sendable {
    private struct Standing: Sendable {
        var blocked: String?
        var serverProperties: AMQPTable = [:]
        var listeners: [AsyncStream<AMQPConnectionState>.Continuation] = []
    }
    let number: UInt64
    /// For error messages.
    let server: String
    let limits: AMQPClientLimits
    private let loop: EventLoop
    private let standing = Mutex(Standing())
    private let ending = AMQPMonitor<AMQPError?>(nil)
    private let channelCount = Atomic<UInt64>(0)
    private static let count = Atomic<UInt64>(0)

    init(server: String, loop: EventLoop, limits: AMQPClientLimits) {
        number = Self.count.wrappingAdd(1, ordering: .relaxed).newValue
        self.server = server
        self.loop = loop
        self.limits = limits
    }

    // MARK: Connecting

    /// Connects to `amqp://[USER[:PASSWORD]@]HOST[:PORT][/VHOST]`, or `amqps://` for TLS (`AMQPServerURL`), runs `body` and closes, also when `body`
    /// throws. Without a user it is guest with password guest. Throws `AMQPError`, or what `body` throws.
    public static func withConnection<Result>(
        to url: String, options: AMQPConnectionOptions = AMQPConnectionOptions(), _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        try await run(in: try await connect(to: url, options: options), body)
    }

    /// The same without a URL. `host`: a name, or an IPv4 or IPv6 address without brackets. `port`: 5672 if none is named, with TLS 5671.
    public static func withConnection<Result>(
        host: String, port: UInt16? = nil, options: AMQPConnectionOptions = AMQPConnectionOptions(), _ body: (AMQPConnection) async throws -> Result
    ) async throws -> Result {
        try await run(in: try await connect(host: host, port: port, options: options), body)
    }

    /// Without a scope: `close` it.
    public static func connect(to url: String, options: AMQPConnectionOptions = AMQPConnectionOptions()) async throws(AMQPError) -> AMQPConnection {
        let place = try AMQPServerURL(url)
        var options = options
        place.apply(to: &options)
        return try await connect(host: place.host, port: place.port, options: options)
    }

    /// Without a URL and without a scope.
    public static func connect(
        host: String, port: UInt16? = nil, options: AMQPConnectionOptions = AMQPConnectionOptions()
    ) async throws(AMQPError) -> AMQPConnection {
        let port = port ?? (options.tls == nil ? 5672 : 5671)
        var makeLayer: (@Sendable () -> StreamLayer)?
        if let tls = options.tls {
            do throws(TLSError) {
                let context = try TLSContext(client: tls)
                makeLayer = { context.makeLayer(serverName: host, port: port) }
            } catch { throw .tlsUnusable(error) }
        }
        let server = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        return try await connect(by: AMQPPlace.host(host, port), under: makeLayer, server: server, on: AMQPClientThreads.loop, options: options)
    }

    /// Over streams that `dial` makes, each with a layer by `makeLayer`, on a loop whose tenant is an `AMQPClientTenant`.
    static func connect(
        by dial: @escaping AMQPDial, under makeLayer: (@Sendable () -> StreamLayer)? = nil, server: String, on loop: EventLoop, options: AMQPConnectionOptions
    ) async throws(AMQPError) -> AMQPConnection {
        let connection = AMQPConnection(server: server, loop: loop, limits: options.limits)
        let reply = AMQPReply<Void>()
        loop.execute { loop in
            guard let tenant = AMQPClientTenant.on(loop) else { return reply.resolve(.failure(.closed)) }
            tenant.add(AMQPClientSession(connection, options, tenant, on: loop, dial: dial, makeLayer: makeLayer, connecting: reply))
        }
        do throws(AMQPError) {
            try await reply.value()
        } catch {
            connection.call { session in session.end(error) }
            throw error
        }
        return connection
    }

    static func run<Result>(in connection: AMQPConnection, _ body: (AMQPConnection) async throws -> Result) async throws -> Result {
        do {
            let result = try await body(connection)
            await connection.close()
            return result
        } catch {
            await connection.close()
            throw error
        }
    }

    /// Closes the connection with all its channels, when what was published has left. Returns when the server has agreed, or after
    /// `AMQPClientLimits.closeTimeout`. Does nothing if it is closed.
    public func close() async {
        let reply = AMQPReply<Void>()
        call { session in
            session.leave(reply)
        } without: {
            reply.resolve(.success(()))
        }
        _ = await reply.outcome()
    }

    /// Runs `body` on the loop with this connection's session, or `without` when it has ended.
    func call(_ body: @escaping @Sendable (AMQPClientSession) -> Void, without: @escaping @Sendable () -> Void = {}) {
        let number = number
        loop.execute { loop in
            if let session = AMQPClientTenant.on(loop)?.session(number) { body(session) } else { without() }
        }
    }

    // MARK: Channels

    /// Opens a channel, runs `body` and closes it, also when `body` throws.
    public func withChannel<Result>(_ body: (AMQPChannel) async throws -> Result) async throws -> Result {
        let channel = try await openChannel()
        do {
            let result = try await body(channel)
            await channel.close()
            return result
        } catch {
            await channel.close()
            throw error
        }
    }

    /// Opens a channel, which lives until its `close` or the connection's.
    public func openChannel() async throws(AMQPError) -> AMQPChannel {
        let channel = AMQPChannel(self, id: channelCount.wrappingAdd(1, ordering: .relaxed).newValue)
        let reply = AMQPReply<Void>()
        call { session in
            session.open(channel, reply)
        } without: { [self] in
            reply.resolve(.failure(whyEnded))
        }
        do throws(AMQPError) {
            try await reply.value()
        } catch {
            call { session in session.abandon(channel.id) }
            throw error
        }
        return channel
    }

    // MARK: The connection's state

    /// What the connection does from now on; ends with it. At most the newest 64 wait for a task that does not iterate.
    public var states: AsyncStream<AMQPConnectionState> {
        let (stream, continuation) = AsyncStream.makeStream(of: AMQPConnectionState.self, bufferingPolicy: .bufferingNewest(64))
        if ending.with({ $0 }) != nil { continuation.finish() } else { standing.withLock { $0.listeners.append(continuation) } }
        return stream
    }

    /// Waits until there is no connection and none will be made, and answers why: `.closed` after `close`, `.cancelled` when the waiting task is.
    public func untilLost() async -> AMQPError {
        do throws(AMQPError) { return try await ending.when { $0 } } catch { return error }
    }

    /// Why the server holds publishers, if it does (connection.blocked).
    public var blockedReason: String? { standing.withLock { $0.blocked } }

    /// What the server said of itself, when it was last connected to.
    public var serverProperties: AMQPTable { standing.withLock { $0.serverProperties } }

    private var whyEnded: AMQPError { ending.with { $0 } ?? .closed }

    /// By the loop.
    func started(_ serverProperties: AMQPTable) { standing.withLock { $0.serverProperties = serverProperties } }

    /// By the loop.
    func tell(_ state: AMQPConnectionState) {
        let listeners = standing.withLock { standing in
            switch state {
            case .blocked(let reason): standing.blocked = reason
            case .unblocked, .disconnected: standing.blocked = nil
            default: break
            }
            return standing.listeners
        }
        for listener in listeners { listener.yield(state) }
    }

    /// By the loop: nothing is taken any more.
    func end(_ error: AMQPError) {
        ending.update { $0 = error }
        let listening = standing.withLock { standing in
            let all = standing.listeners
            standing.listeners = []
            return all
        }
        for listener in listening {
            listener.yield(.disconnected(error))
            listener.finish()
        }
    }
}
