import MartletLogging
import MartletMQTT
import MartletMQTTProtocol

/// `martlet mqtt pub`. The exit code; the sentence about a failure is already on stderr.
func runPublish(_ options: MQTTPublishOptions) -> Int32 {
    let stop = InputStop()
    // At the first signal, stdin is taken to be at its end: what was read is still published.
    return CommandTask.run(terminated: { count, task in
        stop.signal()
        if count > 1 || options.source != .lines { task.cancel() }
    }) { command in
        await MQTTEnd.exitCode("pub", command) {
            let payload = try options.source.payload(until: stop)
            try await options.connection.withClient(reconnects: false) { client in
                if let payload {
                    try await client.publish(
                        payload, to: options.topic, qos: options.qos, retain: options.retain, properties: options.connection.properties.publish)
                } else {
                    try await publishLines(client, options, until: stop)
                }
            }
            return ExitCode.ok
        }
    }
}

/// Waits for lines and for the end of the connection, whichever comes first.
private func publishLines(_ client: MQTTClient, _ options: MQTTPublishOptions, until stop: InputStop) async throws {
    let watch = Task {
        let end = await client.untilLost()
        stop.signal()
        return end
    }
    defer { watch.cancel() }
    try await client.pipelined { pipeline in
        try await MessageSource.lines(of: InputFile.standardInput(until: stop)) { line in
            try await pipeline.publish(line, to: options.topic, qos: options.qos, retain: options.retain, properties: options.connection.properties.publish)
        }
    }
    watch.cancel()
    let end = await watch.value
    if case .cancelled = end { return }
    throw end
}

/// `martlet mqtt sub`. The exit code; the sentence about a failure is already on stderr.
func runSubscribe(_ options: MQTTSubscribeOptions) -> Int32 {
    CommandTask.run(timeout: options.print.timeout, terminated: { _, task in task.cancel() }) { command in
        await MQTTEnd.exitCode("sub", command) {
            try await options.connection.withClient(reconnects: true) { client in
                if !options.unsubscribes.isEmpty { try await client.unsubscribe(from: options.unsubscribes) }
                guard !options.topicFilters.isEmpty else { return }
                try await client.subscribe(to: options.topicFilters, qos: options.qos, staysSubscribed: true) { messages in
                    if !options.endsWhenSubscribed { try await printMessages(messages, of: client, options) }
                }
            }
            return ExitCode.ok
        }
    }
}

private func printMessages(_ messages: MQTTMessages, of client: MQTTClient, _ options: MQTTSubscribeOptions) async throws {
    let without = options.without.map { MQTTFilter($0) }
    var left = options.messageCountMax ?? .max
    var iterator = messages.makeAsyncIterator()
    var printer = MQTTPrinter(options.print)
    // All that is there leaves in one write, before the next wait; at most 1,024 messages, so that the first are seen early.
    while left > 0, let batch = try await iterator.nextBatch(atMost: min(left, 1_024)) {
        var isAtEnd = false
        for message in batch where !without.contains(where: { $0.matches(topic: message.topic) }) {
            if options.removesRetained, message.retain { try await client.publish([], to: message.topic, qos: .atLeastOnce, retain: true) }
            if options.isRetainedOnly, !message.retain {
                isAtEnd = true
                break
            }
            if printer.add(message) { left -= 1 }
        }
        // Nobody reads stdout any more (`| head`).
        guard printer.flush(), !isAtEnd else { return }
    }
}

/// `martlet mqtt rr`. The exit code; the sentence about a failure is already on stderr.
func runRequest(_ options: MQTTRequestOptions) -> Int32 {
    let stop = InputStop()
    return CommandTask.run(
        timeout: options.print.timeout,
        terminated: { _, task in
            stop.signal()
            task.cancel()
        }
    ) { command in
        await MQTTEnd.exitCode("rr", command) {
            let request = try options.source.payload(until: stop) ?? []
            var properties = options.connection.properties.publish
            properties.responseTopic = options.responseTopic
            try await options.connection.withClient(reconnects: true) { client in
                try await client.subscribe(to: options.responseTopic, qos: options.qos) { [properties] messages in
                    try await client.publish(request, to: options.topic, qos: options.qos, properties: properties)
                    var printer = MQTTPrinter(options.print)
                    for try await message in messages where printer.add(message) { break }
                    _ = printer.flush()
                }
            }
            return ExitCode.ok
        }
    }
}

