internal import MartletAMQPProtocol
internal import MartletClient
internal import Synchronization

/// A channel of a connection (section 2.1.2 of the specification): where everything is declared, published and consumed. Made by
/// `AMQPConnection.withChannel` or `openChannel`.
///
/// Any task may use it; what several ask at once the server does in the order of the calls. After a reconnect it goes on as it was
/// (`AMQPReconnect`). A channel exception ends it: what waits and every later call throw `channelClosed`.
public final class AMQPChannel: Sendable {
    /// What tasks have asked and the loop has not taken.
    private struct Outbox: Sendable {
        var commands: [AMQPCommand] = []
        var settlements: [AMQPSettlement] = []
        var isTransactional = false
        /// The loop will come for them.
        var isCalled = false
        /// Why nothing is taken any more.
        var end: AMQPError?
    }
    let id: UInt64
    let connection: AMQPConnection
    private let outbox = Mutex(Outbox())
    /// Of messages without confirms.
    private let unconfirmed: AMQPWindow
    private let consumerCount = Atomic<UInt64>(0)
    private let listeners = Mutex<[AsyncStream<AMQPReturn>.Continuation]>([])

    init(_ connection: AMQPConnection, id: UInt64) {
        self.id = id
        self.connection = connection
        unconfirmed = AMQPWindow(connection.limits, keepsFailure: false)
    }

    /// Closes the channel: what was asked and published goes first, unacknowledged deliveries go back to their queues. While there is no connection
    /// it does not wait for one: what waits is lost. Does nothing if it is closed.
    public func close() async {
        let reply = AMQPReply<AMQPAnswer>()
        guard (try? hand(.request(AMQPRequest(.channelClose(.init(replyCode: 200, replyText: Array("closed".utf8))), .task(reply))))) != nil else { return }
        _ = await reply.outcome()
    }

    // MARK: To the loop

    /// Asks and waits for the answer.
    func ask(_ method: AMQPMethod<[UInt8]>, consumer: AMQPConsumer.Terms? = nil) async throws(AMQPError) -> AMQPAnswer {
        let reply = AMQPReply<AMQPAnswer>()
        try hand(.request(AMQPRequest(method, .task(reply), consumer: consumer)))
        return try await reply.value()
    }

    /// Throws when the channel has ended.
    func hand(_ command: AMQPCommand) throws(AMQPError) { try put { $0.commands.append(command) } }

    /// Completes the publication with the channel's end.
    func hand(_ publication: AMQPPublication) {
        do throws(AMQPError) { try hand(.publish(publication)) } catch { publication.complete(error) }
    }

    func settle(_ settlement: AMQPSettlement) throws(AMQPError) {
        try put { outbox in
            if outbox.isTransactional { outbox.commands.append(.settle(settlement)) } else { outbox.settlements.append(settlement) }
        }
    }

    /// One wake-up of the loop for all that is put until it looks.
    private func put(_ add: (inout sending Outbox) -> Void) throws(AMQPError) {
        let (isFirst, end) = outbox.withLock { outbox -> (Bool, AMQPError?) in
            if let end = outbox.end { return (false, end) }
            add(&outbox)
            defer { outbox.isCalled = true }
            return (!outbox.isCalled, nil)
        }
        if let end { throw end }
        if isFirst { connection.call { [self] session in session.takeOutbox(of: self) } }
    }

    /// By the loop.
    func takeOutbox() -> (commands: [AMQPCommand], settlements: [AMQPSettlement]) {
        outbox.withLock { outbox in
            let taken = (outbox.commands, outbox.settlements)
            (outbox.commands, outbox.settlements, outbox.isCalled) = ([], [], false)
            return taken
        }
    }

    /// By the loop: nothing is taken any more.
    func end(_ error: AMQPError) {
        let commands = outbox.withLock { outbox in
            if outbox.end == nil { outbox.end = error }
            let commands = outbox.commands
            (outbox.commands, outbox.settlements) = ([], [])
            return commands
        }
        for command in commands {
            switch command {
            case .publish(let publication): publication.complete(error)
            case .request(let request): request.resolve(.failure(error))
            case .settle: break
            }
        }
        let listening = listeners.withLock { listeners in
            let all = listeners
            listeners = []
            return all
        }
        for listener in listening { listener.finish() }
    }

    // MARK: Publishing

    func publication(
        _ body: [UInt8], _ exchange: String, _ routingKey: String, _ persistent: Bool, _ mandatory: Bool, _ properties: AMQPMessageProperties,
        _ completion: AMQPPublication.Completion, awaitsConfirm: Bool
    ) throws(AMQPError) -> AMQPPublication {
        guard exchange.utf8.count <= 255, routingKey.utf8.count <= 255 else { throw .misuse(method: "basic.publish", reason: AMQPMisuse.textTooLong.sentence) }
        var properties = properties
        if persistent { properties.isPersistent = true }
        return AMQPPublication(
            exchange: exchange, routingKey: routingKey, properties: try properties.encoded(), body: body, completion: completion, isMandatory: mandatory,
            awaitsConfirm: awaitsConfirm)
    }

