import MartletAMQP
import MartletBytes
import MartletLogging

/// What `martlet amqp publish|consume|get` do. Each answers the exit code; the sentence about a failure is already on stderr.
enum AMQPRun {
    static func publish(_ options: AMQPPublishOptions) -> Int32 {
        let stop = InputStop()
        // At the first signal, stdin is taken to be at its end: what was read is still published.
        return CommandTask.run(terminated: { count, task in
            stop.signal()
            if count > 1 || options.source != .lines { task.cancel() }
        }) { command in
            await AMQPEnd.exitCode("publish", command) {
                let payload = try options.source.payload(until: stop)
                try await options.connection.withChannel(reconnects: false) { connection, channel in
                    // The end of the connection ends the wait for stdin.
                    let watch = Task {
                        let end = await connection.untilLost()
                        stop.signal()
                        return end
                    }
                    defer { watch.cancel() }
                    try await publish(payload, options, on: channel, until: stop)
                    watch.cancel()
                    let end = await watch.value
                    if case .cancelled = end { return }
                    throw end
                }
                return ExitCode.ok
            }
        }
    }

    /// Lines of stdin without a payload.
    private static func publish(_ payload: [UInt8]?, _ options: AMQPPublishOptions, on channel: AMQPChannel, until stop: InputStop) async throws {
        try await channel.pipelined { pipeline in
            func publish(_ body: [UInt8]) async throws {
                try await pipeline.publish(
                    body, to: options.exchange, routingKey: options.routingKey, mandatory: options.isMandatory, properties: options.properties)
            }
            if let payload {
                for _ in 0..<options.count { try await publish(payload) }
            } else {
                try await MessageSource.lines(of: InputFile.standardInput(until: stop), publish)
            }
        }
    }

    static func consume(_ options: AMQPConsumeOptions) -> Int32 {
        CommandTask.run(timeout: options.timeout, terminated: { _, task in task.cancel() }) { command in
            await AMQPEnd.exitCode("consume", command) {
                try await options.connection.withChannel(reconnects: true) { _, channel in
                    let queue: String
                    switch options.place {
                    case .queue(let name): queue = name
                    case .exchange(let exchange, let keys):
                        queue = try await channel.declareQueue(exclusive: true).name
                        for key in keys { try await channel.bindQueue(queue, to: exchange, routingKey: key) }
                    }
                    try await channel.consume(
                        queue, prefetch: UInt16(options.prefetch), acknowledged: options.ackEvery == nil, exclusive: options.isExclusive
                    ) { deliveries in try await print(deliveries, options) }
                }
                return ExitCode.ok
            }
        }
    }

    private static func print(_ deliveries: AMQPDeliveries, _ options: AMQPConsumeOptions) async throws {
        var rest: AMQPDelivery?
        do {
            try await print(deliveries, options, &rest)
        } catch {
            // What was printed is done, also when a signal ends it.
            try? await rest?.ack(multiple: true)
            throw error
        }
        try await rest?.ack(multiple: true)
    }

    /// `rest`: the last of those that are printed and not acknowledged.
    private static func print(_ deliveries: AMQPDeliveries, _ options: AMQPConsumeOptions, _ rest: inout AMQPDelivery?) async throws {
        var left = options.messageCountMax ?? .max, count = 0
        var iterator = deliveries.makeAsyncIterator()
        var printer = AMQPPrinter(options.print)
        // All that is there leaves in one write, before the next wait; at most 1,024 messages, so that the first are seen early.
        while left > 0, let batch = try await iterator.nextBatch(atMost: min(left, 1_024)) {
            left -= batch.count
            for delivery in batch { printer.add(delivery) }
            // Nobody reads stdout any more (`| head`): what was not printed goes back.
            guard printer.flush() else { return }
            guard let every = options.ackEvery else { continue }
            for delivery in batch {
                count += 1
                rest = count < every ? delivery : nil
                guard count == every else { continue }
                count = 0
                try await delivery.ack(multiple: every > 1)
            }
        }
    }

    static func get(_ options: AMQPGetOptions) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { command in
            await AMQPEnd.exitCode("get", command) {
                var count = 0
                try await options.connection.withChannel(reconnects: false) { _, channel in
                    var printer = AMQPPrinter(options.print)
                    var last: AMQPDelivery?
                    while count < options.count, let gotten = try await channel.get(options.queue) {
                        count += 1
                        printer.add(gotten.delivery)
                        last = gotten.delivery
                        if options.requeues { continue }
                        guard printer.flush() else { return }
                        try await gotten.delivery.ack()
                    }
                    // Together, behind the last: what goes back earlier would be found again.
                    if options.requeues { try await last?.nack(multiple: true) }
                    _ = printer.flush()
                }
                return count > 0 ? ExitCode.ok : AMQPEnd.say("get", "queue \"\(options.queue)\" is empty", ExitCode.failed)
            }
        }
    }
}

/// Collects what is to be printed, for one write.
struct AMQPPrinter {
    private let options: AMQPPrintOptions
    private var output: [UInt8] = []

    init(_ options: AMQPPrintOptions) { self.options = options }

    mutating func add(_ delivery: AMQPDelivery) {
        switch options.style {
        case .body: output += delivery.body
        case .keyAndBody:
            output += delivery.routingKey.utf8
            output += " ".utf8
            output += delivery.body
        case .json: JSONValue(delivery).append(to: &output)
        }
        if options.endsLines { output.append(UInt8(ascii: "\n")) }
    }

    /// Answers false when nobody reads any more.
    mutating func flush() -> Bool {
        defer { output.removeAll(keepingCapacity: true) }
        return output.isEmpty || StandardStream.output.write(output.span)
    }
}

extension JSONValue {
    /// A body that is not UTF-8 stands in `body_base64` instead of `body`.
    init(_ delivery: AMQPDelivery) {
        let body = delivery.body
        var members: [(String, JSONValue)] = [
            ("exchange", .text(delivery.exchange)), ("routing_key", .text(delivery.routingKey)), ("redelivered", .flag(delivery.isRedelivered)),
            ("properties", .init(delivery.properties)),
        ]
        if let text = String(validating: body, as: UTF8.self) {
            members.append(("body", .text(text)))
        } else {
            members.append(("body_base64", .text(Base64.text(body))))
        }
        self = .object(members)
    }

    private init(_ properties: AMQPMessageProperties) {
        var members: [(String, JSONValue)] = []
        func add(_ name: String, _ text: String?) { if let text { members.append((name, .text(text))) } }
        if properties.isPersistent { members.append(("persistent", .flag(true))) }
        add("content_type", properties.contentType)
        add("content_encoding", properties.contentEncoding)
        if let headers = properties.headers { members.append(("headers", .init(headers))) }
        if let priority = properties.priority { members.append(("priority", .number("\(priority)"))) }
        add("correlation_id", properties.correlationID)
        add("reply_to", properties.replyTo)
        add("expiration", properties.expiration)
        add("message_id", properties.messageID)
        if let timestamp = properties.timestamp { members.append(("timestamp", .number("\(timestamp)"))) }
        add("type", properties.type)
        add("user_id", properties.userID)
        add("app_id", properties.appID)
        self = .object(members)
    }
}
