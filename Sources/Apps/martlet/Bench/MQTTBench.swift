import CLinux
import MartletEventLoop
import MartletLogging
import MartletMQTT
import MartletNet
import MartletTLS

/// `martlet bench mqtt`: connects, subscribes, warms up, measures, waits for what is still on its way, reports.
func runMQTTBench(_ options: MQTTBenchOptions) -> Int32 {
    CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
        do throws(CommandFailure) {
            let bench = try MQTTBench(options)
            let report = try await bench.run()
            StandardStream.output.write(options.isJSON ? report.json : report.table)
            return report.errors == 0 ? ExitCode.ok : ExitCode.failed
        } catch {
            StandardStream.error.write("martlet: bench mqtt: \(error.sentence)\n")
            return error.code
        }
    }
}

final class MQTTBench: Sendable {
    private let options: MQTTBenchOptions
    private let loops: [EventLoop]
    /// `nil`: without TLS.
    private let security: TLSContext?

    init(_ options: MQTTBenchOptions) throws(CommandFailure) {
        self.options = options
        do throws(TLSError) { security = if let tls = options.tls { try TLSContext(client: tls) } else { nil } } catch {
            throw CommandFailure(ExitCode.failed, "\(error)")
        }
        loops = (0..<options.loopCount).map { number in
            var limits = EventLoopLimits()
            limits.connectionsMax = options.publisherCount + options.subscriberCount + 16
            // A publisher stops where the socket does; the rest of its output would only be old.
            limits.outputHighWater = 256 << 10
            limits.outputLowWater = 64 << 10
            return EventLoop(number: number, limits: limits)
        }
    }

    func run() async throws(CommandFailure) -> MQTTBenchReport {
        let place = "\(options.server.host):\(options.server.port)"
        let addresses: [SocketAddress]
        do throws(NetError) { addresses = try SocketAddress.resolve(options.server.host, port: options.server.port) } catch {
            throw CommandFailure(ExitCode.peerUnreachable, "\(error)")
        }
        guard let address = addresses.first else { throw CommandFailure(ExitCode.peerUnreachable, "\(place) has no address") }
        let threads = loops.map { [options] loop in loop.start { _ in MQTTBenchLoop(options) } }
        defer {
            for loop in loops {
                loop.execute { loop in MQTTBenchLoop.on(loop)?.close(on: loop) }
                loop.stop(grace: .zero)
            }
            for thread in threads { thread.join() }
        }
        try await connect(to: address)
        return await measure()
    }

    // MARK: Phases

    private func connect(to address: SocketAddress) async throws(CommandFailure) {
        let prefix = "bench-\(String(UInt32.random(in: 0...(.max)), radix: 36))"
        let topics = (0..<options.topicCount).map { "\(prefix)/\($0)" }
        func own(_ index: Int, of count: Int) -> [String] {
            topics.count <= count ? [topics[index % topics.count]] : stride(from: index, to: topics.count, by: count).map { topics[$0] }
        }
        for index in 0..<options.subscriberCount {
            let mine = own(index, of: options.subscriberCount)
            open(address, index) { [options] loop in MQTTBenchSubscriber(options, clientID: "\(prefix)-s\(index)", topics: mine, now: loop.now) }
        }
        try await ready(options.subscriberCount, address)
        for index in 0..<options.publisherCount {
            let mine = own(index, of: options.publisherCount)
            let count = options.messageCount.map { $0 / options.publisherCount + (index < $0 % options.publisherCount ? 1 : 0) }
            open(address, index) { [options] loop in
                MQTTBenchPublisher(options, clientID: "\(prefix)-p\(index)", topics: mine, count: count, now: loop.now)
            }
        }
        try await ready(options.subscriberCount + options.publisherCount, address)
    }

