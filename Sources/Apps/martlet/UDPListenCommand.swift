import MartletLogging
import MartletSockets

/// `martlet udp listen`: each datagram is a line of stdout.
enum UDPListenCommand {
    struct Options: Sendable {
        var place: Place
        var datagrams = DatagramOptions()
        var groups: [String]
        var interface: String?
        var source: String?
        var countMax: Int?
        var patience: Duration?
        var isJSON: Bool
        var isVerbose: Bool

        init(_ arguments: Arguments) throws(CommandFailure) {
            place = try Place(arguments, of: "udp listen", listens: true)
            groups = arguments.texts("--join")
            interface = arguments.text("--interface")
            source = arguments.text("--source")
            if groups.isEmpty, interface != nil || source != nil { throw .usage("udp listen: --interface and --source go with --join") }
            // Members bind to every address of the groups' family, and let others on this machine do the same.
            if let group = groups.first, case .internet(_, let port) = place, arguments.words.isEmpty, !arguments.has("--host") {
                place = .internet(host: group.contains(":") ? "::" : "0.0.0.0", port: port)
            }
            datagrams.reuseAddress = !groups.isEmpty
            datagrams.datagramMax = try arguments.integer("--max", in: 1...65_535) ?? 65_535
            countMax = try arguments.integer("-n", in: 1...(1 << 40))
            patience = try arguments.seconds("-W").map { .seconds($0) }
            isJSON = arguments.has("--json")
            isVerbose = arguments.has("-v")
        }
    }

    static let command = Command(
        path: ["udp", "listen"],
        summary: "print the datagrams that come, a line each",
        words: "HOST:PORT",
        options: Place.options + [
            .many("--join", value: "GROUP", about: "be a member of this multicast group"),
            .one("--interface", value: "NAME", about: "by this network interface (default: by the routes)"),
            .one("--source", value: "ADDRESS", about: "from this sender alone"),
            .one("-n", "--count", value: "N", about: "end after so many"),
            .one("-W", "--wait", value: "SECONDS", about: "fail when nothing came for so long"),
            .one("--max", value: "BYTES", about: "longer datagrams are cut, which is said on stderr (default: 65535)"),
            .flag("--json", about: "one JSON object for each: from, bytes, text"),
            .flag("-v", "--verbose", about: "begin the line with the sender"),
        ],
        examples: [
            ("martlet udp listen", "on the course's 127.0.0.1:65432"),
            ("martlet udp listen --join 239.1.2.3 --port 5000 -v", "a multicast group"),
            ("martlet udp listen 0.0.0.0:514 --json", "syslog, for a script"),
            ("martlet udp listen '[::]:9000' -n 1 -W 5", "one datagram, or failure after five seconds"),
        ],
        run: { arguments throws(CommandFailure) in run(try Options(arguments)) })

    private static func run(_ options: Options) -> Int32 {
        CommandTask.run(terminated: { _, task in task.cancel() }) { _ in
            await SocketEnd.exitCode("udp listen") {
                switch options.place {
                case .internet: try await UDP.withSocket(on: "\(options.place)", options: options.datagrams) { try await print($0, options) }
                case .unix(let path): try await UnixDatagram.withSocket(on: path, options: options.datagrams) { try await print($0, options) }
                }
            }
        }
    }

    private static func print(_ socket: UDPSocket, _ options: Options) async throws -> Int32 {
        for group in options.groups { try socket.join(group, interface: options.interface, source: options.source) }
        StandardStream.error.write("listening udp \(socket.local)\n")
        var left = options.countMax ?? .max
        while left > 0 {
            do throws(NetError) {
                let (datagram, from) = try await socket.receiveFrom(timeout: options.patience)
                guard StandardStream.output.write(line(datagram, from, options).span) else { break }
            } catch {
                if error.kind == .cancelled { break }
                if error.kind == .timedOut {
                    return SocketEnd.say("udp listen", "nothing came for \(TCPReport.seconds(options.patience ?? .zero)) s (-W)", ExitCode.failed)
                }
                guard error.kind == .truncated else { throw error }
                StandardStream.error.write("martlet: udp listen: \(error)\n")
            }
            left -= 1
        }
        let dropped = await socket.counters.dropped
        if dropped > 0 { StandardStream.error.write("martlet: udp listen: the kernel dropped \(dropped) datagrams that came faster than they were printed\n") }
        return ExitCode.ok
    }

    private static func line(_ datagram: [UInt8], _ from: SocketAddress, _ options: Options) -> [UInt8] {
        if options.isJSON {
            var output: [UInt8] = []
            JSONValue.object([("from", .text("\(from)")), ("bytes", .number("\(datagram.count)")), ("text", .bytes(datagram))]).append(to: &output)
            return output + [UInt8(ascii: "\n")]
        }
        return UDPArguments.line(options.isVerbose ? Array("\(from) ".utf8) + datagram : datagram)
    }
}
