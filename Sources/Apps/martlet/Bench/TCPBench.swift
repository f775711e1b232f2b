import MartletEventLoop
import MartletLogging
import MartletNet
import MartletTLS

/// `martlet bench tcp`: its help, its connections, its report.
enum TCPBench {
    static let command = Command(
        path: ["bench", "tcp"],
        summary: "load a TCP echo server and measure it",
        words: "HOST:PORT",
        options: EchoBenchOptions.options("tcp"),
        examples: [
            ("martlet bench tcp 127.0.0.1:65432", "one connection, one message at a time"),
            ("martlet bench tcp 127.0.0.1:65432 -c 50 --depth 32", "50 connections with 32 messages in flight on each"),
            ("martlet bench tcp 127.0.0.1:65432 -c 100 --rate 5000", "a fixed rate, with honest latencies"),
            ("martlet bench tcp localhost:8443 -c 50 --tls --cafile ca.pem", "the same through TLS"),
            ("martlet bench tcp 127.0.0.1:65432 -c 10 --count 100000 --json", "for a script"),
        ],
        footnote: { EchoBenchOptions.footnote },
        run: { arguments throws(CommandFailure) in run(try EchoBenchOptions(arguments, transport: "tcp")) })

    private static func run(_ options: EchoBenchOptions) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            let bench = EchoBench(options)
            do throws(CommandFailure) {
                let (counts, seconds) = try await bench.run { () async throws(CommandFailure) in try await connect(bench) }
                let report = EchoBenchReport(options, counts, seconds: seconds)
                StandardStream.output.write(options.isJSON ? report.json : report.table)
                return report.errors == 0 ? ExitCode.ok : ExitCode.failed
            } catch {
                StandardStream.error.write("martlet: bench tcp: \(error.sentence)\n")
                return error.code
            }
        }
    }

    /// The first connection finds the address that answers; the others take it.
    private static func connect(_ bench: EchoBench) async throws(CommandFailure) {
        let options = bench.options
        var context: TLSContext?
        do throws(TLSError) { context = try options.tls.map { (tls) throws(TLSError) in try TLSContext(client: tls) } } catch {
            throw CommandFailure(ExitCode.failed, "\(error)")
        }
        let found = Once<SocketAddress?>()
        open(0, at: options.place, bench, context) { found.resume(returning: $0) }
        guard let address = await found.wait() else { return try await bench.ready(1) }
        for index in 1..<max(1, options.connectionCount) { open(index, at: Place(address), bench, context) { _ in } }
        try await bench.ready(options.connectionCount)
    }

    /// `finished` is told the address, or nil if there is no connection.
    private static func open(
        _ index: Int, at place: Place, _ bench: EchoBench, _ context: TLSContext?, _ finished: @escaping @Sendable (SocketAddress?) -> Void
    ) {
        let options = bench.options
        bench.loops[index % bench.loops.count].execute { loop in
            Dialer(to: place, timeout: .seconds(10), on: loop) { result in
                guard let tenant = EchoBenchLoop.on(loop) else { return finished(nil) }
                switch result {
                case .success(let outcome):
                    let connection = TCPBenchConnection(options, index: index)
                    tenant.add(connection)
                    loop.add(connection, Transport(descriptor: outcome.descriptor, layer: context?.makeLayer(serverName: options.place.host)))
                    if context == nil { tenant.counts.readyCount += 1 }
                    finished(outcome.peer)
                case .failure(let error):
                    tenant.counts.failed("\(error)", isUnreachable: true)
                    finished(nil)
                }
            }
        }
    }
}

extension Place {
    /// An address that was found.
    init(_ address: SocketAddress) {
        let text = "\(address)"
        self = (try? Place(text)) ?? .unix(text)
    }

}
