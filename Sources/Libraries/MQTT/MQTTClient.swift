internal import MartletEventLoop
internal import MartletMQTTProtocol
internal import MartletNet
internal import Synchronization

/// A connection to an MQTT server, 3.1.1 or 5.
/// ```swift
/// try await MQTTClient.withConnection(to: "mqtt://localhost:1883", clientID: "meter-7") { client in
///     try await client.publish("21.5", to: "home/kitchen/temperature", qos: .atLeastOnce)
///     try await client.subscribe(to: "home/+/temperature", qos: .atLeastOnce) { messages in
///         for try await message in messages { print(message.topic, message.text) }
///     }
/// }
/// ```
/// Any task may use it. The I/O runs on the library's own thread and the caller's code where it was called, so that a busy caller
/// cannot starve the keep-alive. Cancelling a task ends every wait in it.
/// Not here yet: reconnecting, QoS 2, wills, properties, TLS.
public final class MQTTClient: Sendable {
    private struct Outbox: Sendable {
        var publications: [MQTTPublication] = []
        /// Why nothing is taken any more.
        var end: MQTTClientError?
    }
    let number: UInt64
    /// For error messages.
    let server: String
    private let loop: EventLoop
    private let limits: MQTTClientLimits
    private let outbox = Mutex(Outbox())
    private let ending = Monitor<MQTTClientError?>(nil)
    private let subscriptionCount = Atomic<UInt32>(0)
    private static let count = Atomic<UInt64>(0)

    init(server: String, loop: EventLoop, limits: MQTTClientLimits) {
        number = Self.count.wrappingAdd(1, ordering: .relaxed).newValue
        self.server = server
        self.loop = loop
        self.limits = limits
    }

    // MARK: Connecting

    /// Connects to `mqtt://[USER[:PASSWORD]@]HOST[:PORT]`, runs `body`, says DISCONNECT and closes, also when `body` throws.
    /// Without a client identifier it makes a random one. Throws `MQTTClientError`, or what `body` throws.
    public static func withConnection<Result>(
        to url: String, clientID: String? = nil, options: MQTTClientOptions = MQTTClientOptions(), _ body: (MQTTClient) async throws -> Result
    ) async throws -> Result {
        let place = try MQTTServerURL(url)
        var options = options
        if let userName = place.userName { (options.userName, options.password) = (userName, place.password) }
        return try await withConnection(host: place.host, port: place.port, clientID: clientID, options: options, body)
    }

    public static func withConnection<Result>(
        host: String, port: UInt16 = 1883, clientID: String? = nil, options: MQTTClientOptions = MQTTClientOptions(),
        _ body: (MQTTClient) async throws -> Result
    ) async throws -> Result {
        let addresses = try await MQTTClientThreads.resolve(host, port)
        let client = MQTTClient(server: host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)", loop: MQTTClientThreads.loop, limits: options.limits)
        return try await client.run(clientID, options, body) { tenant, attempt, loop in tenant.connect(attempt, to: addresses[...], on: loop) }
    }

    /// Over a stream that is connected already, on a loop whose tenant is an `MQTTClientTenant`.
    static func withConnection<Result>(
        over descriptor: Int32, on loop: EventLoop, clientID: String, options: MQTTClientOptions = MQTTClientOptions(),
        _ body: (MQTTClient) async throws -> Result
    ) async throws -> Result {
        let client = MQTTClient(server: "server", loop: loop, limits: options.limits)
        return try await client.run(clientID, options, body) { tenant, attempt, loop in tenant.open(attempt, descriptor, on: loop) }
    }

    private func run<Result>(
        _ clientID: String?, _ options: MQTTClientOptions, _ body: (MQTTClient) async throws -> Result,
        connect: @escaping @Sendable (MQTTClientTenant, MQTTClientTenant.Attempt, EventLoop) -> Void
    ) async throws -> Result {
        let reply = MQTTReply<Void>()
        let clientID = clientID ?? "martlet-\(String(UInt64.random(in: 0...(.max)), radix: 36))"
        loop.execute { loop in
            guard let tenant = MQTTClientTenant.on(loop) else { return reply.resolve(.failure(.closed)) }
            connect(tenant, MQTTClientTenant.Attempt(client: self, clientID: clientID, options: options, reply: reply), loop)
        }
        do {
            try await reply.value()
        } catch {
            call { channel, loop in channel.abandon(on: loop) }
            throw error
        }
        do {
            let result = try await body(self)
            await leave()
            return result
        } catch {
            await leave()
            throw error
        }
    }

    private func leave() async {
        let reply = MQTTReply<Void>()
        call { channel, loop in
            channel.leave(reply, on: loop)
        } without: {
            reply.resolve(.success(()))
        }
        _ = await reply.outcome()
    }

