import MartletLogging
import MartletMQTT
import MartletMQTTProtocol

/// `martlet mqtt pub`. The exit code; the sentence about a failure is already on stderr.
func runPublish(_ options: MQTTPublishOptions) -> Int32 {
    guard let qos = MQTTQoS(rawValue: UInt8(options.qos)) else { return withoutQoSTwo("pub") }
    let stop = InputStop()
    // At the first signal, stdin is taken to be at its end: what was read is still published.
    return CommandTask.run(terminated: { count, task in
        stop.signal()
        if count > 1 || options.source != .lines { task.cancel() }
    }) { command in
        await MQTTEnd.exitCode("pub", command) {
            let payload = try MQTTPublishSource.payload(of: options.source, until: stop)
            try await options.connection.withClient { client in
                if let payload {
                    try await client.publish(payload, to: options.topic, qos: qos)
                } else {
                    try await publishLines(client, to: options.topic, qos, until: stop)
                }
            }
            return ExitCode.ok
        }
    }
}

/// Waits for lines and for the end of the connection, whichever comes first.
private func publishLines(_ client: MQTTClient, to topic: String, _ qos: MQTTQoS, until stop: InputStop) async throws {
    let watch = Task {
        let end = await client.untilLost()
        stop.signal()
        return end
    }
    defer { watch.cancel() }
    try await client.pipelined { pipeline in
        try await MQTTPublishSource.lines(of: InputFile.standardInput(until: stop)) { line in
            try await pipeline.publish(line, to: topic, qos: qos)
        }
    }
    watch.cancel()
    let end = await watch.value
    if case .cancelled = end { return }
    throw end
}

/// `martlet mqtt sub`. The exit code; the sentence about a failure is already on stderr.
func runSubscribe(_ options: MQTTSubscribeOptions) -> Int32 {
    guard let qos = MQTTQoS(rawValue: UInt8(options.qos)) else { return withoutQoSTwo("sub") }
    return CommandTask.run(timeout: options.timeout, terminated: { _, task in task.cancel() }) { command in
        await MQTTEnd.exitCode("sub", command) {
            var left = options.messageCountMax ?? .max
            try await options.connection.withClient { client in
                try await client.subscribe(to: options.topicFilters, qos: qos, staysSubscribed: true) { messages in
                    var iterator = messages.makeAsyncIterator()
                    var lines: [UInt8] = []
                    // All that is there leaves in one write, before the next wait; at most 1,024 messages, so that the first are seen early.
                    while left > 0, let batch = try await iterator.nextBatch(atMost: min(left, 1_024)) {
                        lines.removeAll(keepingCapacity: true)
                        for message in batch {
                            if options.isVerbose { lines += message.topic.utf8; lines.append(UInt8(ascii: " ")) }
                            lines += message.payload
                            lines.append(UInt8(ascii: "\n"))
                        }
                        left -= batch.count
                        // Nobody reads stdout any more (`| head`).
                        guard StandardStream.output.write(lines.span) else { return }
                    }
                }
            }
            return ExitCode.ok
        }
    }
}

private func withoutQoSTwo(_ command: String) -> Int32 {
    StandardStream.error.write("martlet: mqtt \(command): -q 2: this build has QoS 0 and 1; use -q 1, which may deliver a message twice\n")
    return ExitCode.usage
}

/// Where the messages of `mqtt pub` come from.
enum MQTTPublishSource {
    /// The one message of a source; `nil` for lines.
    static func payload(of source: MQTTPublishOptions.Source, until stop: InputStop) throws(InputFailure) -> [UInt8]? {
        switch source {
        case .text(let text): Array(text.utf8)
        case .empty: []
        case .file(let path): try whole(try InputFile(path: path))
        case .standardInput: try whole(InputFile.standardInput(until: stop))
        case .lines: nil
        }
    }

    private static func whole(_ file: consuming InputFile) throws(InputFailure) -> [UInt8] {
        var all: [UInt8] = []
        while true {
            let chunk = try file.read(atMost: 1 << 16)
            if chunk.isEmpty { return all }
            all += chunk
        }
    }

    /// Calls `publish` with each line, without its end; the last one may lack it. An empty line is an empty message, as mosquitto_pub has it.
    static func lines(of file: consuming InputFile, _ publish: ([UInt8]) async throws -> Void) async throws {
        var cut: [UInt8] = []
        while true {
            let chunk = try file.read(atMost: 1 << 16)
            if chunk.isEmpty { break }
            var start = 0
            while let end = chunk[start...].firstIndex(of: UInt8(ascii: "\n")) {
                try await publish(cut.isEmpty ? Array(chunk[start..<end]) : cut + chunk[start..<end])
                cut.removeAll(keepingCapacity: true)
                start = end + 1
            }
            cut += chunk[start...]
        }
        if !cut.isEmpty { try await publish(cut) }
    }
}

extension MQTTConnectionOptions {
    /// A connected client for the flags as typed.
    func withClient<Result>(_ body: (MQTTClient) async throws -> Result) async throws -> Result {
        var options = MQTTClientOptions()
        options.version = version == .v5 ? .v5 : .v3_1_1
        options.userName = username
        options.password = password
        options.keepAlive = .seconds(keepAliveSeconds)
        options.cleanStart = cleanSession
        if !cleanSession { options.sessionExpiry = .seconds(Int(UInt32.max)) }
        if isDebug { options.trace = { StandardStream.error.write("mqtt: \($0)\n") } }
        return try await MQTTClient.withConnection(host: host, port: port, clientID: clientID, options: options, body)
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
