import CLinux
import MartletLogging
import MartletZMQ
import Synchronization

/// `martlet bench zmq`: opens the sockets, warms up, measures, and closes them. Not here: what each socket does (`ZMQBenchFlow`).
final class ZMQBenchRun: Sendable {
    private let bench: ZMQBench
    private let tallies = Mutex<[ZMQBenchTally]>([])
    /// What ends a run early, and what its sentence is about.
    private let faults = ZMQBenchTally()
    /// So long without a peer, and there is none.
    private static let patience: Int64 = 10_000_000_000
    private static let quiet: Int64 = 2_000_000_000

    private init(_ bench: ZMQBench) { self.bench = bench }

    static func run(_ bench: ZMQBench) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            do {
                let (counts, seconds) = try await ZMQBenchRun(bench).run()
                let report = BenchReport(bench.load, bench.text, counts, seconds: seconds)
                StandardStream.output.write(bench.load.isJSON ? report.json : report.table)
                return report.errors == 0 ? ExitCode.ok : ExitCode.failed
            } catch let error as CommandFailure {
                StandardStream.error.write("martlet: bench zmq: \(error.sentence)\n")
                return error.code
            } catch {
                StandardStream.error.write("martlet: bench zmq: \(error)\n")
                return ZMQRun.code(of: error)
            }
        }
    }

    private func run() async throws -> (BenchCounts, seconds: Double) {
        switch bench.pattern {
        case .pushPull: try await run(senders: .push, receivers: .pull)
        case .pubSub: try await run(senders: .pub, receivers: .sub)
        case .reqRep: try await run(senders: .req, receivers: .rep)
        }
    }

    private func run<Sender: ZMQPattern, Receiver: ZMQPattern>(senders: Sender, receivers: Receiver) async throws -> (BenchCounts, seconds: Double) {
        let isBoth = bench.role == .both
        let senders = (0..<bench.load.publisherCount).map { _ in ZMQSocket(senders, options: bench.socket) }
        let receivers = (0..<(bench.role == .send ? 0 : bench.load.receiverCount)).map { _ in ZMQSocket(receivers, options: bench.socket) }
        for socket in receivers { (socket as? ZMQSocket<ZMQSub>)?.subscribe(to: "") }
        let watching = senders.map { watch($0.events) } + receivers.map { watch($0.events) }
        defer {
            for socket in senders { socket.abandon() }
            for socket in receivers { socket.abandon() }
        }
        if isBoth, bench.receiving == nil {
            // A publisher waits for its subscribers; else a server does, or a sink.
            if receivers.count == 1, bench.pattern != .pubSub || senders.count > 1 {
                try await join(receivers, senders)
            } else {
                try await join(senders, receivers)
            }
        } else {
            try await open(senders, at: bench.endpoint)
            try await open(receivers, at: bench.receiving ?? bench.endpoint)
        }
        return try await withThrowingTaskGroup(of: Void.self) { group in
            defer {
                group.cancelAll()
                faults.isOver.store(true, ordering: .relaxed)
                for task in watching { task.cancel() }
            }
            let gate = ZMQBenchGate()
            for (index, socket) in senders.enumerated() {
                group.addTask(executorPreference: globalConcurrentExecutor) { [self] in try await send(socket, index, gate) }
            }
            for socket in receivers { group.addTask(executorPreference: globalConcurrentExecutor) { [self] in try await receive(socket) } }
            if !senders.isEmpty { try await peers(of: senders) }
            if bench.receiving != nil { try await peers(of: receivers) }
            if bench.role == .receive { try await firstMessage() }
            return await measure(gate)
        }
    }

    // MARK: Sockets

    private func join<One: ZMQPattern, Other: ZMQPattern>(_ bound: [ZMQSocket<One>], _ others: [ZMQSocket<Other>]) async throws {
        let endpoint = try await bound[0].bind(bench.endpoint)
        for socket in others { try socket.connect("\(endpoint)") }
    }

    private func open<Pattern: ZMQPattern>(_ sockets: [ZMQSocket<Pattern>], at endpoint: String) async throws {
        for socket in sockets {
            guard bench.binds else {
                try socket.connect(endpoint)
                continue
            }
            let bound = try await socket.bind(endpoint)
            if !bench.load.isQuiet { StandardStream.error.write("listening zmq \(bound)\n") }
        }
    }

    private func watch(_ events: AsyncStream<ZMQEvent>) -> Task<Void, Never> {
        // Those who send to us may go when they have.
        let mayGo = bench.role == .receive
        return Task { [faults] in
            for await event in events where !faults.isOver.load(ordering: .relaxed) {
                switch event {
                case .handshakeFailed(_, let reason): faults.fail("a handshake failed: \(reason)")
                case .disconnected(_, let reason) where !mayGo: faults.fail("a connection was lost: \(reason)")
                case .connectFailed(_, let reason, _): faults.lastRefusal.withLock { $0 = reason }
                default: break
                }
            }
        }
    }

    /// Until each has a peer, publishers one that subscribes.
    private func peers<Pattern: ZMQPattern>(of sockets: [ZMQSocket<Pattern>]) async throws {
        let start = cl_monotonic_ns(), wanted = bench.role == .both && bench.receiving == nil ? bench.load.receiverCount : 1
        for socket in sockets {
            while (socket as? ZMQSocket<ZMQPub>).map({ $0.subscriptionCount < wanted }) ?? (socket.peerCount == 0) {
                try Task.checkCancellation()
                try stopIfFailed()
                guard cl_monotonic_ns() - start < Self.patience || bench.binds else {
                    let reason = faults.lastRefusal.withLock { $0 }
                    throw CommandFailure(ExitCode.peerUnreachable, "nobody to talk to at \(bench.endpoint) within 10 s\(reason.map { ": \($0)" } ?? "")")
                }
                try await Task.sleep(for: .milliseconds(5))
            }
        }
    }

    private func stopIfFailed() throws {
        let counts = faults.counts.withLock { $0 }
        if let failure = counts.failure { throw CommandFailure(ExitCode.failed, failure) }
    }

    private func firstMessage() async throws {
        while counts().received == 0 {
            try Task.checkCancellation()
            try stopIfFailed()
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    // MARK: Flows

    private func tally() -> ZMQBenchTally {
        let made = ZMQBenchTally()
        tallies.withLock { $0.append(made) }
        return made
    }

    private func send<Pattern: ZMQPattern>(_ socket: ZMQSocket<Pattern>, _ index: Int, _ gate: ZMQBenchGate) async throws {
        let flow = ZMQBenchFlow(bench.load, index: index, tally(), gate)
        if let push = socket as? ZMQSocket<ZMQPush> { try await flow.send(by: push) }
        if let pub = socket as? ZMQSocket<ZMQPub> { try await flow.send(by: pub) }
        if let req = socket as? ZMQSocket<ZMQReq> { try await flow.ask(by: req) }
    }

    private func receive<Pattern: ZMQPattern>(_ socket: ZMQSocket<Pattern>) async throws {
        if let pull = socket as? ZMQSocket<ZMQPull> { try await ZMQBenchFlow.receive(by: pull, tally()) }
        if let sub = socket as? ZMQSocket<ZMQSub> { try await ZMQBenchFlow.receive(by: sub, tally()) }
        if let rep = socket as? ZMQSocket<ZMQRep> { try await ZMQBenchFlow.answer(by: rep, bench.role == .receive ? tally() : nil) }
    }

    private func counts() -> BenchCounts {
        var sum = faults.counts.withLock { $0 }
        for tally in tallies.withLock({ $0 }) { sum.add(tally.counts.withLock { $0 }) }
        return sum
    }

    private func startMeasuring() {
        for tally in tallies.withLock({ $0 }) { tally.counts.withLock { $0 = BenchCounts() } }
    }

    private func measure(_ gate: ZMQBenchGate) async -> (BenchCounts, seconds: Double) {
        let load = bench.load
        gate.open()
        if load.warmUpSeconds > 0 {
            try? await Task.sleep(for: .seconds(load.warmUpSeconds))
            startMeasuring()
        }
        let begin = cl_monotonic_ns(), end = load.messageCount == nil ? begin + Int64(load.seconds * 1e9) : .max
        var progress = BenchProgress(isQuiet: load.isQuiet), last = (at: begin, sum: UInt64(0)), counts = counts()
        while !Task.isCancelled, cl_monotonic_ns() < end, !isDone(counts) {
            try? await Task.sleep(for: .nanoseconds(min(end - cl_monotonic_ns(), load.messageCount == nil ? 100_000_000 : 2_000_000)))
            counts = self.counts()
            progress.show(sent: counts.sent, received: counts.received, errors: counts.errors)
            let sum = counts.sent &+ counts.received, now = cl_monotonic_ns()
            if sum != last.sum { last = (now, sum) } else if load.messageCount != nil, now - last.at > Self.quiet { break }
        }
        progress.end()
        // What came to its end did so at the last message, not when that was noticed.
        return (self.counts(), Double((load.messageCount == nil ? cl_monotonic_ns() : last.at) - begin) / 1e9)
    }

    private func isDone(_ counts: BenchCounts) -> Bool {
        guard let wanted = bench.load.messageCount.map(UInt64.init) else { return false }
        if bench.load.publisherCount > 0, counts.sent < wanted { return false }
        return bench.load.receiverCount == 0 || counts.received >= wanted * UInt64(bench.role == .both ? bench.load.copies : 1)
    }
}

/// What one socket has counted.
final class ZMQBenchTally: Sendable {
    let counts = Mutex(BenchCounts())
    let lastRefusal = Mutex<String?>(nil)
    let isOver = Atomic(false)

    func fail(_ reason: String) { counts.withLock { $0.failed(reason) } }
}

/// Opens once all are ready.
final class ZMQBenchGate: Sendable {
    private let isOpen = Atomic(false)

    func open() { isOpen.store(true, ordering: .releasing) }

    /// Throws in a cancelled task.
    func wait() async throws { while !isOpen.load(ordering: .acquiring) { try await Task.sleep(for: .milliseconds(1)) } }
}