    /// Publishes a message and returns when the server has confirmed it: for a persistent one in durable queues, when it is on disk. The channel's
    /// first such call puts it into confirm mode. In a transaction it returns when the message has left, and the commit counts.
    ///
    /// `exchange`: empty, the default one, routes to the queue that `routingKey` names. `mandatory`: a message that is routed to no queue comes
    /// back, and `returned` is thrown. Throws `nacked` when the server could not take care of it.
    /// Waits while the server holds publishers, while the socket takes no more and while there is no connection (`AMQPReconnect`: at least once).
    public func publish(
        _ text: String, to exchange: String = "", routingKey: String, persistent: Bool = false, mandatory: Bool = false,
        properties: AMQPMessageProperties = AMQPMessageProperties()
    ) async throws(AMQPError) {
        try await publish(Array(text.utf8), to: exchange, routingKey: routingKey, persistent: persistent, mandatory: mandatory, properties: properties)
    }

    /// The same with any bytes.
    public func publish(
        _ body: [UInt8], to exchange: String = "", routingKey: String, persistent: Bool = false, mandatory: Bool = false,
        properties: AMQPMessageProperties = AMQPMessageProperties()
    ) async throws(AMQPError) {
        let reply = AMQPReply<Void>()
        try hand(.publish(try publication(body, exchange, routingKey, persistent, mandatory, properties, .reply(reply), awaitsConfirm: true)))
        try await reply.value()
    }

    /// Publishes and returns when the message has been taken over: fire and forget. It is lost with the connection, and what is `mandatory` and
    /// comes back is told by `returns` alone. Suspends while `AMQPClientLimits.pipelineCountMax` of them have not left.
    public func publishUnconfirmed(
        _ body: [UInt8], to exchange: String = "", routingKey: String, persistent: Bool = false, mandatory: Bool = false,
        properties: AMQPMessageProperties = AMQPMessageProperties()
    ) async throws(AMQPError) {
        let publication = try publication(
            body, exchange, routingKey, persistent, mandatory, properties, .window(unconfirmed), awaitsConfirm: false)
        try await unconfirmed.enter(publication.size)
        do throws(AMQPError) {
            try hand(.publish(publication))
        } catch {
            unconfirmed.completed(1, publication.size, nil)
            throw error
        }
    }

    /// The same with a text.
    public func publishUnconfirmed(
        _ text: String, to exchange: String = "", routingKey: String, persistent: Bool = false, mandatory: Bool = false,
        properties: AMQPMessageProperties = AMQPMessageProperties()
    ) async throws(AMQPError) {
        try await publishUnconfirmed(
            Array(text.utf8), to: exchange, routingKey: routingKey, persistent: persistent, mandatory: mandatory, properties: properties)
    }

    /// Publishes many messages without waiting for each; returns when all are confirmed. `window`: how many may be under way;
    /// `nil`: `AMQPClientLimits.pipelineCountMax`.
    /// ```swift
    /// try await channel.pipelined { pipeline in
    ///     for line in lines { try await pipeline.publish(line, routingKey: "lines") }
    /// }
    /// ```
    public func pipelined<Result>(window: Int? = nil, _ body: (AMQPPipeline) async throws -> Result) async throws -> Result {
        let pipeline = AMQPPipeline(window: AMQPWindow(connection.limits, window: window), channel: self)
        let result = try await body(pipeline)
        try await pipeline.window.drained()
        return result
    }

    /// Messages that come back from now on, but for those that a waiting publish throws as `returned`; ends with the channel. At most the newest
    /// `AMQPClientLimits.returnsMax` wait for a task that does not iterate.
    public var returns: AsyncStream<AMQPReturn> {
        let (stream, continuation) = AsyncStream.makeStream(of: AMQPReturn.self, bufferingPolicy: .bufferingNewest(connection.limits.returnsMax))
        if outbox.withLock({ $0.end }) != nil { continuation.finish() } else { listeners.withLock { $0.append(continuation) } }
        return stream
    }

    /// By the loop.
    func cameBack(_ message: AMQPReturn) { for listener in listeners.withLock({ $0 }) { listener.yield(message) } }

    // MARK: Consuming

    func nextConsumerTag() -> String { "martlet-\(consumerCount.wrappingAdd(1, ordering: .relaxed).newValue)" }

    /// By the loop, in a transaction or not.
    func beTransactional() { outbox.withLock { $0.isTransactional = true } }
}