/// Collects what is to be printed, for one write.
struct MQTTPrinter {
    private let options: MQTTPrintOptions
    private var output: [UInt8] = []

    init(_ options: MQTTPrintOptions) { self.options = options }

    /// Answers whether the message counts.
    mutating func add(_ message: MQTTMessage) -> Bool {
        if options.skipsRetained, message.retain { return false }
        let complaint = options.format.append(message, at: LocalTime.now, showsSubscriptionIdentifier: options.showsSubscriptionIdentifier, to: &output)
        if let complaint { StandardStream.error.write(complaint + "\n") }
        return true
    }

    /// Answers false when nobody reads any more.
    mutating func flush() -> Bool {
        defer { output.removeAll(keepingCapacity: true) }
        return output.isEmpty || StandardStream.output.write(output.span)
    }
}

extension MQTTConnectionOptions {
    /// A connected client for the flags as typed. What becomes of its connection is said on stderr.
    func withClient<Result>(reconnects: Bool, _ body: (MQTTClient) async throws -> Result) async throws -> Result {
        try await MQTTClient.withConnection(host: host, port: port, clientID: clientID, options: clientOptions(reconnects: reconnects)) { client in
            let states = client.states
            let watch =
                isQuiet
                ? nil
                : Task {
                    for await state in states {
                        guard case .reconnecting(let attempt, let wait) = state else { continue }
                        let seconds = Double(wait.components.seconds) + Double(wait.components.attoseconds) / 1e18
                        let tenths = (seconds * 10).rounded() / 10
                        StandardStream.error.write("martlet: the connection to \(host):\(port) is lost; attempt \(attempt) to connect again in \(tenths) s\n")
                    }
                }
            defer { watch?.cancel() }
            return try await body(client)
        }
    }

    func clientOptions(reconnects: Bool) -> MQTTClientOptions {
        var options = MQTTClientOptions()
        options.version = version
        options.userName = username
        options.password = password
        options.keepAlive = .seconds(keepAliveSeconds)
        options.cleanStart = cleanSession
        let longest = Duration.seconds(Int64(UInt32.max))
        options.sessionExpiry = sessionExpiry ?? properties.sessionExpiry ?? (cleanSession ? .zero : longest)
        options.will = will
        options.tls = tls
        options.webSocketPath = webSocketPath
        options.userProperties = properties.connectUserProperties
        if let maximum = properties.receiveMaximum { options.receiveMaximum = maximum }
        if let maximum = properties.packetSizeMax { options.packetSizeMax = maximum }
        if let maximum = properties.topicAliasMax { options.topicAliasMax = maximum }
        if !reconnects { options.reconnect = .never }
        if isDebug { options.trace = { StandardStream.error.write("mqtt: \($0)\n") } }
        return options
    }
}

/// How a command ended: its exit code, and the sentence on stderr.
enum MQTTEnd {
    static func exitCode(_ name: String, _ command: CommandTask, _ body: () async throws -> Int32) async -> Int32 {
        do {
            return try await body()
        } catch MQTTClientError.cancelled where command.isTimeUp {
            return say(name, "the time of -W is up", ExitCode.failed)
        } catch MQTTClientError.cancelled where name == "sub" {
            return ExitCode.ok
        } catch MQTTClientError.cancelled {
            return say(name, "interrupted before the server had acknowledged everything", ExitCode.failed)
        } catch let error as MQTTClientError {
            let code = error.isNotAuthorized ? ExitCode.notPermitted : error.isUnreachable ? ExitCode.peerUnreachable : ExitCode.failed
            if case .misuse = error { return say(name, "\(error)", ExitCode.usage) }
            return say(name, "\(error)", code)
        } catch {
            return say(name, "\(error)", ExitCode.failed)
        }
    }

    private static func say(_ name: String, _ sentence: String, _ code: Int32) -> Int32 {
        StandardStream.error.write("martlet: mqtt \(name): \(sentence)\n")
        return code
    }
}
