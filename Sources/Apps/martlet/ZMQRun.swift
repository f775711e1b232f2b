import MartletLogging
import MartletZMQ

/// What `martlet zmq …` does. Answers the exit code; the sentence about a failure is on stderr by then.
enum ZMQRun {
    static func run(_ options: ZMQOptions) -> Int32 {
        let stop = InputStop()
        // At the first signal stdin is taken to be at its end, where it is all that the command does: what was read still leaves.
        let isSending = options.text == nil && ["push", "pub", "req", "radio"].contains(options.role)
        return CommandTask.run(terminated: { count, task in
            stop.signal()
            if count > 1 || !isSending { task.cancel() }
        }) { _ in
            do {
                return try await run(options, stop)
            } catch ZMQError.cancelled {
                return ExitCode.ok
            } catch {
                StandardStream.error.write("martlet: zmq \(options.role): \(error)\n")
                return code(of: error)
            }
        }
    }

    static func code(of error: any Error) -> Int32 {
        switch error as? ZMQError {
        case .timedOut, .peerLost: ExitCode.peerUnreachable
        case .endpointInvalid: ExitCode.usage
        case .bindFailed(let error) where error.kind == .permissionDenied: ExitCode.notPermitted
        default: ExitCode.failed
        }
    }

    private static func run(_ options: ZMQOptions, _ stop: InputStop) async throws -> Int32 {
        switch options.role {
        case "req": try await open(.req, options) { try await ask($0, options, stop) }
        case "rep": try await open(.rep, options) { try await answer($0, options, stop) }
        case "push": try await open(.push, options) { try await send($0, options, stop) }
        case "pull": try await open(.pull, options) { try await print($0, options) }
        case "pub":
            try await open(.pub, options) { socket in
                try await waitForSubscriber(options) { socket.subscriptionCount > 0 }
                try await send(socket, options, stop)
            }
        case "sub":
            try await open(.sub, options) {
                subscribe($0, options); try await print($0, options)
            }
        case "xpub": try await open(.xpub, options) { try await talk($0, options, stop) }
        case "xsub":
            try await open(.xsub, options) {
                subscribe($0, options); try await talk($0, options, stop)
            }
        case "pair": try await open(.pair, options) { try await talk($0, options, stop) }
        case "stream": try await open(.stream, options) { try await stream($0, options, stop) }
        case "client": try await open(.client, options) { try await client($0, options, stop) }
        case "server": try await open(.server, options) { try await server($0, options, stop) }
        case "radio": try await open(.radio, options) { try await radio($0, options, stop) }
        case "dish": try await open(.dish, options) { try await dish($0, options) }
        case "dealer": try await open(.dealer, options) { try await talk($0, options, stop) }
        default: try await open(.router, options) { try await talk($0, options, stop) }
        }
        return ExitCode.ok
    }

    private static func open<Pattern: ZMQPattern>(
        _ pattern: Pattern, _ options: ZMQOptions, _ body: @Sendable (ZMQSocket<Pattern>) async throws -> Void
    ) async throws {
        let socket = ZMQSocket(pattern, options: options.socket)
        let events = socket.events
        let telling = Task { await tellFailures(events, options.role) }
        defer { telling.cancel() }
        do {
            for url in options.bind {
                let endpoint = try await socket.bind(url)
                StandardStream.error.write("listening zmq \(endpoint)\n")
            }
            for url in options.connect { try socket.connect(url) }
            try await body(socket)
        } catch {
            // What was read is still to leave, but at a second signal.
            await close(socket)
            throw error
        }
        await close(socket)
    }

    /// A socket goes on trying, whatever happens: why nothing comes of it is said once, until something does.
    static func tellFailures(_ events: AsyncStream<ZMQEvent>, _ role: String) async {
        var told: Set<String> = []
        for await event in events {
            switch event {
            case .connectFailed(let endpoint, let reason, _):
                // Of a handshake that failed it was said.
                if !told.contains(reason), told.insert("\(endpoint)").inserted {
                    StandardStream.error.write("martlet: zmq \(role): \(endpoint): \(reason); trying again\n")
                }
            case .handshakeFailed(let peer, let reason):
                if told.insert(reason).inserted { StandardStream.error.write("martlet: zmq \(role): handshake with \(peer): \(reason)\n") }
            case .handshakeSucceeded: told = []
            default: break
            }
        }
    }

    static func close<Pattern: ZMQPattern>(_ socket: ZMQSocket<Pattern>) async {
        await withTaskCancellationHandler {
            await socket.close()
        } onCancel: {
            socket.abandon()
        }
    }

    // MARK: Roles

