import CLinux
import MartletEventLoop
import MartletLogging
import MartletNet
import MartletTLS

/// A bench of messages: connects stage by stage, warms up, measures, waits for what is still on its way, and takes its leave.
/// Not here: what the connections say (`MQTTBench`, `AMQPBench`).
final class BenchRun: Sendable {
    /// Makes a connection, on its loop.
    typealias Opening = @Sendable (EventLoop) -> BenchConnection

    private let load: BenchLoad
    private let host: String
    private let port: UInt16
    private let loops: [EventLoop]
    /// Makes what a connection's bytes go through, TLS say.
    private let makeLayer: (@Sendable () -> StreamLayer)?
    /// So many connections open at a time: more at once measure a server's patience with those it has not come to.
    private static let openingMax = 200
    /// So long may connections wait for the server's next last words.
    private static let farewellTime: Int64 = 2_000_000_000

    init(
        _ load: BenchLoad, host: String, port: UInt16, layers: () throws(TLSError) -> (@Sendable () -> StreamLayer)?
    ) throws(CommandFailure) {
        self.load = load
        self.host = host
        self.port = port
        do throws(TLSError) { makeLayer = try layers() } catch { throw CommandFailure(ExitCode.failed, "\(error)") }
        loops = (0..<load.loopCount).map { number in
            var limits = EventLoopLimits()
            limits.connectionsMax = load.publisherCount + load.receiverCount + 16
            // A publisher stops where the socket does; the rest of its output would only be old.
            limits.outputHighWater = 256 << 10
            limits.outputLowWater = 64 << 10
            return EventLoop(number: number, limits: limits)
        }
    }

    /// TLS, or nothing.
    static func secured(by tls: TLSClientOptions?, for host: String) -> () throws(TLSError) -> (@Sendable () -> StreamLayer)? {
        { () throws(TLSError) in
            guard let tls else { return nil }
            let context = try TLSContext(client: tls)
            return { context.makeLayer(serverName: host) }
        }
    }

