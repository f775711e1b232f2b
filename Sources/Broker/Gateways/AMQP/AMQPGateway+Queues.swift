import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletShard

/// What is declared of queues, and their bindings.
extension AMQPGateway {
    /// The queue's number with the gateway. An empty name is that of the queue the channel declared last.
    func queue(_ name: [UInt8], on channel: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) -> UInt32 {
        var name = name
        if name.isEmpty {
            name = channels.value[channel].lastQueue
            if name.isEmpty { throw AMQPException(.notFound, "no previously declared queue") }
        }
        guard let place = virtualHosts.value[connection.virtualHost].queues.find(name.span) else {
            throw virtualHosts.value[connection.virtualHost].resource(.queue, name).isMissing
        }
        let queue = virtualHosts.value[connection.virtualHost].queues[place: place]
        try checkOwner(queue, connection)
        return queue
    }

    private func checkOwner(_ queue: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) {
        let owner = queues.value[queue].owner
        guard owner == 0 || owner == connection.slot else {
            throw AMQPException(
                .resourceLocked,
                "cannot obtain exclusive access to locked \(resource(of: queue)). It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."
            )
        }
    }

    func resource(of queue: UInt32) -> AMQPResource {
        virtualHosts.value[queues.value[queue].virtualHost].resource(.queue, queues.value[queue].name)
    }

    // MARK: queue.declare

    func declare(
        _ declare: AMQPMethod<ByteRange>.QueueDeclare, in bytes: Span<UInt8>, on channel: UInt32, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        let name = bytes.at(declare.queue).array, host = connection.virtualHost
        let number: UInt32
        if !declare.passive { try checkName(name, "queue") }
        if declare.passive {
            number = try queue(name, on: channel, connection)
        } else if !name.isEmpty, let place = virtualHosts.value[host].queues.find(name.span) {
            number = virtualHosts.value[host].queues[place: place]
            try check(number, declare, in: bytes, connection)
        } else {
            number = try make(declare, name.isEmpty ? makeName("amq.gen-") : name, bytes.at(declare.arguments).array, connection)
        }
        use(number)
        channels.value[channel].lastQueue = queues.value[number].name
        guard !declare.noWait else { return }
        let ready = shard.core.value.depth(of: queues.value[number].id).ready
        say(
            .queueDeclareOk(
                .init(queue: queues.value[number].name, messageCount: UInt32(clamping: ready), consumerCount: queues.value[number].consumerCount)),
            on: channel)
    }

    private func make(
        _ declare: AMQPMethod<ByteRange>.QueueDeclare, _ name: [UInt8], _ arguments: [UInt8], _ connection: AMQPServerConnection
    ) throws(AMQPException) -> UInt32 {
        let host = connection.virtualHost
        try AMQPQueueArguments.check(arguments, virtualHosts.value[host].resource(.queue, name))
        let lifetime = try AMQPQueueArguments.lifetime(arguments, virtualHosts.value[host].resource(.queue, name))
        guard virtualHosts.value[host].queues.count < options.queuesMax else {
            seen.value.overLimit += 1
            throw AMQPException(
                .preconditionFailed,
                "cannot declare queue '\(name.text)' in vhost '\(virtualHosts.value[host].name.text)': queue limit of \(options.queuesMax) is reached")
        }
        let isDurable = declare.durable && !declare.exclusive
        let id = shard.core.value.openQueue(options.queuePolicy(isDurable: isDurable))
        let queue = AMQPQueue(
            id: id, name: name, virtualHost: host, isDurable: declare.durable, isAutoDelete: declare.autoDelete,
            owner: declare.exclusive ? connection.slot : 0, arguments: AMQPQueueArguments.kept(arguments), lifetime: lifetime ?? .zero)
        let number = insert(queue)
        if isDurable { queues.value[number].record = define(number) }
        if declare.exclusive { connection.exclusiveQueues.append(number) }
        return number
    }

    /// A queue that was made, or restored.
    func insert(_ queue: AMQPQueue) -> UInt32 {
        let number = queues.value.insert(queue), host = queue.virtualHost
        virtualHosts.value[host].queues.insert(number, queue.name.span)
        if queue.lifetime != .zero { queues.value[number].expiration = expirations.insert(number, queue.lifetime, on: shard.loop) }
        // Every queue can be reached by its name (section 2.1.2.4 of the specification).
        let none: [UInt8] = []
        if let place = virtualHosts.value[host].exchanges.find(none.span) {
            shard.core.value.bind(queue.id, to: virtualHosts.value[host].exchanges[place: place].hub, .address(queue.name))
        }
        return number
    }

