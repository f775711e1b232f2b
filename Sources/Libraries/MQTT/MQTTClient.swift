internal import MartletClient
internal import MartletEventLoop
internal import MartletMQTTProtocol
internal import MartletNet
internal import MartletTLS
internal import Synchronization

/// A client of an MQTT server, 5, 3.1.1 or 3.1.
/// ```swift
/// try await MQTTClient.withConnection(to: "mqtt://localhost:1883", clientID: "meter-7") { client in
///     try await client.publish("21.5", to: "home/kitchen/temperature", qos: .atLeastOnce, retain: true)
///     try await client.subscribe(to: "home/+/temperature") { messages in
///         for try await message in messages { print(message.topic, message.text) }
///     }
/// }
/// ```
/// Any task may use it. The I/O runs on the library's own thread and the caller's code where it was called, so that a busy caller
/// cannot starve the keep-alive. Cancelling a task ends every wait in it.
///
/// A connection that is lost is made again (`MQTTReconnect`) and calls go on waiting meanwhile: what was under way is sent
/// again if the server kept the session; if it did not, subscriptions are made and unacknowledged messages published anew.
public final class MQTTClient: Sendable {
    private struct Outbox: Sendable {
        var publications: [MQTTPublication] = []
        /// Why nothing is taken any more.
        var end: MQTTClientError?
    }
    /// What the server said in CONNACK.
    struct Opening: Sendable {
        var clientID: String
        var responseAddress: String?
    }
    let number: UInt64
    /// For error messages.
    let server: String
    let version: MQTTVersion
    let limits: MQTTClientLimits
    let responses = MQTTResponses()
    let opening: Mutex<Opening>
    private let loop: EventLoop
    private let outbox = Mutex(Outbox())
    private let ending = MQTTMonitor<MQTTClientError?>(nil)
    private let listeners = Mutex<[AsyncStream<MQTTConnectionState>.Continuation]>([])
    private let subscriptionCount = Atomic<UInt32>(0)
    private static let count = Atomic<UInt64>(0)

    init(server: String, clientID: String, loop: EventLoop, options: MQTTClientOptions) {
        number = Self.count.wrappingAdd(1, ordering: .relaxed).newValue
        self.server = server
        self.loop = loop
        limits = options.limits
        version = options.version
        opening = Mutex(Opening(clientID: clientID))
    }

    // MARK: Connecting

    /// Connects to `mqtt://[USER[:PASSWORD]@]HOST[:PORT]`, `mqtts://` for TLS, `ws://` or `wss://` for WebSocket, which may have a path (default:
    /// `/mqtt`), runs `body`, says DISCONNECT and closes, also when `body` throws.
    /// Without a client identifier it makes a random one. Throws `MQTTClientError`, or what `body` throws.
    public static func withConnection<Result>(
        to url: String, clientID: String? = nil, options: MQTTClientOptions = MQTTClientOptions(), _ body: (MQTTClient) async throws -> Result
    ) async throws -> Result {
        let place = try MQTTServerURL(url)
        guard place.topic == nil else { throw MQTTClientError.urlInvalid(place.shown, reason: "it has a path") }
        var options = options
        if let userName = place.userName { (options.userName, options.password) = (userName, place.password) }
        if place.isSecure, options.tls == nil { options.tls = TLSClientOptions() }
        if let path = place.webSocketPath { options.webSocketPath = path }
        return try await withConnection(host: place.host, port: place.port, clientID: clientID, options: options, body)
    }

    /// The same without a URL. `host`: a name, or an IPv4 or IPv6 address without brackets. `port`: 1883 if none is named, with TLS 8883, over
    /// WebSocket 80 and 443.
    public static func withConnection<Result>(
        host: String, port: UInt16? = nil, clientID: String? = nil, options: MQTTClientOptions = MQTTClientOptions(),
        _ body: (MQTTClient) async throws -> Result
    ) async throws -> Result {
        let isWebSocket = options.webSocketPath != nil
        let port = port ?? (options.tls == nil ? isWebSocket ? 80 : 1883 : isWebSocket ? 443 : 8883)
        let makeLayer: (@Sendable () -> StreamLayer)?
        do throws(TLSError) {
            makeLayer = try MQTTPlace.layers(host, port, tls: options.tls, webSocketPath: options.webSocketPath)
        } catch { throw MQTTClientError.tlsUnusable(error) }
        let server = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        return try await withConnection(
            by: MQTTPlace.host(host, port), under: makeLayer, server: server,
            on: MQTTClientThreads.loop, clientID: clientID, options: options, body)
    }

