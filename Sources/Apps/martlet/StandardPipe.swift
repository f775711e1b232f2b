import CLinux
import MartletEventLoop
import MartletLogging
import MartletSockets
import Synchronization

/// stdin to a connection, and the connection to stdout, each way on a thread of its own, so that either may block without holding up the other.
///
/// What was read from stdin is written before its end is passed on; what came from the peer is on stdout before the command ends.
final class StandardPipe: Sendable {
    struct Options: Equatable, Sendable {
        /// stdin's end is passed on to the peer, which can then still answer.
        var halfCloses = true
        /// The command ends when nothing came or went for so long.
        var idleMax: Duration?
    }
    enum End: Sendable { case sentAll, receivedAll, nobodyReads, idle }

    private let options: Options
    private let stop: InputStop
    private let input = StandardPipe.thread(), output = StandardPipe.thread()
    private let lastMove = Atomic<Int64>(cl_monotonic_ns())
    private let received = Atomic<Int>(0), sent = Atomic<Int>(0)

    /// `stop` ends the reading of stdin. Starts threads: not before `ProcessSetup.prepare`.
    init(_ options: Options, until stop: InputStop) {
        self.options = options
        self.stop = stop
    }

    var counts: (sent: Int, received: Int) { (sent.load(ordering: .relaxed), received.load(ordering: .relaxed)) }

    /// An event loop without connections: a thread that tasks may block.
    private static func thread() -> (loop: EventLoop, thread: LoopThread) {
        var limits = EventLoopLimits()
        limits.connectionsMax = 2
        let loop = EventLoop(limits: limits)
        return (loop, loop.start { _ in nil })
    }

    /// Until both ways are at their end. At a terminal, and where stdin is not asked, the peer's end is the end. Answers false if the time is up.
    func run(_ connection: TCPConnection, _ report: TCPReport?) async throws -> Bool {
        try await withThrowingTaskGroup(of: End.self) { group in
            group.addTask(executorPreference: input.loop) { [self] in try await send(to: connection, report) }
            group.addTask(executorPreference: output.loop) { [self] in try await receive(from: connection, report) }
            if let idleMax = options.idleMax { group.addTask { [self] in try await idle(for: idleMax) } }
            var hasSent = InputFile.isStandardInputTerminal, hasReceived = false
            defer {
                group.cancelAll()
                stop.signal()
            }
            while !(hasSent && hasReceived), let end = try await group.next() {
                switch end {
                case .sentAll: hasSent = true
                case .receivedAll: hasReceived = true
                case .nobodyReads: return true
                case .idle: return false
                }
            }
            return true
        }
    }

    private func send(to connection: TCPConnection, _ report: TCPReport?) async throws -> End {
        let file = InputFile.standardInput(until: stop)
        while !Task.isCancelled {
            let chunk = try file.read(atMost: 1 << 17)
            if chunk.isEmpty { break }
            try await connection.write(chunk)
            moved(sent, chunk.count)
        }
        report?.observe(connection)
        if options.halfCloses, !Task.isCancelled { try await connection.finishWriting() }
        return .sentAll
    }

    private func receive(from connection: TCPConnection, _ report: TCPReport?) async throws -> End {
        for try await chunk in connection.inbound {
            moved(received, chunk.count)
            report?.observe(connection)
            guard StandardStream.output.write(chunk.span) else { return .nobodyReads }
        }
        return .receivedAll
    }

    // MARK: Several connections

    var inputThread: EventLoop { input.loop }

    /// What one of several connections sends, to stdout: each chunk is one write. Answers how many bytes it was; nil when nobody reads any more.
    func receiveAll(from connection: TCPConnection) async throws -> Int? {
        var count = 0
        for try await chunk in connection.inbound {
            count += chunk.count
            guard await write(chunk) else { return nil }
        }
        return count
    }

    private func write(_ chunk: [UInt8]) async -> Bool {
        await withTaskExecutorPreference(output.loop) { StandardStream.output.write(chunk.span) }
    }

    /// stdin to all who are there; while nobody is, it waits. The slowest holds up the others. On `inputThread`.
    func send(to audience: Audience) async throws {
        let file = InputFile.standardInput(until: stop)
        while !Task.isCancelled {
            guard !audience.connections.isEmpty else {
                try await Task.sleep(for: .milliseconds(20))
                continue
            }
            let chunk = try file.read(atMost: 1 << 16)
            if chunk.isEmpty { return }
            while audience.connections.isEmpty { try await Task.sleep(for: .milliseconds(20)) }
            for connection in audience.connections { try? await connection.write(chunk) }
        }
    }

    private func moved(_ count: borrowing Atomic<Int>, _ bytes: Int) {
        count.wrappingAdd(bytes, ordering: .relaxed)
        lastMove.store(cl_monotonic_ns(), ordering: .relaxed)
    }

    private func idle(for longest: Duration) async throws -> End {
        lastMove.store(cl_monotonic_ns(), ordering: .relaxed)
        while true {
            let left = longest - .nanoseconds(cl_monotonic_ns() - lastMove.load(ordering: .relaxed))
            if left <= .zero { return .idle }
            try await Task.sleep(for: left)
        }
    }
}

/// The connections that stdin goes to.
final class Audience: Sendable {
    private let seats = Mutex<(next: UInt64, taken: [UInt64: TCPConnection])>((0, [:]))

    var connections: [TCPConnection] { seats.withLock { Array($0.taken.values) } }

    func add(_ connection: TCPConnection) -> UInt64 {
        seats.withLock { seats in
            seats.next += 1
            seats.taken[seats.next] = connection
            return seats.next
        }
    }

    func remove(_ seat: UInt64) { seats.withLock { _ = $0.taken.removeValue(forKey: seat) } }
}
