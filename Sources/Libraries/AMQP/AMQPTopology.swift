internal import MartletAMQPProtocol

/// The exchanges, queues and bindings that a connection has made, to be made anew in another.
///
/// A queue that the server named is known by its first name; `current` has those of now, and what goes out is `renamed`.
/// Not here: what other connections made or deleted meanwhile, and `amq.*`, which are the server's.
struct AMQPTopology {
    struct QueueRecord {
        var method: AMQPMethod<[UInt8]>.QueueDeclare
        let label: AMQPQueueLabel

        /// Named by the server.
        var isServerNamed: Bool { method.queue.isEmpty }
    }
    private struct Target: Hashable {
        let isQueue: Bool
        let name: [UInt8]
    }
    struct Binding: Hashable {
        let isToQueue: Bool
        let destination: [UInt8]
        let source: [UInt8]
        let routingKey: [UInt8]
        let arguments: [UInt8]

        var method: AMQPMethod<[UInt8]> {
            isToQueue
                ? .queueBind(.init(queue: destination, exchange: source, routingKey: routingKey, arguments: arguments))
                : .exchangeBind(.init(destination: destination, source: source, routingKey: routingKey, arguments: arguments))
        }
    }
    private(set) var exchanges: [[UInt8]: AMQPMethod<[UInt8]>.ExchangeDeclare] = [:]
    private(set) var queues: [[UInt8]: QueueRecord] = [:]
    private var bindings: [Target: Set<Binding>] = [:]
    /// Bindings by their source: how many.
    private var counts: [[UInt8]: Int] = [:]
    /// First names by later ones, and the reverse of the newest.
    private var originals: [[UInt8]: [UInt8]] = [:]
    private var current: [[UInt8]: [UInt8]] = [:]

    private static let reserved = Array("amq.".utf8)

    // MARK: Keeping the record

    /// The server has done what a task asked.
    mutating func note(_ method: AMQPMethod<[UInt8]>) {
        switch method {
        case .exchangeDeclare(let declare):
            if !declare.passive, !declare.exchange.isEmpty, !declare.exchange.starts(with: Self.reserved) { exchanges[declare.exchange] = declare }
        case .exchangeDelete(let delete): removeExchange(delete.exchange)
        case .exchangeBind(let bind):
            insert(
                Binding(
                    isToQueue: false, destination: bind.destination, source: bind.source, routingKey: bind.routingKey, arguments: bind.arguments))
        case .exchangeUnbind(let unbind):
            remove(
                Binding(
                    isToQueue: false, destination: unbind.destination, source: unbind.source, routingKey: unbind.routingKey, arguments: unbind.arguments))
        case .queueDelete(let delete): removeQueue(delete.queue)
        // The empty name is the channel's last queue, which another channel would not know.
        case .queueBind(let bind) where !bind.queue.isEmpty:
            insert(
                Binding(
                    isToQueue: true, destination: original(bind.queue), source: bind.exchange, routingKey: bind.routingKey, arguments: bind.arguments))
        case .queueUnbind(let unbind):
            remove(
                Binding(
                    isToQueue: true, destination: original(unbind.queue), source: unbind.exchange, routingKey: unbind.routingKey,
                    arguments: unbind.arguments))
        default: break
        }
    }

    /// The same of a queue; answers its name's label.
    mutating func note(_ declare: AMQPMethod<[UInt8]>.QueueDeclare, named name: [UInt8]) -> AMQPQueueLabel {
        if let known = queues[original(name)] { return known.label }
        let label = AMQPQueueLabel(String(decoding: name, as: UTF8.self))
        if !declare.passive { queues[name] = QueueRecord(method: declare, label: label) }
        return label
    }

    mutating func removeQueue(_ name: [UInt8]) {
        let name = original(name)
        queues[name] = nil
        if let now = current.removeValue(forKey: name) { originals[now] = nil }
        for binding in bindings[Target(isQueue: true, name: name)] ?? [] { remove(binding) }
    }

    mutating func removeExchange(_ name: [UInt8]) {
        exchanges[name] = nil
        for binding in bindings[Target(isQueue: false, name: name)] ?? [] { remove(binding) }
        guard counts[name] != nil else { return }
        for binding in allBindings where binding.source == name { remove(binding) }
    }

    var allBindings: [Binding] { bindings.values.flatMap { $0 } }

    private mutating func insert(_ binding: Binding) {
        let isFirst = bindings[Target(isQueue: binding.isToQueue, name: binding.destination), default: []].insert(binding).inserted
        if isFirst { counts[binding.source, default: 0] += 1 }
    }

    /// An exchange that deletes itself goes with the last of its bindings.
    private mutating func remove(_ binding: Binding) {
        let target = Target(isQueue: binding.isToQueue, name: binding.destination)
        guard bindings[target]?.remove(binding) != nil else { return }
        if bindings[target]?.isEmpty == true { bindings[target] = nil }
        let count = (counts[binding.source] ?? 1) - 1
        counts[binding.source] = count == 0 ? nil : count
        if count == 0, exchanges[binding.source]?.autoDelete == true { removeExchange(binding.source) }
    }

    /// The last consumer of the queue in this connection has ended: one that deletes itself is gone.
    mutating func unconsumed(_ queue: [UInt8]) { if queues[original(queue)]?.method.autoDelete == true { removeQueue(queue) } }

    // MARK: Names

    private func original(_ name: [UInt8]) -> [UInt8] { originals.isEmpty ? name : originals[name] ?? name }

    /// The server has named a queue anew.
    mutating func rename(_ original: [UInt8], to name: [UInt8]) {
        current[original] = name
        originals[name] = original
        queues[original]?.label.name = String(decoding: name, as: UTF8.self)
    }

    func currentName(_ name: [UInt8]) -> [UInt8] { current.isEmpty ? name : current[original(name)] ?? name }

    /// Of the default exchange.
    func renamed(routingKey: String) -> String {
        guard !current.isEmpty, let name = current[original(Array(routingKey.utf8))] else { return routingKey }
        return String(decoding: name, as: UTF8.self)
    }

    /// With the queue's name of now.
    func renamed(_ method: AMQPMethod<[UInt8]>) -> AMQPMethod<[UInt8]> {
        guard !current.isEmpty else { return method }
        switch method {
        case .queueDeclare(var declare) where declare.passive:
            declare.queue = currentName(declare.queue)
            return .queueDeclare(declare)
        case .queueBind(var bind):
            bind.queue = currentName(bind.queue)
            return .queueBind(bind)
        case .queueUnbind(var unbind):
            unbind.queue = currentName(unbind.queue)
            return .queueUnbind(unbind)
        case .queuePurge(var purge):
            purge.queue = currentName(purge.queue)
            return .queuePurge(purge)
        case .queueDelete(var delete):
            delete.queue = currentName(delete.queue)
            return .queueDelete(delete)
        case .basicConsume(var consume):
            consume.queue = currentName(consume.queue)
            return .basicConsume(consume)
        case .basicGet(var get):
            get.queue = currentName(get.queue)
            return .basicGet(get)
        default: return method
        }
    }
}
