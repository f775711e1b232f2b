import Glibc
import MartletBytes
import MartletEventLoop
import MartletLogging
import MartletWebSocket
import Synchronization

/// What `martlet ws connect` does with its connection: stdin on a thread of its own, and stdout as messages come.
final class WSTalk: Sendable {
    private enum End: Sendable { case inputEnded, received, nobodyReads, waited }

    private let options: WSConnectCommand.Options
    private let input: InputFeed
    private let screen: Screen

    init(_ options: WSConnectCommand.Options, until stop: InputStop) {
        self.options = options
        screen = Screen(isInteractive: options.messages.isEmpty && InputFile.isStandardInputTerminal && StandardStream.output.isTerminal && !options.isJSON)
        input = InputFeed(options, screen, until: stop)
    }

    /// Answers the exit code.
    func run() async throws(WebSocketError) -> Int32 {
        defer { screen.end() }
        guard options.reconnects else {
            do {
                return try await WebSocketConnection.withConnection(to: options.url, options: options.client) { try await talk($0).code }
            } catch let error as WebSocketError { throw error } catch { return SocketEnd.say("ws connect", "\(error)", ExitCode.failed) }
        }
        for try await connection in WebSocketConnection.reconnecting(to: options.url, options: options.client) {
            let end = try await talk(connection)
            if end.isOver { return end.code }
        }
        return ExitCode.ok
    }

    /// `isOver`: by this side, so that it is not to be begun again.
    private func talk(_ connection: WebSocketConnection) async throws(WebSocketError) -> (code: Int32, isOver: Bool) {
        if options.isVerbose {
            screen.say("connected \(connection.peer)" + (connection.subprotocol.map { ", subprotocol \($0)" } ?? ""))
        }
        let ended = await withTaskGroup(of: End.self) { group in
            group.addTask { [self] in await send(to: connection) }
            group.addTask { [self] in await receive(from: connection) }
            var last = End.inputEnded
            while let end = await group.next() {
                last = end
                guard end == .inputEnded, let wait = options.wait ?? patience else { break }
                group.addTask {
                    do { try await Task.sleep(for: wait) } catch {}
                    return .waited
                }
            }
            group.cancelAll()
            input.forget()
            return last
        }
        let close = connection.closed
        // The server's end is told; this side's is no news.
        if let close {
            if options.isJSON { screen.show(WSTalk.json(close)) }
            if options.isVerbose || !close.isNormal { screen.say("\(close)") }
        }
        let isOver = ended != .received || Task.isCancelled || input.isAtEnd
        return (close.map { $0.isNormal || $0.by == .here } ?? true ? ExitCode.ok : ExitCode.failed, isOver)
    }

    /// Without `-W`: what was asked for has to have time to come.
    private var patience: Duration? { options.count != nil || !options.messages.isEmpty ? .seconds(10) : nil }

    private func send(to connection: WebSocketConnection) async -> End {
        for text in options.messages {
            do throws(WebSocketError) { try await connection.send(message(Array(text.utf8))) } catch { return .received }
        }
        guard options.messages.isEmpty else { return .inputEnded }
        while let line = await input.next() {
            do throws(WebSocketError) { try await connection.send(message(line)) } catch { return .received }
        }
        return .inputEnded
    }

    private func message(_ line: [UInt8]) -> WebSocketMessage {
        guard !options.isBinary, let text = String(validating: line, as: UTF8.self) else { return .binary(line) }
        return .text(text)
    }

    private func receive(from connection: WebSocketConnection) async -> End {
        var left = options.count ?? .max
        do throws(WebSocketError) {
            for try await message in connection.messages {
                guard screen.show(options.isJSON ? Self.json(message) : Self.line(message)) else { return .nobodyReads }
                left -= 1
                if left == 0 { return .nobodyReads }
            }
        } catch {}
        return .received
    }

    private static func line(_ message: WebSocketMessage) -> String {
        switch message {
        case .text(let text): text
        case .binary(let bytes): String(validating: bytes, as: UTF8.self) ?? Base64.text(bytes)
        }
    }

    private static func json(_ message: WebSocketMessage) -> String {
        switch message {
        case .text(let text): json([("type", .text("text")), ("text", .text(text))])
        case .binary(let bytes): json([("type", .text("binary")), ("base64", .text(Base64.text(bytes)))])
        }
    }

    private static func json(_ close: WebSocketClose) -> String {
        json([("type", .text("close")), ("code", .number("\(close.code)")), ("reason", .text(close.reason)), ("clean", .flag(close.isClean))])
    }