    /// A whole command: runs, and writes the report of what `text` says. Answers the exit code.
    static func command(
        _ name: String, _ load: BenchLoad, _ text: String, _ make: @escaping @Sendable () throws(CommandFailure) -> (BenchRun, [[Opening]])
    ) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            do throws(CommandFailure) {
                let (run, stages) = try make()
                let (counts, seconds) = try await run.run(stages)
                let report = BenchReport(load, text, counts, seconds: seconds)
                StandardStream.output.write(load.isJSON ? report.json : report.table)
                return report.errors == 0 ? ExitCode.ok : ExitCode.failed
            } catch {
                StandardStream.error.write("martlet: \(name): \(error.sentence)\n")
                return error.code
            }
        }
    }

    /// The connections of a stage are made when those before it are ready.
    private func run(_ stages: [[Opening]]) async throws(CommandFailure) -> (BenchCounts, seconds: Double) {
        let addresses: [SocketAddress]
        do throws(NetError) { addresses = try SocketAddress.resolve(host, port: port) } catch {
            throw CommandFailure(ExitCode.peerUnreachable, "\(error)")
        }
        guard let address = addresses.first else { throw CommandFailure(ExitCode.peerUnreachable, "\(host):\(port) has no address") }
        let threads = loops.map { [load] loop in loop.start { _ in BenchLoop(load) } }
        defer {
            onEachLoop { tenant, loop in tenant.close(on: loop) }
            for loop in loops { loop.stop(grace: .zero) }
            for thread in threads { thread.join() }
        }
        var result: (BenchCounts, seconds: Double)?
        var failure: CommandFailure?
        do throws(CommandFailure) {
            try await connect(stages, to: address)
            result = await measure()
        } catch { failure = error }
        await farewell()
        guard let result else { throw failure ?? CommandFailure(ExitCode.failed, "interrupted") }
        return result
    }

    private func onEachLoop(_ call: @escaping @Sendable (BenchLoop, EventLoop) -> Void) {
        for loop in loops { loop.execute { loop in if let tenant = BenchLoop.on(loop) { call(tenant, loop) } } }
    }

    private func ask<Answer: Sendable>(_ question: @escaping @Sendable (BenchLoop) -> Answer) async -> [Answer] {
        var answers: [Answer] = []
        for loop in loops {
            let answer = await withCheckedContinuation { continuation in
                loop.execute { loop in continuation.resume(returning: BenchLoop.on(loop).map(question)) }
            }
            if let answer { answers.append(answer) }
        }
        return answers
    }

    private func counts() async -> BenchCounts { await ask { $0.counts }.reduce(into: BenchCounts()) { $0.add($1) } }

    // MARK: Phases

    private func connect(_ stages: [[Opening]], to address: SocketAddress) async throws(CommandFailure) {
        var count = 0
        for stage in stages {
            for (index, opening) in stage.enumerated() {
                open(address, index, opening)
                count += 1
                if (index + 1).isMultiple(of: Self.openingMax) { try await ready(count, address) }
            }
            try await ready(count, address)
        }
    }

    private func open(_ address: SocketAddress, _ index: Int, _ make: @escaping Opening) {
        let makeLayer = makeLayer
        loops[index % loops.count].execute { loop in
            Connector(to: address, timeout: .seconds(10), on: loop) { result in
                guard let tenant = BenchLoop.on(loop) else { return }
                switch result {
                case .success(let descriptor):
                    tenant.add(make(loop), Transport(descriptor: descriptor, layer: makeLayer?()), on: loop)
                case .failure(let error): tenant.failed("\(error)", isUnreachable: true)
                }
            }
        }
    }

    private func ready(_ count: Int, _ address: SocketAddress) async throws(CommandFailure) {
        var last = (at: cl_monotonic_ns(), sum: 0)
        while true {
            let counts = await counts(), now = cl_monotonic_ns()
            if counts.readyCount + counts.stepCount != last.sum { last = (now, counts.readyCount + counts.stepCount) }
            if counts.errors > 0 {
                throw CommandFailure(counts.isUnreachable ? ExitCode.peerUnreachable : ExitCode.failed, counts.failure ?? "a connection failed")
            }
            if counts.readyCount >= count { return }
            guard !Task.isCancelled else { throw CommandFailure(ExitCode.failed, "interrupted") }
            guard now - last.at < 30_000_000_000 else {
                throw CommandFailure(
                    ExitCode.failed, "\(counts.readyCount) of \(count) connections to \(address) were ready, and no more for 30 s; does the server limit them?")
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    private func measure() async -> (BenchCounts, seconds: Double) {
        if load.messageCount != nil { onEachLoop { tenant, _ in tenant.startMeasuring() } }
        onEachLoop { tenant, loop in tenant.startSending(on: loop) }
        if load.warmUpSeconds > 0 { try? await Task.sleep(for: .seconds(load.warmUpSeconds)) }
        if load.messageCount == nil { onEachLoop { tenant, _ in tenant.startMeasuring() } }
        let begin = cl_monotonic_ns()
        let counts = if let wanted = load.messageCount { await untilCount(UInt64(wanted)) } else { await untilTime(begin) }
        let elapsed = Double(cl_monotonic_ns() - begin) / 1e9
        onEachLoop { tenant, _ in tenant.stopSending() }
        if load.messageCount == nil { try? await Task.sleep(for: .milliseconds(200)) }
        return (counts, elapsed)
    }

    private func untilTime(_ begin: Int64) async -> BenchCounts {
        let end = begin + Int64(load.seconds * 1e9)
        var progress = BenchProgress(isQuiet: load.isQuiet)
        while !Task.isCancelled {
            let now = cl_monotonic_ns()
            guard now < end else { break }
            try? await Task.sleep(for: .nanoseconds(min(end - now, 1_000_000_000)))
            let counts = await counts()
            progress.show(sent: counts.sent, received: counts.received, errors: counts.errors)
        }
        progress.end()
        return await counts()
    }

    /// Until all have arrived, or for two seconds nothing did.
    private func untilCount(_ wanted: UInt64) async -> BenchCounts {
        var progress = BenchProgress(isQuiet: load.isQuiet)
        var quiet = (at: cl_monotonic_ns(), sum: UInt64(0))
        while !Task.isCancelled {
            let counts = await counts()
            let arrived = load.receiverCount > 0 ? counts.received : load.isAnswered ? counts.acknowledged : counts.sent
            if counts.sent >= wanted, arrived >= wanted * UInt64(max(1, load.copies)) { break }
            let sum = counts.sent &+ counts.received &+ counts.acknowledged, now = cl_monotonic_ns()
            if sum != quiet.sum { quiet = (now, sum) } else if now - quiet.at > 2_000_000_000 { break }
            progress.show(sent: counts.sent, received: counts.received, errors: counts.errors)
            try? await Task.sleep(for: .milliseconds(2))
        }
        progress.end()
        return await counts()
    }

    private func farewell() async {
        onEachLoop { tenant, loop in tenant.farewell(on: loop) }
        var last = (at: cl_monotonic_ns(), open: 0, steps: 0)
        while cl_monotonic_ns() - last.at < Self.farewellTime {
            let answers = await ask { ($0.openCount, $0.counts.stepCount) }
            let open = answers.reduce(0) { $0 + $1.0 }, steps = answers.reduce(0) { $0 + $1.1 }
            if open == 0 { return }
            if open != last.open || steps != last.steps { last = (cl_monotonic_ns(), open, steps) }
            try? await Task.sleep(for: .milliseconds(2))
        }
    }
}