    private func open(_ address: SocketAddress, _ index: Int, _ make: @escaping @Sendable (EventLoop) -> MQTTBenchConnection) {
        let security = security, host = options.server.host
        loops[index % loops.count].execute { loop in
            Connector(to: address, timeout: .seconds(10), on: loop) { result in
                guard let tenant = MQTTBenchLoop.on(loop) else { return }
                switch result {
                case .success(let descriptor):
                    let channel = make(loop)
                    tenant.add(channel, Transport(descriptor: descriptor, layer: security?.makeLayer(serverName: host)), on: loop)
                    channel.connect(on: loop)
                case .failure(let error): tenant.failed("\(error)")
                }
            }
        }
    }

    private func ready(_ count: Int, _ address: SocketAddress) async throws(CommandFailure) {
        let latest = cl_monotonic_ns() + 30_000_000_000
        while true {
            let counts = await counts()
            if counts.errors > 0 {
                let isUnreachable = counts.readyCount == 0 && counts.failure?.contains("connect") == true
                throw CommandFailure(isUnreachable ? ExitCode.peerUnreachable : ExitCode.failed, counts.failure ?? "a connection failed")
            }
            if counts.readyCount >= count { return }
            guard cl_monotonic_ns() < latest, !Task.isCancelled else {
                throw CommandFailure(
                    ExitCode.failed, "\(counts.readyCount) of \(count) connections to \(address) were ready after 30 s; does the server limit them?")
            }
            try? await Task.sleep(for: .milliseconds(10))
        }
    }

    private func measure() async -> MQTTBenchReport {
        // A count is measured from its first message on.
        if options.messageCount != nil { for loop in loops { loop.execute { loop in MQTTBenchLoop.on(loop)?.isMeasuring = true } } }
        for loop in loops { loop.execute { loop in MQTTBenchLoop.on(loop)?.startSending(on: loop) } }
        if options.warmUpSeconds > 0 { try? await Task.sleep(for: .seconds(options.warmUpSeconds)) }
        if options.messageCount == nil { for loop in loops { loop.execute { loop in MQTTBenchLoop.on(loop)?.startMeasuring() } } }
        let begin = cl_monotonic_ns()
        let counts = options.messageCount == nil ? await untilTime(begin) : await untilCount()
        let elapsed = Double(cl_monotonic_ns() - begin) / 1e9
        for loop in loops { loop.execute { loop in MQTTBenchLoop.on(loop)?.isSending = false } }
        if options.messageCount == nil { try? await Task.sleep(for: .milliseconds(200)) }
        return MQTTBenchReport(options, counts, seconds: elapsed)
    }

    private func untilTime(_ begin: Int64) async -> MQTTBenchCounts {
        let end = begin + Int64(options.seconds * 1e9)
        var progress = BenchProgress(isQuiet: options.isQuiet)
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
    private func untilCount() async -> MQTTBenchCounts {
        let wanted = UInt64(options.messageCount ?? 0)
        let subscribersOfEach = UInt64(max(1, options.subscriberCount / max(1, options.topicCount)))
        var progress = BenchProgress(isQuiet: options.isQuiet)
        var quiet = (at: cl_monotonic_ns(), sum: UInt64(0))
        while !Task.isCancelled {
            let counts = await counts()
            let arrived = options.subscriberCount == 0 ? (options.qos == 0 ? counts.sent : counts.acknowledged) : counts.received
            let target = options.subscriberCount == 0 ? wanted : wanted * subscribersOfEach
            if counts.sent >= wanted, arrived >= target { break }
            let sum = counts.sent &+ counts.received &+ counts.acknowledged, now = cl_monotonic_ns()
            if sum != quiet.sum { quiet = (now, sum) } else if now - quiet.at > 2_000_000_000 { break }
            progress.show(sent: counts.sent, received: counts.received, errors: counts.errors)
            try? await Task.sleep(for: .milliseconds(2))
        }
        progress.end()
        return await counts()
    }

    private func counts() async -> MQTTBenchCounts {
        var all = MQTTBenchCounts()
        for loop in loops {
            all.add(
                await withCheckedContinuation { continuation in
                    loop.execute { loop in continuation.resume(returning: MQTTBenchLoop.on(loop)?.counts ?? MQTTBenchCounts()) }
                })
        }
        return all
    }
}
