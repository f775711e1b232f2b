import MartletBytes
import MartletEventLoop
import MartletLogging
import MartletNet
import MartletSockets

/// `martlet udp echo`: each datagram goes back to its sender.
enum UDPEcho {
    enum Model: String, CaseIterable { case loop, async, blocking }

    static let command = Command(
        path: ["udp", "echo"],
        summary: "a UDP server that sends back what it gets",
        words: "[HOST:PORT]",
        options: Place.options + [
            .one("--model", value: "MODEL", about: "loop, async or blocking (default: loop)"),
            .flag("-v", "--verbose", about: "a line on stderr for each datagram"),
        ],
        examples: [
            ("martlet udp echo", "on the course's 127.0.0.1:65432"),
            ("martlet udp echo -v --port 9000", "and say who asks"),
            ("martlet udp echo --model blocking", "the course's loop of recvfrom and sendto"),
            ("martlet udp echo unix:@echo", "a Unix datagram socket with an abstract name"),
        ],
        footnote: {
            """
            models: loop is called for each datagram, up to 64 a system call, and what one turn of the loop answers leaves
            together; async is a task with `for try await` on the same loop; blocking waits in recvfrom, then in sendto.

            """
        },
        run: { arguments throws(CommandFailure) in
            let place = try Place(arguments, of: "udp echo", listens: true)
            let name = arguments.text("--model") ?? "loop"
            guard let model = Model(rawValue: name) else {
                throw .usage("--model \(name): the models are \(Model.allCases.map(\.rawValue).joined(separator: ", "))")
            }
            ProcessSetup.prepare()
            let socket = try UDPArguments.bind(place, DatagramOptions(), of: "udp echo")
            let isVerbose = arguments.has("-v")
            switch model {
            case .loop: return onLoop(socket, isVerbose)
            case .async: return inTask(socket, isVerbose)
            case .blocking: return blocking(socket, isVerbose)
            }
        })

    private static func listening(_ socket: DatagramSocket) { StandardStream.error.write("listening udp \(socket.local)\n") }

    private static func say(_ count: Int, _ sender: SocketAddress) { StandardStream.error.write("\(count) bytes from \(sender)\n") }

    /// Losses are worth a line.
    private static func report(_ counters: DatagramCounters) {
        let lost = [("dropped by the kernel", counters.dropped), ("cut", counters.truncated), ("not answered", counters.overflowed + counters.failed)]
        for (what, count) in lost where count > 0 {
            StandardStream.error.write("martlet: udp echo: \(count) of \(counters.received + counters.dropped) datagrams were \(what)\n")
        }
    }

    /// The channel of the model `loop`.
    private final class Echo: DatagramChannel {
        private let isVerbose: Bool
        init(_ socket: DatagramSocket, isVerbose: Bool) {
            self.isVerbose = isVerbose
            super.init(socket)
        }

        override func received(_ datagram: borrowing ArrivedDatagram, on loop: EventLoop) {
            if isVerbose { UDPEcho.say(datagram.count, datagram.sender) }
            reply(datagram.bytes, to: datagram, on: loop)
        }
    }

    private static func onLoop(_ socket: DatagramSocket, _ isVerbose: Bool) -> Int32 {
        let loop = EventLoop()
        let thread = loop.start { loop in
            Echo(socket, isVerbose: isVerbose).open(on: loop)
            return nil
        }
        ProcessSetup.onTermination { _ in
            loop.execute { loop in
                for echo in loop.channels(of: Echo.self) {
                    report(echo.counters)
                    echo.close(on: loop)
                }
            }
            loop.stop()
        }
        listening(socket)
        thread.join()
        return ExitCode.ok
    }

    private static func inTask(_ socket: DatagramSocket, _ isVerbose: Bool) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            await SocketEnd.exitCode("udp echo") {
                try await UDP.serve(socket, ready: { _ in listening(socket) }) { socket in
                    do {
                        for try await (datagram, from) in socket {
                            if isVerbose { say(datagram.count, from) }
                            try await socket.send(datagram, to: from)
                        }
                    } catch let error as NetError where error.kind == .cancelled { report(await socket.counters) }
                }
                return ExitCode.ok
            }
        }
    }

    private static func blocking(_ socket: DatagramSocket, _ isVerbose: Bool) -> Int32 {
        ProcessSetup.onTermination { _ in
            socket.close()
            ProcessSetup.exit(ExitCode.ok)
        }
        let server = BlockingDatagrams(socket)
        listening(socket)
        while true {
            do throws(NetError) {
                let (datagram, from) = try server.receive()
                if isVerbose { say(datagram.count, from) }
                try server.send(datagram, to: from)
            } catch { StandardStream.error.write("martlet: udp echo: \(error)\n") }
        }
    }
}
