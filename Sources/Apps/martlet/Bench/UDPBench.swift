import MartletEventLoop
import MartletLogging
import MartletNet

/// `martlet bench udp`: its help, its sockets, its report.
enum UDPBench {
    static let command = Command(
        path: ["bench", "udp"],
        summary: "load a UDP echo server and measure it",
        words: "HOST:PORT",
        options: EchoBenchOptions.options("udp"),
        examples: [
            ("martlet bench udp 127.0.0.1:65432", "one socket, one datagram at a time"),
            ("martlet bench udp 127.0.0.1:65432 -c 20 --depth 4", "20 sockets with four datagrams in flight on each"),
            ("martlet bench udp 127.0.0.1:65432 -c 10 --rate 5000 --size 1400", "a fixed rate, with honest latencies and losses"),
            ("martlet bench udp 127.0.0.1:65432 --duration 2 --json", "for a script"),
        ],
        footnote: { EchoBenchOptions.footnote + "What a socket heard nothing of for 200 ms counts as lost, and it goes on.\n" },
        run: { arguments throws(CommandFailure) in run(try EchoBenchOptions(arguments, transport: "udp")) })

    private static func run(_ options: EchoBenchOptions) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            let bench = EchoBench(options)
            do throws(CommandFailure) {
                let (counts, seconds) = try await bench.run { () async throws(CommandFailure) in try await connect(bench) }
                if counts.receivedInAll == 0 {
                    throw CommandFailure(ExitCode.peerUnreachable, counts.failure ?? "no answer from \(options.place); does a UDP echo server listen there?")
                }
                let report = EchoBenchReport(options, counts, seconds: seconds)
                StandardStream.output.write(options.isJSON ? report.json : report.table)
                return report.errors == 0 ? ExitCode.ok : ExitCode.failed
            } catch {
                StandardStream.error.write("martlet: bench udp: \(error.sentence)\n")
                return error.code
            }
        }
    }

    private static func connect(_ bench: EchoBench) async throws(CommandFailure) {
        let options = bench.options
        let address = try address(of: options.place)
        for index in 0..<options.connectionCount {
            bench.loops[index % bench.loops.count].execute { loop in
                guard let tenant = EchoBenchLoop.on(loop) else { return }
                do throws(NetError) {
                    let client = UDPBenchClient(try DatagramSocket(connectedTo: address), options, index: index)
                    tenant.add(client)
                    client.open(on: loop)
                    tenant.counts.readyCount += 1
                } catch { tenant.counts.failed("\(error)") }
            }
        }
        try await bench.ready(options.connectionCount)
    }

    private static func address(of place: Place) throws(CommandFailure) -> SocketAddress {
        do throws(NetError) {
            switch place {
            case .internet(let host, let port): if let first = try SocketAddress.resolve(host, port: port).first { return first }
            case .unix: if let address = try place.address(phase: .connect) { return address }
            }
        } catch { throw CommandFailure(ExitCode.peerUnreachable, "\(error)") }
        throw CommandFailure(ExitCode.peerUnreachable, "\(place) has no address")
    }
}
