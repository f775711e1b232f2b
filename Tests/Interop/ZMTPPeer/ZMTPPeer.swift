import Glibc
import MartletBytes
import MartletCurve
import MartletZMTPProtocol

/// One ZMTP machine between stdin and stdout, for Tests/Interop/test_zmtp_machine.py: what the peer said goes to stderr, a line an event.
///
///     interop-zmtp MECHANISM TYPE [key=value]...
///
/// MECHANISM: null, ask (NULL with an authenticator), plain-client, plain-server, curve-client, curve-server. TYPE: a socket type, or any. Keys: user,
/// password, own and server (keys, Z85), seed (hexadecimal), identity, property (name:value), subscribe and cancel (a topic, each at ready), send (frames
/// with | between them, each at ready), echo (message back to who sent it), ping (a context), refuse (denied, temporary), heartbeat and timeout (milliseconds).
@main
final class ZMTPPeer {
    private var words: [(key: String, value: String)] = []
    private var message: [[UInt8]] = []

    static func main() {
        let arguments = Array(CommandLine.arguments.dropFirst())
        let peer = ZMTPPeer(arguments.dropFirst(2))
        exit(peer.run(arguments[0], arguments[1]))
    }

    private init(_ words: some Sequence<String>) {
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            self.words.append((parts[0], parts.count > 1 ? parts[1] : ""))
        }
    }

    private func all(_ key: String) -> [[UInt8]] { words.filter { $0.key == key }.map { Array($0.value.utf8) } }
    private func first(_ key: String) -> String? { words.first { $0.key == key }?.value }

    private var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    private func configuration(_ mechanism: String, _ type: String) -> ZMTPConfiguration {
        let own = first("own").flatMap { CurveSecretKey(z85: $0) }.map { CurveKeyPair($0) } ?? .generate()
        let server = first("server").flatMap { CurvePublicKey(z85: $0) } ?? own.publicKey
        let security: ZMTPSecurity =
            switch mechanism {
            case "plain-client": .plainClient(user: Array((first("user") ?? "").utf8), password: Array((first("password") ?? "").utf8))
            case "plain-server": .plainServer
            case "curve-client": .curveClient(own, server: server)
            case "curve-server": .curveServer(own)
            default: .null
            }
        var heartbeat = ZMTPHeartbeat()
        if let interval = first("heartbeat").flatMap({ Int($0) }) { heartbeat.interval = .milliseconds(interval) }
        if let timeout = first("timeout").flatMap({ Int($0) }) { heartbeat.timeout = .milliseconds(timeout) }
        return ZMTPConfiguration(
            ZMTPSocketType.allCases.first { "\($0.name)" == type }, security: security, identity: all("identity").first ?? [],
            properties: all("property").map { word in
                let parts = word.split(separator: UInt8(ascii: ":"), maxSplits: 1).map(Array.init)
                return (parts[0], parts[1])
            }, asksForNull: mechanism == "ask", heartbeat: heartbeat)
    }

    private func run(_ mechanism: String, _ type: String) -> CInt {
        let hex = first("seed") ?? ""
        let given = stride(from: 0, to: hex.count, by: 2).map { UInt8(hex.dropFirst($0).prefix(2), radix: 16) ?? 0 }
        let seed = CurveSeed(given.span)
        var machine = ZMTPMachine(configuration(mechanism, type), seed: seed ?? .random(), now: now)
        var unread = UnreadBytes(), output = ByteBuffer()
        var area = [UInt8](repeating: 0, count: 1 << 16)
        do {
            try machine.greet(into: &output)
            while true {
                write(&output)
                if machine.isClosed { return 0 }
                let deadline = machine.deadline
                var waiting = pollfd(fd: 0, events: Int16(POLLIN), revents: 0)
                let milliseconds = deadline == .never ? -1 : max(0, (deadline.nanoseconds - now.nanoseconds) / 1_000_000 + 1)
                if poll(&waiting, 1, CInt(milliseconds)) > 0 {
                    let count = read(0, &area, area.count)
                    if count <= 0 {
                        try machine.receiveEnd(at: now, into: &output)
                        return 0
                    }
                    try show(area.span.extracting(0..<count), &unread, &output, to: &machine)
                } else {
                    try machine.wake(at: now, into: &output)
                }
            }
        } catch {
            write(&output)
            say("violation \(error)")
            return 2
        }
    }

    private func show(_ new: Span<UInt8>, _ unread: inout UnreadBytes, _ output: inout ByteBuffer, to machine: inout ZMTPMachine) throws {
        machine.heard(at: now)
        var used = 0
        do {
            let bytes = unread.show(new)
            var input = ByteReader(bytes)
            while let event = try machine.nextEvent(from: &input, into: &output) {
                try take(event.owned(in: machine.content(in: bytes)), &machine, &output)
            }
            used = input.offset
        }
        unread.keep(new, used: used)
    }

    private func take(_ event: ZMTPEvent.Owned, _ machine: inout ZMTPMachine, _ output: inout ByteBuffer) throws {
        switch event {
        case .authenticate(let credentials):
            switch credentials {
            case .null: say("authenticate null")
            case .plain(let user, let password): say("authenticate plain \(text(user)) \(text(password))")
            case .curve(let key): say("authenticate curve \(CurvePublicKey(key.span)?.z85 ?? "")")
            }
            switch first("refuse") {
            case "denied": try machine.send(.refuse(.denied), into: &output)
            case "temporary": try machine.send(.refuse(.temporary), into: &output)
            default: try machine.send(.accept, into: &output)
            }
        case .ready(let metadata):
            say("ready \(machine.version) \(metadata.socketType.name) \(text(metadata.identity))")
            let bytes = metadata.properties
            var properties = ZMTPProperties(ByteRange(0, bytes.count))
            while let (name, value) = properties.next(in: bytes.span) { say("property \(bytes.span.at(name).text) \(bytes.span.at(value).text)") }
            for topic in all("subscribe") { try machine.send(.subscribe(topic), into: &output) }
            for topic in all("cancel") { try machine.send(.cancel(topic), into: &output) }
            for context in all("ping") { try machine.send(.ping(context: context), into: &output) }
            for frames in all("send") {
                try machine.send(.message(frames.split(separator: UInt8(ascii: "|"), omittingEmptySubsequences: false).map(Array.init)), into: &output)
            }
        case .frame(let body, let more):
            message.append(body)
            if more { return }
            say("message \(message.map { $0.count < 200 ? text($0) : "\($0.count) bytes" }.joined(separator: "|"))")
            if first("echo") != nil { try machine.send(.message(message), into: &output) }
            message = []
        case .refused(let reason): say("refused \(text(reason))")
        case .subscribe(let topic): say("subscribe \(text(topic))")
        case .cancel(let topic): say("cancel \(text(topic))")
        default: say("\(event)")
        }
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private func say(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = Glibc.write(2, bytes, bytes.count)
    }

    private func write(_ output: inout ByteBuffer) {
        while !output.isEmpty {
            let count = Glibc.write(1, output.readable, output.count)
            if count <= 0 { return output.removeAll() }
            output.consume(count)
        }
    }
}
