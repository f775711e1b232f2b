import MartletAMQP

/// One thing that `martlet amqp declare|delete|bind|unbind|purge` do.
enum AMQPTopologyStep: Sendable {
    case declareQueue(String, isDurable: Bool, isAutoDelete: Bool, isPassive: Bool, AMQPTable)
    case declareExchange(String, AMQPExchangeKind, isDurable: Bool, isAutoDelete: Bool, isInternal: Bool, isPassive: Bool, AMQPTable)
    case deleteQueue(String, ifUnused: Bool, ifEmpty: Bool)
    case deleteExchange(String, ifUnused: Bool)
    case bind(AMQPTopologyBinding)
    case unbind(AMQPTopologyBinding)
    case purge(String)

    /// What is said of it: the name and the counts, for people and for scripts; empty for people where there is nothing to say.
    func run(on channel: AMQPChannel) async throws -> (text: String, json: [(String, JSONValue)]) {
        switch self {
        case .declareQueue(let name, let isDurable, let isAutoDelete, let isPassive, let arguments):
            let queue = try await channel.declareQueue(name, durable: isDurable, autoDelete: isAutoDelete, passive: isPassive, arguments: arguments)
            let consumers = "\(queue.consumerCount) consumer\(queue.consumerCount == 1 ? "" : "s")"
            return (
                "\(queue.name): \(Self.messages(queue.messageCount)), \(consumers)\n",
                [("queue", .text(queue.name)), ("messages", .number("\(queue.messageCount)")), ("consumers", .number("\(queue.consumerCount)"))]
            )
        case .declareExchange(let name, let kind, let isDurable, let isAutoDelete, let isInternal, let isPassive, let arguments):
            try await channel.declareExchange(
                name, kind, durable: isDurable, autoDelete: isAutoDelete, internal: isInternal, passive: isPassive, arguments: arguments)
            return ("", [("exchange", .text(name)), ("type", .text(kind.rawValue))])
        case .deleteQueue(let name, let ifUnused, let ifEmpty):
            return Self.gone(name, try await channel.deleteQueue(name, ifUnused: ifUnused, ifEmpty: ifEmpty))
        case .deleteExchange(let name, let ifUnused):
            try await channel.deleteExchange(name, ifUnused: ifUnused)
            return ("", [("exchange", .text(name))])
        case .bind(let binding):
            for key in binding.keys {
                if binding.isQueue {
                    try await channel.bindQueue(binding.destination, to: binding.exchange, routingKey: key, arguments: binding.arguments)
                } else {
                    try await channel.bindExchange(binding.destination, to: binding.exchange, routingKey: key, arguments: binding.arguments)
                }
            }
            return ("", binding.json)
        case .unbind(let binding):
            for key in binding.keys {
                if binding.isQueue {
                    try await channel.unbindQueue(binding.destination, from: binding.exchange, routingKey: key, arguments: binding.arguments)
                } else {
                    try await channel.unbindExchange(binding.destination, from: binding.exchange, routingKey: key, arguments: binding.arguments)
                }
            }
            return ("", binding.json)
        case .purge(let name): return Self.gone(name, try await channel.purgeQueue(name))
        }
    }

    private static func messages(_ count: Int) -> String { "\(count) message\(count == 1 ? "" : "s")" }

    private static func gone(_ name: String, _ count: Int) -> (String, [(String, JSONValue)]) {
        ("\(name): \(messages(count)) deleted\n", [("queue", .text(name)), ("messages", .number("\(count)"))])
    }
}

/// From an exchange to a queue, or to another exchange.
struct AMQPTopologyBinding: Sendable {
    let exchange: String
    let destination: String
    let isQueue: Bool
    let keys: [String]
    let arguments: AMQPTable

    var json: [(String, JSONValue)] {
        [("exchange", .text(exchange)), (isQueue ? "queue" : "destination", .text(destination)), ("keys", .list(keys.map { .text($0) }))]
    }
}