    /// Section 1.7.2.1 of the class reference: what exists must be what is asked for.
    private func check(
        _ number: UInt32, _ declare: AMQPMethod<ByteRange>.QueueDeclare, in bytes: Span<UInt8>, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        try checkOwner(number, connection)
        let queue = queues.value[number], resource = resource(of: number)
        if queue.isDurable != declare.durable { throw resource.differs(in: "durable", received: "'\(declare.durable)'", current: "'\(queue.isDurable)'") }
        if queue.isAutoDelete != declare.autoDelete {
            throw resource.differs(in: "auto_delete", received: "'\(declare.autoDelete)'", current: "'\(queue.isAutoDelete)'")
        }
        if declare.exclusive != (queue.owner != 0) {
            throw AMQPException(
                .resourceLocked,
                "cannot obtain exclusive access to locked \(resource). It could be originally declared on another connection or the exclusive property value does not match that of the original declaration."
            )
        }
        try AMQPQueueArguments.check(bytes.at(declare.arguments).array, resource)
        try AMQPQueueArguments.compare(bytes.at(declare.arguments).array, queue.arguments, resource)
    }

    // MARK: queue.bind, queue.unbind

    func bind(
        _ bind: AMQPMethod<ByteRange>.QueueBind, in bytes: Span<UInt8>, on channel: UInt32, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        let name = bytes.at(bind.exchange).array
        if name.isEmpty { throw Self.defaultExchange }
        let exchange = try exchange(name, connection)
        let queue = try queue(bytes.at(bind.queue).array, on: channel, connection)
        var key = bytes.at(bind.routingKey).array
        // Section 1.7.2.3.5 of the class reference: without both names, the queue's is the key.
        if key.isEmpty, bind.queue.isEmpty { key = queues.value[queue].name }
        try checkBindings(of: connection)
        let arguments = bytes.at(bind.arguments).array, pattern = try Self.pattern(key, arguments, of: exchange)
        let isDurable = exchange.isDurable && !queues.value[queue].record.isNone
        let record = isDurable ? defineBinding(of: .queue(queues.value[queue].name), to: name, key, arguments, connection.virtualHost) : .none
        shard.core.value.bind(queues.value[queue].id, to: exchange.hub, pattern, record: record)
    }

    func unbind(
        _ unbind: AMQPMethod<ByteRange>.QueueUnbind, in bytes: Span<UInt8>, on channel: UInt32, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        let name = bytes.at(unbind.exchange).array
        if name.isEmpty { throw Self.defaultExchange }
        // What is not there has no binding, which is all that is asked for.
        let queueName = bytes.at(unbind.queue).array
        guard let exchange = try? exchange(name, connection) else { return }
        guard queueName.isEmpty || virtualHosts.value[connection.virtualHost].queues.find(queueName.span) != nil else { return }
        let queue = try queue(queueName, on: channel, connection)
        let pattern = try Self.pattern(bytes.at(unbind.routingKey).array, bytes.at(unbind.arguments).array, of: exchange)
        if shard.core.value.unbind(queues.value[queue].id, from: exchange.hub, pattern) { deleteUnbound([exchange.hub], in: connection.virtualHost) }
    }

    // MARK: queue.purge, queue.delete

    func purge(_ name: [UInt8], noWait: Bool, on channel: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) {
        let queue = try queue(name, on: channel, connection), id = queues.value[queue].id
        let count = shard.perform { $0.purge(id, into: &$1) }
        if !noWait { say(.queuePurgeOk(.init(messageCount: UInt32(clamping: count))), on: channel) }
    }

    func delete(
        _ delete: AMQPMethod<ByteRange>.QueueDelete, in bytes: Span<UInt8>, on channel: UInt32, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        let name = bytes.at(delete.queue).array
        var count = 0
        if name.isEmpty || virtualHosts.value[connection.virtualHost].queues.find(name.span) != nil {
            let queue = try queue(name, on: channel, connection)
            if delete.ifUnused, queues.value[queue].consumerCount > 0 { throw AMQPException(.preconditionFailed, "\(resource(of: queue)) in use") }
            count = shard.core.value.depth(of: queues.value[queue].id).ready
            if delete.ifEmpty, count > 0 { throw AMQPException(.preconditionFailed, "\(resource(of: queue)) not empty") }
            self.delete(queue)
        }
        if !delete.noWait { say(.queueDeleteOk(.init(messageCount: UInt32(clamping: count))), on: channel) }
    }

