import MartletAMQP
import MartletAMQPProtocol
import MartletBytes
import MartletEventLoop

/// `martlet bench amqp`: its connections, and what the report calls the load.
enum AMQPBench {
    static func run(_ options: AMQPBenchOptions) -> Int32 {
        let server = options.server
        return BenchRun.command("bench amqp", options.load, text(options)) { () throws(CommandFailure) in
            let layers = BenchRun.secured(by: options.tls, for: server.host)
            return (try BenchRun(options.load, host: server.host, port: server.port, layers: layers), stages(options))
        }
    }

    private static func stages(_ options: AMQPBenchOptions) -> [[BenchRun.Opening]] {
        let topology = AMQPBenchTopology(options, prefix: "bench-\(String(UInt32.random(in: 0...(.max)), radix: 36))"), load = options.load
        let numbers = Array(0..<options.queueCount)
        let consumers = (0..<load.receiverCount).map { index -> BenchRun.Opening in
            let queues = BenchLoad.share(of: numbers, index: index, count: load.receiverCount).map { topology.queue($0) }
            return { loop in AMQPBenchConsumer(options, queues: queues, now: loop.now) }
        }
        let publishers = (0..<load.publisherCount).map { index -> BenchRun.Opening in
            let targets = topology.targets(BenchLoad.share(of: numbers, index: index, count: load.publisherCount))
            return { loop in AMQPBenchPublisher(options, exchange: topology.exchange, targets: targets, index: index, now: loop.now) }
        }
        return [[{ loop in AMQPBenchDeclarer(options, topology, now: loop.now) }], consumers, publishers]
    }

    private static func text(_ options: AMQPBenchOptions) -> String {
        let load = options.load
        var parts = [
            "\(load.publisherCount) to \(load.receiverCount)", "\(options.queueCount) queue\(options.queueCount == 1 ? "" : "s")",
            "\(options.exchange) exchange",
        ]
        if options.bindingCount > 1 { parts.append("\(options.queueCount * options.bindingCount) bindings") }
        parts.append("\(load.payloadSize) bytes")
        if load.receiverCount > 0 { parts.append(options.ackEvery.map { "ack every \($0)" } ?? "auto-ack") }
        if let window = options.confirmWindow { parts.append("confirms, window \(window)") }
        if options.isPersistent { parts.append("persistent") }
        if let rate = load.rate { parts.append("\(BenchFigures.grouped(rate))/s") }
        return parts.joined(separator: ", ")
    }
}

/// The names of one run, and what declares and deletes them.
struct AMQPBenchTopology: Sendable {
    /// Where messages of a queue go, beside the exchange.
    struct Target: Sendable {
        let routingKey: [UInt8]
        /// Encoded properties.
        let properties: [UInt8]
    }

    let exchange: [UInt8]
    private let options: AMQPBenchOptions
    private let prefix: String

    init(_ options: AMQPBenchOptions, prefix: String) {
        self.options = options
        self.prefix = prefix
        exchange = options.exchange == .default ? [] : Array("\(prefix)-\(options.exchange)".utf8)
    }

    func queue(_ number: Int) -> [UInt8] { Array("\(prefix)-q\(number)".utf8) }

    /// Where messages of these queues go: by their first bindings, then by their second, …
    func targets(_ queues: [Int]) -> [Target] {
        (0..<options.bindingCount).flatMap { binding in queues.map { target($0, binding) } }
    }

    private func target(_ number: Int, _ binding: Int) -> Target {
        var properties = AMQPProperties()
        properties.deliveryMode = options.isPersistent ? 2 : 1
        if options.exchange == .headers { properties.headers = headers(number, binding).encoded }
        var encoded = ByteBuffer()
        // A table of two numbers cannot be too long.
        try? properties.encode(into: &encoded)
        return Target(routingKey: key(number, binding, prefix, "text"), properties: encoded.span.array)
    }

    /// For a topic exchange the first and the last word are wildcards in a binding.
    private func key(_ number: Int, _ binding: Int, _ first: String, _ last: String) -> [UInt8] {
        switch options.exchange {
        case .default: queue(number)
        case .topic: Array("\(first).\(number).\(binding).\(last)".utf8)
        default: Array("\(number).\(binding)".utf8)
        }
    }

    private func headers(_ number: Int, _ binding: Int) -> AMQPTable { ["queue": .int64(Int64(number)), "binding": .int64(Int64(binding))] }

    var declarations: [AMQPMethod<[UInt8]>] {
        let isDurable = options.isPersistent, kind = Array("\(options.exchange)".utf8)
        var methods = exchange.isEmpty ? [] : [AMQPMethod<[UInt8]>.exchangeDeclare(.init(exchange: exchange, type: kind, durable: isDurable))]
        for number in 0..<options.queueCount {
            methods.append(.queueDeclare(.init(queue: queue(number), durable: isDurable)))
            if exchange.isEmpty { continue }
            for binding in 0..<options.bindingCount {
                var arguments: AMQPTable = [:]
                if options.exchange == .headers { arguments.fields = [AMQPTable.Field(Array("x-match".utf8), "all")] + headers(number, binding).fields }
                let key = key(number, binding, "*", "#")
                methods.append(.queueBind(.init(queue: queue(number), exchange: exchange, routingKey: key, arguments: arguments.encoded)))
            }
        }
        return methods
    }

    var deletions: [AMQPMethod<[UInt8]>] {
        (0..<options.queueCount).map { .queueDelete(.init(queue: queue($0))) } + (exchange.isEmpty ? [] : [.exchangeDelete(.init(exchange: exchange))])
    }
}
