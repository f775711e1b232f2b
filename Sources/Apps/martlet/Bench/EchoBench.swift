import CLinux
import MartletEventLoop
import MartletLogging

/// A bench whose messages are each answered, as an echo or by HTTP: warms up, measures, waits for what is still on its way.
/// Not here: how connections are made (`StreamBench`, `UDPBench`).
final class EchoBench: Sendable {
    let options: EchoBenchOptions
    let loops: [EventLoop]
    /// So long without an answer, and what is on its way counts as lost.
    private static let patience: Int64 = 2_000_000_000

    init(_ options: EchoBenchOptions) {
        self.options = options
        loops = (0..<options.loopCount).map { number in
            var limits = EventLoopLimits()
            // One that is being made has a row for itself, for its attempt and for its time.
            limits.connectionsMax = 3 * options.connectionCount + 64
            // What is in flight is bounded by the depth. A connection that stopped reading because its output is full would wait for a
            // server that stopped reading because its own is.
            limits.outputHighWater = max(1 << 20, 2 * options.depth * options.size)
            limits.outputLowWater = limits.outputHighWater / 2
            return EventLoop(number: number, limits: limits)
        }
    }

    /// Starts the loops, has `connect` make the connections, measures, and ends all of it.
    func run(_ connect: () async throws(CommandFailure) -> Void) async throws(CommandFailure) -> (counts: EchoBenchCounts, seconds: Double) {
        try await hold(connect) { await measure() }
    }

    /// The same with something else to do while the connections are there.
    func hold<Result>(
        _ connect: () async throws(CommandFailure) -> Void, _ body: () async throws(CommandFailure) -> Result
    ) async throws(CommandFailure) -> Result {
        let threads = loops.map { [options] loop in loop.start { _ in EchoBenchLoop(options) } }
        defer {
            onEachLoop { tenant, loop in tenant.close(on: loop) }
            for loop in loops { loop.stop(grace: .zero) }
            for thread in threads { thread.join() }
        }
        try await connect()
        return try await body()
    }

    func onEachLoop(_ call: @escaping @Sendable (EchoBenchLoop, EventLoop) -> Void) {
        for loop in loops { loop.execute { loop in if let tenant = EchoBenchLoop.on(loop) { call(tenant, loop) } } }
    }

    /// Until `count` connections are ready, or one failed, or it took too long.
    func ready(_ count: Int) async throws(CommandFailure) {
        let latest = cl_monotonic_ns() + 30_000_000_000
        while true {
            let counts = await counts()
            if let failure = counts.failure { throw CommandFailure(counts.isUnreachable ? ExitCode.peerUnreachable : ExitCode.failed, failure) }
            if counts.readyCount >= count { return }
            guard cl_monotonic_ns() < latest, !Task.isCancelled else {
                let sentence = "\(counts.readyCount) of \(count) connections to \(options.place) were ready after 30 s; does the server limit them?"
                throw CommandFailure(ExitCode.failed, sentence)
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    private func measure() async -> (counts: EchoBenchCounts, seconds: Double) {
        // A count is measured from its first message on.
        if options.messageCount != nil { onEachLoop { tenant, _ in tenant.startMeasuring() } }
        onEachLoop { tenant, loop in tenant.startSending(on: loop) }
        if options.warmUpSeconds > 0 { try? await Task.sleep(for: .seconds(options.warmUpSeconds)) }
        if options.messageCount == nil { onEachLoop { tenant, _ in tenant.startMeasuring() } }
        let begin = cl_monotonic_ns()
        let end = options.messageCount == nil ? begin + Int64(options.seconds * 1e9) : .max
        var counts = await wait(until: end) { $0.sent >= UInt64(self.options.messageCount ?? .max) && $0.received >= $0.sent }
        let seconds = Double(cl_monotonic_ns() - begin) / 1e9
        onEachLoop { tenant, _ in tenant.stopSending() }
        let last = await drained()
        let missing = last.sentInAll - last.receivedInAll
        if options.messageCount != nil { counts = last }
        counts.lost = missing
        counts.errors = last.errors
        counts.failure = last.failure
        // A stream loses nothing: what is missing was never answered.
        if options.isReliable, missing > 0 { counts.failed("\(missing) messages were not answered within 2 s") }
        return (counts, seconds)
    }

    /// Until `end`, or all is there, or with a count nothing came for too long.
    private func wait(until end: Int64, isDone: (EchoBenchCounts) -> Bool) async -> EchoBenchCounts {
        var progress = BenchProgress(isQuiet: options.isQuiet)
        var quiet = (at: cl_monotonic_ns(), received: UInt64(0))
        var counts = await counts()
        while !Task.isCancelled, !isDone(counts) {
            let now = cl_monotonic_ns()
            if counts.received != quiet.received { quiet = (now, counts.received) }
            guard now < end, end != .max || now - quiet.at < Self.patience else { break }
            try? await Task.sleep(for: .nanoseconds(min(end - now, options.messageCount == nil ? 100_000_000 : 2_000_000)))
            counts = await self.counts()
            progress.show(sent: counts.sent, received: counts.received, errors: counts.errors)
        }
        progress.end()
        return counts
    }

    private func drained() async -> EchoBenchCounts {
        var counts = await counts()
        var quiet = (at: cl_monotonic_ns(), received: counts.receivedInAll)
        while counts.receivedInAll < counts.sentInAll, counts.errors == 0, !Task.isCancelled, cl_monotonic_ns() - quiet.at < Self.patience {
            try? await Task.sleep(for: .milliseconds(5))
            counts = await self.counts()
            if counts.receivedInAll != quiet.received { quiet = (cl_monotonic_ns(), counts.receivedInAll) }
        }
        return counts
    }

    private func counts() async -> EchoBenchCounts {
        var all = EchoBenchCounts()
        for loop in loops {
            all.add(
                await withCheckedContinuation { continuation in
                    loop.execute { loop in continuation.resume(returning: EchoBenchLoop.on(loop)?.counts ?? EchoBenchCounts()) }
                })
        }
        return all
    }
}
