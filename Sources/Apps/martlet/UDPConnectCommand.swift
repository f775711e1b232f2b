import MartletLogging
import MartletSockets
import Synchronization

/// `martlet udp connect`: a line of stdin is a datagram, an answer is a line of stdout.
enum UDPConnectCommand {
    struct Options: Sendable {
        var place: Place
        var datagrams: DatagramOptions
        var messages: [String]
        var replyCountMax: Int?
        var patience: Duration
        var isVerbose: Bool

        init(_ arguments: Arguments) throws(CommandFailure) {
            place = try Place(arguments, of: "udp connect")
            datagrams = try UDPArguments.options(arguments)
            datagrams.localAddress = arguments.text("--bind").map(Self.withPort)
            messages = arguments.texts("-m")
            replyCountMax = try arguments.integer("-n", in: 1...(1 << 40))
            patience = .seconds(try arguments.seconds("-W") ?? 1)
            isVerbose = arguments.has("-v")
        }

        /// Any port where none is said. A path or a name stays as it is.
        private static func withPort(_ text: String) -> String {
            let colonCount = text.count { $0 == ":" }
            if colonCount == 1 || text.hasPrefix("[") || text.hasPrefix("/") || text.hasPrefix("@") { return text }
            return colonCount == 0 ? "\(text):0" : "[\(text)]:0"
        }
    }

    static let command = Command(
        path: ["udp", "connect"],
        summary: "send datagrams from stdin, a line each, and print the answers",
        words: "HOST:PORT",
        options: Place.options + [
            .many("-m", "--message", value: "TEXT", about: "send this instead of stdin"),
            .one("-W", "--wait", value: "SECONDS", about: "end when after the last line nothing came for so long (default: 1)"),
            .one("-n", "--count", value: "N", about: "end after so many answers"),
            .one("--bind", value: "ADDRESS[:PORT]", about: "send from this address"),
            .flag("-v", "--verbose", about: "say on stderr who answers"),
        ] + UDPArguments.groupOptions,
        examples: [
            ("martlet udp connect localhost:65432", "type to the course's server"),
            ("martlet udp connect -m 'Hello, UDP!' -n 1", "one datagram, one answer"),
            ("seq 5 | martlet udp connect 192.0.2.7:9000 -W 0", "send and forget"),
            ("martlet udp connect 239.1.2.3:5000 -m who --interface eth0", "ask a multicast group; every member may answer"),
        ],
        footnote: {
            "Datagrams get lost without a sign: without any answer the exit code is 1, unless -W 0 says that none is awaited;\n"
                + "69 if the network says that nobody listens. An answer that ends with a newline gets no second one.\n"
        },
        run: { arguments throws(CommandFailure) in run(try Options(arguments)) })

    private static func run(_ options: Options) -> Int32 {
        let talk = UDPTalk(options)
        return CommandTask.run(terminated: { _, task in
            talk.stop.signal()
            task.cancel()
        }) { _ in
            await SocketEnd.exitCode("udp connect") {
                switch try await goal(options) {
                case .unix(let path)?: try await UnixDatagram.withSocket(to: path, options: options.datagrams) { try await talk.run($0, to: nil) }
                case .internet?: try await UDP.withSocket(to: "\(options.place)", options: options.datagrams) { try await talk.run($0, to: nil) }
                case nil:
                    // Whoever answers is not whom a datagram to many was sent to: a connected socket would not hear it.
                    let any = options.datagrams.localAddress ?? ("\(options.place)".hasPrefix("[") ? "[::]:0" : "0.0.0.0:0")
                    try await UDP.withSocket(on: any, options: options.datagrams) { try await talk.run($0, to: "\(options.place)") }
                }
                return talk.exitCode
            }
        }
    }

    /// nil: many may answer.
    private static func goal(_ options: Options) async throws(NetError) -> Place? {
        let isGroup = try options.place.address(phase: .connect)?.isMulticast ?? false
        return isGroup || options.datagrams.broadcast ? nil : options.place
    }
}

/// Both directions of `udp connect`.
final class UDPTalk: Sendable {
    private let options: UDPConnectCommand.Options
    let stop = InputStop()
    private let sent = Atomic<Int>(0), answered = Atomic<Int>(0)
    /// Nothing more will be sent.
    private let hasEnded = Atomic<Bool>(false)

    init(_ options: UDPConnectCommand.Options) { self.options = options }

    var exitCode: Int32 {
        guard answered.load(ordering: .relaxed) == 0, sent.load(ordering: .relaxed) > 0, options.patience > .zero else { return ExitCode.ok }
        let seconds = Double(options.patience / .milliseconds(1)) / 1_000
        return SocketEnd.say(
            "udp connect", "no answer from \(options.place) within \(seconds) s; UDP does not say whether anybody is there (-W waits longer)", ExitCode.failed)
    }

    func run(_ socket: UDPSocket, to place: String?) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            // Not on this task's thread, which waits for stdin.
            group.addTask(executorPreference: globalConcurrentExecutor) { [self] in
                defer { stop.signal() }
                try await receive(socket)
            }
            try await send(socket, to: place)
            hasEnded.store(true, ordering: .releasing)
            try await group.waitForAll()
        }
    }

    private func send(_ socket: UDPSocket, to place: String?) async throws {
        if !options.messages.isEmpty {
            for message in options.messages { try await send(Array(message.utf8), socket, place) }
            return
        }
        try await MessageSource.lines(of: InputFile.standardInput(until: stop)) { line in try await send(line, socket, place) }
    }

    private func send(_ bytes: [UInt8], _ socket: UDPSocket, _ place: String?) async throws {
        if let place { try await socket.send(bytes, to: place) } else { try await socket.send(bytes) }
        sent.wrappingAdd(1, ordering: .relaxed)
    }

    private func receive(_ socket: UDPSocket) async throws {
        var sentAll = hasEnded.load(ordering: .acquiring)
        while true {
            // A wait that began before the end of the input is not the one that counts.
            let wait = sentAll ? options.patience : min(options.patience, .milliseconds(100))
            do throws(NetError) {
                let (reply, from) = try await socket.receiveFrom(timeout: max(wait, .milliseconds(1)))
                if options.isVerbose { StandardStream.error.write("\(reply.count) bytes from \(from)\n") }
                guard StandardStream.output.write(UDPArguments.line(reply).span) else { return }
                if answered.wrappingAdd(1, ordering: .relaxed).newValue == options.replyCountMax { return }
            } catch {
                guard error.kind == .timedOut else { throw error }
                if sentAll { return }
                sentAll = hasEnded.load(ordering: .acquiring)
                if sentAll, options.patience == .zero { return }
            }
        }
    }
}
