public import MartletAMQPProtocol

/// Exchanges, queues and bindings (sections 1.4 and 1.5 of the class reference). What is made here is made anew after a reconnect, until it is
/// deleted here or goes by itself. Names and routing keys have at most 255 bytes.
extension AMQPChannel {
    /// Makes an exchange, or checks that it is there and the same.
    /// - `durable`: it survives a restart of the server. `autoDelete`: it goes when nothing is bound to it any more.
    /// - `internal`: only other exchanges may publish to it. `passive`: only checks that it is there.
    public func declareExchange(
        _ name: String, _ kind: AMQPExchangeKind = .direct, durable: Bool = false, autoDelete: Bool = false, internal: Bool = false, passive: Bool = false,
        arguments: AMQPTable = [:]
    ) async throws(AMQPError) {
        try arguments.check("exchange.declare")
        _ = try await ask(
            .exchangeDeclare(
                .init(
                    exchange: Array(name.utf8), type: Array(kind.rawValue.utf8), passive: passive, durable: durable, autoDelete: autoDelete,
                    isInternal: `internal`, arguments: arguments.encoded)))
    }

    /// Deletes an exchange with its bindings. `ifUnused`: only if nothing is bound to it; otherwise a channel exception (406).
    public func deleteExchange(_ name: String, ifUnused: Bool = false) async throws(AMQPError) {
        _ = try await ask(.exchangeDelete(.init(exchange: Array(name.utf8), ifUnused: ifUnused)))
    }

    /// Has messages go on from exchange `source` to exchange `destination` (RabbitMQ's extension).
    public func bindExchange(
        _ destination: String, to source: String, routingKey: String = "", arguments: AMQPTable = [:]
    ) async throws(AMQPError) {
        try arguments.check("exchange.bind")
        _ = try await ask(
            .exchangeBind(
                .init(
                    destination: Array(destination.utf8), source: Array(source.utf8), routingKey: Array(routingKey.utf8),
                    arguments: arguments.encoded)))
    }

    /// Ends what `bindExchange` with the same words has made.
    public func unbindExchange(
        _ destination: String, from source: String, routingKey: String = "", arguments: AMQPTable = [:]
    ) async throws(AMQPError) {
        try arguments.check("exchange.unbind")
        _ = try await ask(
            .exchangeUnbind(
                .init(
                    destination: Array(destination.utf8), source: Array(source.utf8), routingKey: Array(routingKey.utf8),
                    arguments: arguments.encoded)))
    }

    /// Makes a queue, or checks that it is there and the same. An empty name: the server finds one, which the answer has.
    /// - `durable`: it survives a restart of the server. `exclusive`: it is this connection's alone, and goes with it.
    /// - `autoDelete`: it goes with its last consumer. `passive`: only checks that it is there, and counts.
    @discardableResult
    public func declareQueue(
        _ name: String = "", durable: Bool = false, exclusive: Bool = false, autoDelete: Bool = false, passive: Bool = false, arguments: AMQPTable = [:]
    ) async throws(AMQPError) -> AMQPQueue {
        try arguments.check("queue.declare")
        let answer = try await ask(
            .queueDeclare(
                .init(
                    queue: Array(name.utf8), passive: passive, durable: durable, exclusive: exclusive, autoDelete: autoDelete, arguments: arguments.encoded)))
        guard case .queue(let queue) = answer else { throw .closed }
        return queue
    }

    /// Has an exchange put messages into a queue: those with the routing key, or that match it, as the exchange's kind says.
    public func bindQueue(_ queue: String, to exchange: String, routingKey: String = "", arguments: AMQPTable = [:]) async throws(AMQPError) {
        try arguments.check("queue.bind")
        _ = try await ask(
            .queueBind(
                .init(queue: Array(queue.utf8), exchange: Array(exchange.utf8), routingKey: Array(routingKey.utf8), arguments: arguments.encoded)))
    }

    /// Ends what `bindQueue` with the same words has made.
    public func unbindQueue(_ queue: String, from exchange: String, routingKey: String = "", arguments: AMQPTable = [:]) async throws(AMQPError) {
        try arguments.check("queue.unbind")
        _ = try await ask(
            .queueUnbind(
                .init(queue: Array(queue.utf8), exchange: Array(exchange.utf8), routingKey: Array(routingKey.utf8), arguments: arguments.encoded)))
    }

    /// Throws away the messages that are ready; answers how many there were.
    @discardableResult
    public func purgeQueue(_ queue: String) async throws(AMQPError) -> Int {
        guard case .method(.queuePurgeOk(let ok)) = try await ask(.queuePurge(.init(queue: Array(queue.utf8)))) else { return 0 }
        return Int(ok.messageCount)
    }

    /// Deletes a queue with its messages; answers how many there were. `ifUnused`, `ifEmpty`: only if it has no consumers, no messages; otherwise
    /// a channel exception (406).
    @discardableResult
    public func deleteQueue(_ queue: String, ifUnused: Bool = false, ifEmpty: Bool = false) async throws(AMQPError) -> Int {
        guard case .method(.queueDeleteOk(let ok)) = try await ask(.queueDelete(.init(queue: Array(queue.utf8), ifUnused: ifUnused, ifEmpty: ifEmpty)))
        else { return 0 }
        return Int(ok.messageCount)
    }
}
