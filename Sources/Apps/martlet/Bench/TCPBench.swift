import MartletEventLoop
import MartletLogging
import MartletNet

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

    private static func connect(_ bench: EchoBench) async throws(CommandFailure) {
        let options = bench.options
        let address = try address(of: options.place)
        for index in 0..<options.connectionCount {
            bench.loops[index % bench.loops.count].execute { loop in
                Connector(to: address, timeout: .seconds(10), on: loop) { result in
                    guard let tenant = EchoBenchLoop.on(loop) else { return }
                    switch result {
                    case .success(let descriptor):
                        let connection = TCPBenchConnection(options, index: index)
                        tenant.add(connection)
                        loop.add(connection, descriptor: descriptor)
                        tenant.counts.readyCount += 1
                    case .failure(let error): tenant.counts.failed("\(error)")
                    }
                }
            }
        }
        try await bench.ready(options.connectionCount)
    }

    private static func address(of place: SocketPlace) throws(CommandFailure) -> SocketAddress {
        do throws(NetError) {
            switch place {
            case .internet(let host, let port): if let first = try SocketAddress.resolve(host, port: port).first { return first }
            case .unix(let path): if let address = SocketAddress(unix: path.hasPrefix("@") ? "\0" + path.dropFirst() : path) { return address }
            }
        } catch { throw CommandFailure(ExitCode.peerUnreachable, "\(error)") }
        throw CommandFailure(ExitCode.peerUnreachable, "\(place) has no address")
    }
}
