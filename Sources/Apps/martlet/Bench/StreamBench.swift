import MartletEventLoop
import MartletLogging
import MartletNet
import MartletTLS

/// A bench over connections, from options to the report: `martlet bench tcp|http`. Not here: what is said on a connection.
enum StreamBench {
    /// A connection that was just made, on its loop.
    struct Opened {
        let loop: EventLoop
        let tenant: EchoBenchLoop
        let transport: Transport
        /// The same again; whom TLS talks to.
        let peer: Place
        let context: TLSContext?
    }
    /// Puts a connection on its loop, and answers who uses it.
    typealias Making = @Sendable (Opened, _ index: Int) -> any EchoBenchClient

    static func run(_ options: EchoBenchOptions, _ make: @escaping Making) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            let bench = EchoBench(options)
            do throws(CommandFailure) {
                let (counts, seconds) = try await bench.run { () async throws(CommandFailure) in try await connect(bench, make) }
                let report = EchoBenchReport(options, counts, seconds: seconds)
                StandardStream.output.write(options.isJSON ? report.json : report.table)
                return report.errors == 0 ? ExitCode.ok : ExitCode.failed
            } catch {
                StandardStream.error.write("martlet: bench \(options.transport): \(error.sentence)\n")
                return error.code
            }
        }
    }

    /// Makes the connections of a bench that sends nothing.
    static func open(_ bench: EchoBench, _ make: @escaping Making) async throws(CommandFailure) { try await connect(bench, make) }

    /// The first connection finds the address that answers; the others take it.
    private static func connect(_ bench: EchoBench, _ make: @escaping Making) async throws(CommandFailure) {
        let options = bench.options
        var context: TLSContext?
        do throws(TLSError) { context = try options.tls.map { (tls) throws(TLSError) in try TLSContext(client: tls) } } catch {
            throw CommandFailure(ExitCode.failed, "\(error)")
        }
        let found = Once<SocketAddress?>()
        open(0, at: options.place, bench, context, make) { found.resume(returning: $0) }
        guard let address = await found.wait() else { return try await bench.ready(1) }
        for index in 1..<max(1, options.connectionCount) { open(index, at: again(address, options), bench, context, make) { _ in } }
        try await bench.ready(options.connectionCount)
    }

    /// `finished` is told the address, or nil if there is no connection.
    private static func open(
        _ index: Int, at place: Place, _ bench: EchoBench, _ context: TLSContext?, _ make: @escaping Making,
        _ finished: @escaping @Sendable (SocketAddress?) -> Void
    ) {
        let options = bench.options
        bench.loops[index % bench.loops.count].execute { loop in
            Dialer(to: place, timeout: .seconds(10), on: loop) { result in
                guard let tenant = EchoBenchLoop.on(loop) else { return finished(nil) }
                switch result {
                case .success(let outcome):
                    let transport = Transport(descriptor: outcome.descriptor, layer: context?.makeLayer(serverName: options.place.host))
                    let opened = Opened(loop: loop, tenant: tenant, transport: transport, peer: again(outcome.peer, options), context: context)
                    tenant.add(make(opened, index))
                    finished(outcome.peer)
                case .failure(let error):
                    tenant.counts.failed("\(error)", isUnreachable: true)
                    finished(nil)
                }
            }
        }
    }

    /// The place of an address that was found.
    private static func again(_ address: SocketAddress, _ options: EchoBenchOptions) -> Place {
        if case .unix = options.place { return options.place }
        do throws(NetError) { return try Place("\(address)") } catch { return options.place }
    }
}