    /// Over streams that `dial` makes, each with a layer by `makeLayer`, on a loop whose tenant is an `MQTTClientTenant`.
    static func withConnection<Result>(
        by dial: @escaping MQTTDial, under makeLayer: (@Sendable () -> StreamLayer)? = nil, server: String, on loop: EventLoop, clientID: String?,
        options: MQTTClientOptions,
        _ body: (MQTTClient) async throws -> Result
    ) async throws -> Result {
        let clientID = clientID ?? "martlet-\(String(UInt64.random(in: 0...(.max)), radix: 36))"
        let client = MQTTClient(server: server, clientID: clientID, loop: loop, options: options)
        let reply = MQTTReply<Void>()
        loop.execute { loop in
            guard let tenant = MQTTClientTenant.on(loop) else { return reply.resolve(.failure(.closed)) }
            tenant.add(MQTTClientSession(client, clientID, options, tenant, on: loop, dial: dial, makeLayer: makeLayer, connecting: reply))
        }
        do {
            try await reply.value()
        } catch {
            client.call { session in session.end(error) }
            throw error
        }
        do {
            let result = try await body(client)
            await client.leave()
            return result
        } catch {
            await client.leave()
            throw error
        }
    }

    private func leave() async {
        let reply = MQTTReply<Void>()
        call { session in
            session.leave(reply)
        } without: {
            reply.resolve(.success(()))
        }
        _ = await reply.outcome()
    }

    /// Runs `body` on the loop with this client's session, or `without` when it has ended.
    private func call(_ body: @escaping @Sendable (MQTTClientSession) -> Void, without: @escaping @Sendable () -> Void = {}) {
        let number = number
        loop.execute { loop in
            if let session = MQTTClientTenant.on(loop)?.session(number) { body(session) } else { without() }
        }
    }

    // MARK: Publishing

    /// Returns when the server has acknowledged the message: QoS 1 by PUBACK, QoS 2 by PUBCOMP. QoS 0: when it has been handed
    /// to the connection. Suspends while the server has as many unacknowledged messages as it allows, while the socket takes
    /// no more, and while there is no connection; beyond `MQTTClientLimits.offlineCountMax` it throws `offlineQueueFull`.
    public func publish(
        _ text: String, to topic: String, qos: MQTTQoS = .atMostOnce, retain: Bool = false, properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTClientError) {
        try await publish(Array(text.utf8), to: topic, qos: qos, retain: retain, properties: properties)
    }

    /// The same with any bytes.
    public func publish(
        _ payload: [UInt8], to topic: String, qos: MQTTQoS = .atMostOnce, retain: Bool = false, properties: MQTTProperties = MQTTProperties()
    ) async throws(MQTTClientError) {
        let reply = MQTTReply<Void>()
        hand(try MQTTPublication(payload, to: topic, qos: qos, retain: retain, properties: properties, .reply(reply)))
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
        if isFirst { call { [self] session in session.add(takeOutbox()) } }
    }

    private func takeOutbox() -> [MQTTPublication] {
        outbox.withLock { outbox in
            let publications = outbox.publications
            outbox.publications = []
            return publications
        }
    }

    // MARK: The connection's state

    /// What the connection does from now on; ends with the client. At most the newest 64 wait for a task that does not iterate.
    public var states: AsyncStream<MQTTConnectionState> {
        let (stream, continuation) = AsyncStream.makeStream(of: MQTTConnectionState.self, bufferingPolicy: .bufferingNewest(64))
        if ending.with({ $0 }) != nil { continuation.finish() } else { listeners.withLock { $0.append(continuation) } }
        return stream
    }

