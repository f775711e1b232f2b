public import MartletAMQPProtocol
internal import MartletClient

extension AMQPChannel {
    /// Consumes a queue, runs `body` once the server has agreed, and cancels the consumer when it is left: what was delivered and not taken goes
    /// back to the queue. See `AMQPDeliveries` for what arrives.
    /// - `prefetch`: how many unacknowledged messages the server may have under way to this consumer; 0: any number; `nil`:
    ///   `AMQPClientLimits.prefetchDefault`.
    /// - `acknowledged`: the server takes each as acknowledged when it has sent it; prefetch does not count.
    /// - `exclusive`: nobody else may consume the queue.
    public func consume<Result>(
        _ queue: String, consumerTag: String? = nil, prefetch: UInt16? = nil, acknowledged: Bool = false, exclusive: Bool = false, arguments: AMQPTable = [:],
        _ body: (AMQPDeliveries) async throws -> Result
    ) async throws -> Result {
        let deliveries = try await consume(
            queue, consumerTag: consumerTag, prefetch: prefetch, acknowledged: acknowledged, exclusive: exclusive, arguments: arguments)
        defer { deliveries.cancel() }
        return try await body(deliveries)
    }

    /// The same of a queue as it was declared.
    public func consume<Result>(
        _ queue: AMQPQueue, consumerTag: String? = nil, prefetch: UInt16? = nil, acknowledged: Bool = false, exclusive: Bool = false,
        arguments: AMQPTable = [:], _ body: (AMQPDeliveries) async throws -> Result
    ) async throws -> Result {
        try await consume(
            queue.name, consumerTag: consumerTag, prefetch: prefetch, acknowledged: acknowledged, exclusive: exclusive, arguments: arguments, body)
    }

    /// Without a scope: the consumer lives until `AMQPDeliveries.cancel` or the channel's end.
    public func consume(
        _ queue: String, consumerTag: String? = nil, prefetch: UInt16? = nil, acknowledged: Bool = false, exclusive: Bool = false, arguments: AMQPTable = [:]
    ) async throws(AMQPError) -> AMQPDeliveries {
        try arguments.check("basic.consume")
        let tag = consumerTag ?? nextConsumerTag()
        let prefetch = prefetch ?? connection.limits.prefetchDefault
        let isUnbounded = prefetch == 0 || acknowledged
        let inbox = AMQPInbox(max: isUnbounded ? connection.limits.undeliveredMax : .max) { [self] in
            connection.call { session in session.hasRoom(self.id, tag) }
        }
        let terms = AMQPConsumer.Terms(
            consumerTag: tag, queue: queue, inbox: inbox, takesAsAcknowledged: acknowledged, isExclusive: exclusive, prefetch: prefetch, arguments: arguments)
        do throws(AMQPError) {
            _ = try await ask(terms.method, consumer: terms)
        } catch {
            cancel(tag)
            throw error
        }
        return AMQPDeliveries(inbox: inbox, channel: self, consumerTag: tag)
    }

    /// The same of a queue as it was declared.
    public func consume(
        _ queue: AMQPQueue, consumerTag: String? = nil, prefetch: UInt16? = nil, acknowledged: Bool = false, exclusive: Bool = false,
        arguments: AMQPTable = [:]
    ) async throws(AMQPError) -> AMQPDeliveries {
        try await consume(
            queue.name, consumerTag: consumerTag, prefetch: prefetch, acknowledged: acknowledged, exclusive: exclusive, arguments: arguments)
    }

    /// Does not wait: the loop ends the consumer when the server has answered.
    func cancel(_ consumerTag: String) {
        try? hand(.request(AMQPRequest(.basicCancel(.init(consumerTag: Array(consumerTag.utf8))), .channel)))
    }

    /// Takes one message, and says how many are left; `nil`: the queue is empty (basic.get). `acknowledged`: it is owed no acknowledgement. Where
    /// messages keep coming, `consume` costs far less.
    public func get(_ queue: String, acknowledged: Bool = false) async throws(AMQPError) -> (delivery: AMQPDelivery, messageCount: Int)? {
        switch try await ask(.basicGet(.init(queue: Array(queue.utf8), noAck: acknowledged))) {
        case .message(let gotten): return gotten
        case .method, .queue: return nil
        }
    }

    /// The prefetch of the whole channel: how many unacknowledged messages the server may have under way to all its consumers together; 0: any
    /// number (basic.qos, global, as RabbitMQ understands it). That of one consumer is `consume`'s.
    public func setPrefetch(_ count: UInt16) async throws(AMQPError) { _ = try await ask(.basicQos(.init(prefetchCount: count, global: true))) }

    /// The server delivers again what was delivered on this channel and not acknowledged (basic.recover). The old deliveries count no more;
    /// acknowledging them does nothing. RabbitMQ knows `requeue` true alone.
    public func recover(requeue: Bool = true) async throws(AMQPError) { _ = try await ask(.basicRecover(.init(requeue: requeue))) }

    // MARK: Transactions

    /// Runs `body` in a transaction: what it publishes and acknowledges on this channel is done together at its end, or not at all if it throws
    /// (tx.select, tx.commit, tx.rollback). A channel with a transaction has no confirms, and stays so.
    public func withTransaction<Result>(_ body: (AMQPChannel) async throws -> Result) async throws -> Result {
        try await selectTransactions()
        do {
            let result = try await body(self)
            try await commit()
            return result
        } catch {
            // After a failed commit, or on a channel that is gone, there is nothing to roll back.
            try? await rollback()
            throw error
        }
    }

    /// From now on what is published and acknowledged waits for `commit` (tx.select).
    public func selectTransactions() async throws(AMQPError) { _ = try await ask(.txSelect) }

    /// Does what was published and acknowledged since the last commit or rollback, and begins the next transaction. Throws `transactionLost` if
    /// the connection was lost meanwhile: then nothing of it was done; if it was lost during the commit itself, `connectionLost`, and nobody knows.
    public func commit() async throws(AMQPError) { _ = try await ask(.txCommit) }

    /// Forgets what was published and acknowledged since the last commit or rollback.
    public func rollback() async throws(AMQPError) { _ = try await ask(.txRollback) }
}

extension AMQPTable {
    /// The encoder traps on a name that is too long.
    func check(_ method: String) throws(AMQPError) {
        for field in fields where field.key.count > 255 { throw .misuse(method: method, reason: "an argument's name is longer than 255 bytes") }
    }
}