    /// Deletes a queue; its consumers hear of it, where they know the word.
    func delete(_ queue: UInt32) {
        let id = queues.value[queue].id, host = queues.value[queue].virtualHost, name = queues.value[queue].name
        while queues.value[queue].firstConsumer != 0 { dismiss(queues.value[queue].firstConsumer) }
        queues.value[queue].id = .none
        undefine(queues.value[queue].record)
        if queues.value[queue].expiration != 0 { expirations.remove(queues.value[queue].expiration) }
        held.removeAll { holding in
            guard holding.queue == id else { return false }
            resume(holding.connection)
            return true
        }
        if let place = virtualHosts.value[host].queues.find(name.span) { virtualHosts.value[host].queues.remove(at: place) }
        let owner = queues.value[queue].owner
        if owner != 0, let connection = shard.loop.channel(at: owner) as? AMQPServerConnection,
            let place = connection.exclusiveQueues.lastIndex(of: queue)
        {
            connection.exclusiveQueues.remove(at: place)
        }
        let sources = shard.core.value.hubs(of: id)
        shard.perform { $0.deleteQueue(id, into: &$1) }
        deleteUnbound(sources, in: host)
        if queues.value[queue].unacknowledged == 0 { queues.value.remove(queue) }
    }

    /// Section 1.7.2.1.4 of the class reference.
    func deleteExclusiveQueues(of connection: AMQPServerConnection) {
        let queues = connection.exclusiveQueues
        connection.exclusiveQueues = []
        for queue in queues { delete(queue) }
    }
}

/// The arguments of queue.declare.
enum AMQPQueueArguments {
    /// RabbitMQ's, without those that change nothing here: `x-queue-mode`, `x-queue-version`, `x-queue-master-locator`. What else there may be
    /// says nothing to anybody.
    private static let refused: Set<String> = [
        "x-message-ttl", "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-dead-letter-strategy", "x-max-length", "x-max-length-bytes",
        "x-overflow", "x-max-priority", "x-single-active-consumer", "x-delivery-limit", "x-max-in-memory-length", "x-max-in-memory-bytes",
        "x-quorum-initial-group-size", "x-initial-cluster-size", "x-max-age", "x-stream-max-segment-size-bytes", "x-queue-leader-locator",
    ]

    private static var compared: [String] { ["x-expires", "x-queue-master-locator", "x-queue-mode", "x-queue-version"] }

    /// Of a queue's arguments, those that a later declaration is compared with: nobody asks for the others, which may be long.
    static func kept(_ arguments: [UInt8]) -> [UInt8] {
        guard !arguments.isEmpty else { return [] }
        return AMQPTable(AMQPTable(encoded: arguments).fields.filter { compared.contains($0.key.text) }).encoded
    }

    /// `x-expires`, in milliseconds; `nil`: not given.
    static func lifetime(_ arguments: [UInt8], _ resource: AMQPResource) throws(AMQPException) -> Duration? {
        let span = arguments.span, name = Array("x-expires".utf8)
        var cursor = AMQPTableCursor(ByteRange(0, arguments.count), in: span)
        guard let field = cursor.first(name.span) else { return nil }
        let reason: String
        switch field.kind == .timestamp ? nil : field.integer(in: span) {
        case nil: reason = "\"expected integer, got \(field.kind == .string ? "longstr" : "\(field.kind)")\""
        case .some(0): reason = "{value_zero,0}"
        case .some(let number) where number < 0: reason = "{value_negative,\(number)}"
        case .some(let number): return .milliseconds(min(number, 1 << 48))
        }
        throw AMQPException(.preconditionFailed, "invalid arg 'x-expires' for \(resource): \(reason)")
    }

    /// Refuses what this broker does not do, so that nobody relies on it.
    static func check(_ arguments: [UInt8], _ resource: AMQPResource) throws(AMQPException) {
        for field in AMQPTable(encoded: arguments).fields {
            let name = field.key.text
            if name == "x-queue-type", field.value != "classic" {
                throw AMQPException(.preconditionFailed, "invalid arg 'x-queue-type' for \(resource): only classic queues are supported")
            }
            guard refused.contains(name) else { continue }
            throw AMQPException(.preconditionFailed, "invalid arg '\(name)' for \(resource): not supported")
        }
    }

    /// Throws when two tables differ in what changes nothing here, but would be another queue in RabbitMQ.
    static func compare(_ received: [UInt8], _ current: [UInt8], _ resource: AMQPResource) throws(AMQPException) {
        guard received != current else { return }
        let received = AMQPTable(encoded: received), current = AMQPTable(encoded: current)
        for name in compared {
            let wanted = received[name], known = current[name]
            guard wanted != known, let type = wanted.map(type) ?? known.map(type) else { continue }
            throw resource.differs(in: name, received: wanted.map(text), current: known.map(text), type: type)
        }
    }

    private static func text(_ value: AMQPValue) -> String {
        switch value {
        case .string(let text): text.text
        case .int8(let number): "\(number)"
        case .int16(let number): "\(number)"
        case .int32(let number): "\(number)"
        case .int64(let number): "\(number)"
        default: "\(value)"
        }
    }

    /// The name of the value's type, as RabbitMQ writes it.
    private static func type(_ value: AMQPValue) -> String {
        switch value {
        case .string: "longstr"
        case .int8: "byte"
        case .int16: "short"
        case .int32: "signedint"
        case .int64: "long"
        default: "other"
        }
    }
}