    /// Runs `body` on the loop with this connection's channel, or `without` when it is gone.
    private func call(_ body: @escaping @Sendable (MQTTClientChannel, EventLoop) -> Void, without: @escaping @Sendable () -> Void = {}) {
        let number = number
        loop.execute { loop in
            if let channel = MQTTClientTenant.on(loop)?.channel(number) { body(channel, loop) } else { without() }
        }
    }

    // MARK: Publishing

    /// Returns when the server has acknowledged the message (QoS 1) or it has been handed to the connection (QoS 0).
    /// Suspends while the server has as many unacknowledged messages as it allows, or the socket takes no more.
    public func publish(_ text: String, to topic: String, qos: MQTTQoS = .atMostOnce, retain: Bool = false) async throws(MQTTClientError) {
        try await publish(Array(text.utf8), to: topic, qos: qos, retain: retain)
    }

    public func publish(_ payload: [UInt8], to topic: String, qos: MQTTQoS = .atMostOnce, retain: Bool = false) async throws(MQTTClientError) {
        let reply = MQTTReply<Void>()
        let message = MQTTPublication.message(payload, topic: topic, qos: qos, retain: retain)
        hand(MQTTPublication(message: message, topic: topic, completion: .reply(reply)))
        try await reply.value()
    }

    /// Publishes many messages without waiting for each; returns when all are acknowledged or handed over.
    /// ```swift
    /// try await client.pipelined { pipeline in
    ///     for line in lines { try await pipeline.publish(line, to: "numbers", qos: .atLeastOnce) }
    /// }
    /// ```
    public func pipelined<Result>(_ body: (MQTTPipeline) async throws -> Result) async throws -> Result {
        let pipeline = MQTTPipeline(self, limits: limits)
        let result = try await body(pipeline)
        try await pipeline.drained()
        return result
    }

    /// One wake-up of the loop for all that is handed over until it looks.
    func hand(_ publication: MQTTPublication) {
        let (isFirst, end) = outbox.withLock { outbox in
            if outbox.end == nil { outbox.publications.append(publication) }
            return (outbox.publications.count == 1, outbox.end)
        }
        if let end { return publication.complete(end) }
        if isFirst { call { [self] channel, loop in channel.add(takeOutbox(), on: loop) } }
    }

    private func takeOutbox() -> [MQTTPublication] {
        outbox.withLock { outbox in
            let publications = outbox.publications
            outbox.publications = []
            return publications
        }
    }

    /// By the loop: nothing is taken any more.
    func end(_ error: MQTTClientError) {
        outbox.withLock { if $0.end == nil { $0.end = error } }
        for publication in takeOutbox() { publication.complete(error) }
        ending.update { $0 = error }
    }

    /// Waits until the connection is gone and answers why: for those who wait for something else than the server.
    /// `.closed` at the end of the scope, `.cancelled` when the waiting task is.
    public func untilLost() async -> MQTTClientError {
        do throws(MQTTClientError) { return try await ending.when { $0 } } catch { return error }
    }

    private var whyEnded: MQTTClientError { outbox.withLock { $0.end } ?? .closed }

    // MARK: Subscribing

    /// Subscribes, runs `body` once the server has agreed, and unsubscribes when it is left. See `MQTTMessages` for what arrives.
    /// With `staysSubscribed` the server goes on collecting messages for a session that outlives the connection.
    public func subscribe<Result>(
        to filter: String, qos: MQTTQoS = .atMostOnce, staysSubscribed: Bool = false, _ body: (MQTTMessages) async throws -> Result
    ) async throws -> Result {
        try await subscribe(to: [filter], qos: qos, staysSubscribed: staysSubscribed, body)
    }

    /// Several filters whose messages come in one sequence. The server must agree to all.
    public func subscribe<Result>(
        to filters: [String], qos: MQTTQoS = .atMostOnce, staysSubscribed: Bool = false, _ body: (MQTTMessages) async throws -> Result
    ) async throws -> Result {
        let number = subscriptionCount.wrappingAdd(1, ordering: .relaxed).newValue
        let inbox = MQTTInbox(limits: limits) { [self] in call { channel, loop in channel.report(number, on: loop) } }
        let reply = MQTTReply<[MQTTReason]>()
        call { channel, loop in
            channel.subscribe(number, filters, qos, inbox, reply, on: loop)
        } without: { [self] in
            reply.resolve(.failure(whyEnded))
        }
        var stays = false
        defer { call { [stays] channel, loop in channel.unsubscribe(number, staysSubscribed: stays, on: loop) } }
        let reasons = try await reply.value()
        for (filter, reason) in zip(filters, reasons) where reason.isFailure { throw MQTTClientError.rejected(.subscribe(filter: filter), reason) }
        stays = staysSubscribed
        return try await body(MQTTMessages(inbox: inbox))
    }
}
