import MartletEventLoop

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
        StreamBench.run(options) { opened, index in
            let connection = TCPBenchConnection(options, index: index)
            opened.loop.add(connection, opened.transport)
            if options.tls == nil { opened.tenant.counts.readyCount += 1 }
            return connection
        }
    }
}