    /// Waits until there is no connection and none will be made, and answers why: for those who wait for something else than
    /// the server. `.closed` at the end of the scope, `.cancelled` when the waiting task is.
    public func untilLost() async -> MQTTClientError {
        do throws(MQTTClientError) { return try await ending.when { $0 } } catch { return error }
    }

    /// The identifier the server knows this client by: the one given, or the one it assigned.
    public var clientID: String { opening.withLock { $0.clientID } }

    /// By the loop.
    func opened(assigned: String?, responseAddress: String?) {
        opening.withLock { opening in
            if let assigned { opening.clientID = assigned }
            opening.responseAddress = responseAddress
        }
    }

    /// By the loop.
    func tell(_ state: MQTTConnectionState) { for listener in listeners.withLock({ $0 }) { listener.yield(state) } }

    /// By the loop: nothing is taken any more.
    func end(_ error: MQTTClientError) {
        outbox.withLock { if $0.end == nil { $0.end = error } }
        for publication in takeOutbox() { publication.complete(error) }
        ending.update { $0 = error }
        responses.end(error)
        let listening = listeners.withLock { listeners in
            let all = listeners
            listeners = []
            return all
        }
        for listener in listening {
            listener.yield(.disconnected(error))
            listener.finish()
        }
    }

    private var whyEnded: MQTTClientError { outbox.withLock { $0.end } ?? .closed }

    // MARK: Subscribing

    /// Subscribes, runs `body` once the server has agreed, and unsubscribes when it is left. See `MQTTMessages` for what arrives.
    /// With `staysSubscribed` the server goes on collecting messages for a session that outlives the connection.
    /// `$share/GROUP/FILTER` shares the messages with all that subscribe so. Throws `rejected` if the server refuses, or what `body` throws.
    public func subscribe<Result>(
        to filter: String, qos: MQTTQoS = .atMostOnce, staysSubscribed: Bool = false, _ body: (MQTTMessages) async throws -> Result
    ) async throws -> Result {
        try await subscribe(to: [filter], MQTTSubscribing(qos: qos), staysSubscribed: staysSubscribed, body)
    }

    /// Several filters whose messages come in one sequence. The server must agree to all.
    public func subscribe<Result>(
        to filters: [String], qos: MQTTQoS = .atMostOnce, staysSubscribed: Bool = false, _ body: (MQTTMessages) async throws -> Result
    ) async throws -> Result {
        try await subscribe(to: filters, MQTTSubscribing(qos: qos), staysSubscribed: staysSubscribed, body)
    }

    /// With all that MQTT 5 lets a subscription say.
    public func subscribe<Result>(
        to filters: [String], _ how: MQTTSubscribing, staysSubscribed: Bool = false, _ body: (MQTTMessages) async throws -> Result
    ) async throws -> Result {
        let number = nextSubscription()
        let inbox = MQTTInbox(limits: limits) { [self] in call { session in session.report(number) } }
        var stays = false
        defer { call { [stays] session in session.unsubscribe(number, staysSubscribed: stays) } }
        let reasons = try await subscribe(number, filters, how, inbox).value()
        for (filter, reason) in zip(filters, reasons) where reason.isFailure { throw MQTTClientError.rejected(.subscribe(filter: filter), reason) }
        stays = staysSubscribed
        return try await body(MQTTMessages(inbox: inbox, granted: reasons))
    }

    func nextSubscription() -> UInt32 { subscriptionCount.wrappingAdd(1, ordering: .relaxed).newValue }

    func subscribe(_ number: UInt32, _ filters: [String], _ how: MQTTSubscribing, _ inbox: MQTTInbox) -> MQTTReply<[MQTTReason]> {
        let reply = MQTTReply<[MQTTReason]>()
        call { session in
            session.subscribe(number, filters, how, inbox, reply)
        } without: { [self] in
            reply.resolve(.failure(whyEnded))
        }
        return reply
    }

    /// Tells the server to forget subscriptions of a kept session that no task of this client has.
    public func unsubscribe(from filters: [String]) async throws(MQTTClientError) {
        let reply = MQTTReply<Void>()
        call { session in
            session.unsubscribe(from: filters, reply)
        } without: { [self] in
            reply.resolve(.failure(whyEnded))
        }
        try await reply.value()
    }
}