    private static func subscribe<Pattern: ZMQSubscriber>(_ socket: ZMQSocket<Pattern>, _ options: ZMQOptions) {
        for topic in options.topics.isEmpty ? [""] : options.topics { socket.subscribe(to: topic) }
    }

    static func waitForSubscriber(_ options: ZMQOptions, _ isThere: () -> Bool) async throws {
        let end = ContinuousClock.now + (options.patience ?? .seconds(1))
        while !isThere(), ContinuousClock.now < end {
            if Task.isCancelled { throw ZMQError.cancelled }
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// Calls `use` with each message to send: `-m`, so often as `-n` says, or a line each.
    private static func messages(_ options: ZMQOptions, _ stop: InputStop, _ use: (ZMQMessage) async throws -> Void) async throws {
        let isPublishing = options.role == "pub" || options.role == "xpub"
        let topics = isPublishing && !options.topics.isEmpty ? options.topics.map { Array($0.utf8) } : [nil]
        func useLine(_ line: [UInt8]) async throws {
            let frames = line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false).map { Array($0) }
            for topic in topics { try await use(ZMQMessage(frames: (topic.map { [$0] } ?? []) + frames)) }
        }
        if let text = options.text {
            let count = isPublishing || ["push", "req"].contains(options.role) ? options.countMax ?? 1 : 1
            for _ in 0..<count { try await useLine(Array(text.utf8)) }
        } else {
            try await MessageSource.lines(of: InputFile.standardInput(until: stop), useLine)
        }
    }

    private static func send<Pattern: ZMQSender>(_ socket: ZMQSocket<Pattern>, _ options: ZMQOptions, _ stop: InputStop) async throws {
        try await messages(options, stop) { try await socket.send($0) }
    }

    static func print<Pattern: ZMQReceiver>(_ socket: ZMQSocket<Pattern>, _ options: ZMQOptions) async throws {
        var left = options.countMax ?? .max
        var lines: [UInt8] = []
        while left > 0 {
            // All that is there leaves in one write, before the next wait.
            guard let message = socket.tryReceive() else {
                if !lines.isEmpty, !StandardStream.output.write(lines.span) { return }
                lines.removeAll(keepingCapacity: true)
                append(try await socket.receive(), to: &lines)
                left -= 1
                continue
            }
            append(message, to: &lines)
            left -= 1
            if lines.count > 1 << 16 {
                if !StandardStream.output.write(lines.span) { return }
                lines.removeAll(keepingCapacity: true)
            }
        }
        StandardStream.output.write(lines.span)
    }

    private static func append(_ message: ZMQMessage, to lines: inout [UInt8]) {
        for frame in 0..<message.count {
            if frame > 0 { lines.append(UInt8(ascii: "\t")) }
            lines += message[frame]
        }
        lines.append(UInt8(ascii: "\n"))
    }

    @discardableResult private static func print(_ message: ZMQMessage) -> Bool {
        var line: [UInt8] = []
        append(message, to: &line)
        return StandardStream.output.write(line.span)
    }

    private static func ask(_ socket: ZMQSocket<ZMQReq>, _ options: ZMQOptions, _ stop: InputStop) async throws {
        try await messages(options, stop) { print(try await socket.request($0, timeout: options.patience)) }
    }

    /// With `-m`, with a line of stdin for each, or with what was asked once there are no more lines.
    private static func answer(_ socket: ZMQSocket<ZMQRep>, _ options: ZMQOptions, _ stop: InputStop) async throws {
        var left = options.countMax ?? .max
        func answerOne(_ reply: ZMQMessage?) async throws -> Bool {
            let request = try await socket.nextRequest(), message = request.message
            guard print(message) else { return false }
            try await request.reply(reply ?? message)
            left -= 1
            return left > 0
        }
        if options.text == nil, !InputFile.isStandardInputTerminal {
            struct Enough: Error {}
            do {
                try await messages(options, stop) { line in if try await !answerOne(line) { throw Enough() } }
            } catch is Enough {
                return
            }
        }
        let fixed = options.text.map { ZMQMessage(texts: $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)) }
        while !Task.isCancelled, try await answerOne(fixed) {}
    }

    /// Both ways at once: stdin here, where it may block, and what comes on other threads. Ends after `-n` messages that came, or by a signal.
    private static func talk<Pattern: ZMQSender & ZMQReceiver>(_ socket: ZMQSocket<Pattern>, _ options: ZMQOptions, _ stop: InputStop) async throws {
        let printing = Task.detached {
            defer { stop.signal() }
            try await print(socket, options)
        }
        try await withTaskCancellationHandler {
            try await messages(options, stop) { try await socket.send($0) }
            try await printing.value
        } onCancel: {
            printing.cancel()
        }
    }
}