    private static func json(_ members: [(String, JSONValue)]) -> String {
        var bytes: [UInt8] = []
        JSONValue.object(members).append(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// stdout: lines, and on a terminal the line that is being typed below them.
final class Screen: Sendable {
    private struct State: ~Copyable {
        var editor = LineEditor(prompt: "> ")
        var keys: TerminalKeys?
    }
    private let state = Mutex(State())
    let isInteractive: Bool

    init(isInteractive: Bool) {
        self.isInteractive = isInteractive
        if isInteractive { state.withLock { $0.keys = TerminalKeys() } }
    }

    /// A line; false when nobody reads any more.
    @discardableResult
    func show(_ line: String) -> Bool {
        state.withLock { state in
            guard isInteractive else { return StandardStream.output.write(line + "\n") }
            return StandardStream.output.write("\r\u{1B}[K" + Self.printable(line) + "\n" + state.editor.shown)
        }
    }

    /// What is no message, on stderr.
    func say(_ line: String) {
        state.withLock { state in
            StandardStream.error.write(isInteractive ? "\r\u{1B}[K\(line)\n" : "martlet: ws connect: \(line)\n")
            if isInteractive { StandardStream.output.write(state.editor.shown) }
        }
    }

    func press(_ keys: [UInt8]) -> [LineEditor.Outcome] {
        state.withLock { state in
            let outcomes = state.editor.press(keys)
            for case .line(let line) in outcomes { StandardStream.output.write("\r\u{1B}[K> \(line)\n") }
            StandardStream.output.write(state.editor.shown)
            return outcomes
        }
    }

    /// The terminal is as it was.
    func end() {
        state.withLock { state in
            guard isInteractive, state.keys.take() != nil else { return }
            StandardStream.output.write("\r\u{1B}[K")
        }
    }

    /// A message must not command the terminal.
    private static func printable(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { $0.value < 0x20 && $0 != "\n" && $0 != "\t" || (0x7F..<0xA0).contains($0.value) ? "\u{FFFD}" : $0 }))
    }
}

/// Lines of stdin, read ahead by a thread that may wait; a task takes them one by one.
final class InputFeed: Sendable {
    private struct State: ~Copyable {
        var lines: [[UInt8]] = []
        var waiter: Waiter<Void>?
        var hasEnded = false
        var hasStarted = false
    }
    private let state = Mutex(State())
    private let thread: (loop: EventLoop, thread: LoopThread)
    private let stop: InputStop
    private let screen: Screen
    private static let linesMax = 1024

    init(_ options: WSConnectCommand.Options, _ screen: Screen, until stop: InputStop) {
        self.stop = stop
        self.screen = screen
        var limits = EventLoopLimits()
        limits.connectionsMax = 2
        let loop = EventLoop(limits: limits)
        thread = (loop, loop.start { _ in nil })
    }

    var isAtEnd: Bool { state.withLock { $0.hasEnded && $0.lines.isEmpty } }

    /// Nil at the end, and when `forget` was called.
    func next() async -> [UInt8]? {
        let isFirst = state.withLock { state in
            defer { state.hasStarted = true }
            return !state.hasStarted
        }
        if isFirst { thread.loop.execute { [self] _ in read() } }
        while !Task.isCancelled {
            let (line, isOver) = state.withLock { ($0.lines.isEmpty ? nil : $0.lines.removeFirst(), $0.hasEnded) }
            if let line { return line }
            if isOver { return nil }
            await Waiter<Void>.wait { waiter in
                var waiter: Waiter<Void>? = consume waiter
                state.withLock { state in
                    if state.lines.isEmpty, !state.hasEnded, !Task.isCancelled { state.waiter = waiter.take() }
                }
                if let waiter = waiter.take() { waiter.resume(returning: ()) }
            }
        }
        return nil
    }

    /// Whoever waits for a line waits no longer.
    func forget() {
        let waiter = state.withLock { $0.waiter.take() }
        if let waiter { waiter.resume(returning: ()) }
    }

    private func put(_ lines: [[UInt8]], ended: Bool) {
        let waiter = state.withLock { state -> Waiter<Void>? in
            state.lines += lines
            if ended { state.hasEnded = true }
            return state.waiter.take()
        }
        if let waiter { waiter.resume(returning: ()) }
    }

    /// On its thread, until stdin ends.
    private func read() {
        let file = InputFile.standardInput(until: stop)
        var cut: [UInt8] = []
        while true {
            let chunk: [UInt8]
            do throws(InputFailure) { chunk = try file.read(atMost: 1 << 16) } catch { break }
            if chunk.isEmpty { break }
            if screen.isInteractive {
                let outcomes = screen.press(chunk)
                put(outcomes.compactMap { if case .line(let line) = $0 { Array(line.utf8) } else { nil } }, ended: outcomes.contains(.end))
                if outcomes.contains(.end) { return }
                continue
            }
            var lines: [[UInt8]] = [], start = 0
            while let end = chunk[start...].firstIndex(of: UInt8(ascii: "\n")) {
                lines.append(cut + chunk[start..<end])
                cut = []
                start = end + 1
            }
            cut += chunk[start...]
            put(lines, ended: false)
            // Who types faster than the server takes is held up: stdin is a pipe then.
            while state.withLock({ $0.lines.count }) > Self.linesMax, !state.withLock({ $0.hasEnded }) { usleep(5_000) }
        }
        put(cut.isEmpty ? [] : [cut], ended: true)
    }
}
