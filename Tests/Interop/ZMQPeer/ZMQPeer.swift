import Glibc
import MartletNet
import MartletZMQ

/// One socket of ours beside libzmq's: what comes goes to stdout, a message a line, and what happens to stderr.
///
///     interop-zmq TYPE bind=URL|connect=URL [key=value]...
///
/// PUSH and PUB send `count` numbers, each with a frame of as many bytes as `fill` says (PUB once somebody subscribes), and end. PULL and SUB print until
/// `count` messages have come, or one that says "end". REQ asks `count` numbers; REP, PAIR and DEALER send back what comes. SERVER, CLIENT, RADIO, DISH and
/// STREAM: `MoreRoles`. Keys: plain-server (USER:PASSWORD
/// that is let in), plain-client (USER:PASSWORD), curve-server (our secret key), allow (a public key that is let in), curve-client (our secret key) with
/// server (its public one), ask (NULL with an authenticator: yes or no), hwm, retry (milliseconds between connections), quiet (print nothing but the last line),
/// every (milliseconds between two messages), trust (a PEM file of those whom we believe on wss), certificate and key (what we show there).
@main
struct ZMQPeer {
    let words: [String: String]
    private let count: Int

    static func main() async throws {
        ProcessSetup.prepare()
        let arguments = CommandLine.arguments.dropFirst()
        var words: [String: String] = [:]
        for word in arguments.dropFirst() {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            words[parts[0]] = parts.count > 1 ? parts[1] : ""
        }
        try await ZMQPeer(words: words, count: words["count"].flatMap { Int($0) } ?? .max).run(arguments.first ?? "")
    }

    private func run(_ type: String) async throws {
        switch type {
        case "push": try await open(.push) { try await sendNumbers($0) }
        case "pub":
            try await open(.pub) { socket in
                while socket.subscriptionCount == 0 { try await Task.sleep(for: .milliseconds(5)) }
                try await sendNumbers(socket)
            }
        case "pull": try await open(.pull) { try await printAll($0) }
        case "sub":
            try await open(.sub) { socket in
                socket.subscribe(to: words["topic"] ?? "")
                try await printAll(socket)
            }
        case "req": try await open(.req) { try await ask($0) }
        case "rep": try await open(.rep) { try await $0.serve { $0 } }
        case "pair": try await open(.pair) { try await echo($0) }
        case "dealer": try await open(.dealer) { try await echo($0) }
        default: try await runMore(type)
        }
    }

    // MARK: The socket

    func open<Pattern: ZMQPattern>(_ pattern: Pattern, _ body: (ZMQSocket<Pattern>) async throws -> Void) async throws {
        let socket = ZMQSocket(pattern, options: options)
        let events = socket.events
        let telling = Task { for await event in events { Self.say(2, "event \(event)") } }
        if let endpoint = words["bind"] { Self.say(2, "bound \(try await socket.bind(endpoint))") }
        if let endpoint = words["connect"] { try socket.connect(endpoint) }
        try await body(socket)
        await socket.close()
        await telling.value
        let counters = socket.counters
        Self.say(2, "counters sent=\(counters.sent) received=\(counters.received) unsent=\(counters.droppedUnsent) handshakes=\(counters.handshakes)")
    }

    private var options: ZMQSocketOptions {
        var options = ZMQSocketOptions()
        options.linger = .seconds(20)
        if let file = words["trust"] { options.tls.trust = .file(file) }
        if let file = words["certificate"], let key = words["key"] {
            options.serverTLS = TLSServerOptions(identity: TLSIdentity(certificate: file, key: key))
        }
        if let mark = words["hwm"].flatMap({ Int($0) }) { (options.sendHighWaterMark, options.receiveHighWaterMark) = (mark, mark) }
        if let wait = words["retry"].flatMap({ Int($0) }) {
            (options.reconnect.delayMin, options.reconnect.delayMax) = (.milliseconds(wait), .milliseconds(wait))
        }
        let names = (words["plain-server"] ?? words["plain-client"] ?? ":").split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if words["plain-server"] != nil {
            options.security = .plainServer
            options.authenticator = { $0.proof == .plain(user: names[0], password: names[1]) }
        } else if words["plain-client"] != nil {
            options.security = .plainClient(user: Array(names[0].utf8), password: Array(names[1].utf8))
        } else if let own = words["curve-server"].flatMap({ CurveSecretKey(z85: $0) }) {
            let allowed = words["allow"].flatMap { CurvePublicKey(z85: $0) }?.bytes
            options.security = .curveServer(CurveKeyPair(own))
            options.authenticator = { $0.proof == .curve(publicKey: allowed ?? []) }
        } else if let own = words["curve-client"].flatMap({ CurveSecretKey(z85: $0) }), let server = words["server"].flatMap({ CurvePublicKey(z85: $0) }) {
            options.security = .curveClient(CurveKeyPair(own), server: server)
        } else if let answer = words["ask"] {
            options.authenticator = { $0.proof == .none && answer == "yes" }
        }
        return options
    }

    // MARK: Roles

    private func sendNumbers<Pattern: ZMQSender>(_ socket: ZMQSocket<Pattern>) async throws {
        let fill = [UInt8](repeating: UInt8(ascii: "x"), count: words["fill"].flatMap { Int($0) } ?? 0)
        let pause = words["every"].flatMap { Int($0) }.map { Duration.milliseconds($0) }
        for number in 0..<count {
            try await socket.send(fill.isEmpty ? ZMQMessage("\(number)") : ZMQMessage(frames: [Array("\(number)".utf8), fill]))
            if let pause { try await Task.sleep(for: pause) }
        }
    }

    private func printAll<Pattern: ZMQReceiver>(_ socket: ZMQSocket<Pattern>) async throws {
        var left = count
        while left > 0 {
            let message = try await socket.receive()
            if message == "end" { break }
            if words["quiet"] == nil { Self.say(1, message.frames.map { String(decoding: $0, as: UTF8.self) }.joined(separator: "\t")) }
            left -= 1
        }
    }

    private func ask(_ socket: ZMQSocket<ZMQReq>) async throws {
        var number = 0, lost = 0
        while number < count {
            do throws(ZMQError) {
                let reply = try await socket.request(ZMQMessage("\(number)"))
                Self.say(1, reply.text)
                number += 1
            } catch {
                guard error == .peerLost else { throw error }
                lost += 1
            }
        }
        Self.say(2, "lost \(lost)")
    }

    private func echo<Pattern: ZMQSender & ZMQReceiver>(_ socket: ZMQSocket<Pattern>) async throws {
        for _ in 0..<count { try await socket.send(try await socket.receive()) }
    }

    static func say(_ descriptor: Int32, _ line: String) {
        let bytes = Array((line + "\n").utf8)
        var at = 0
        while at < bytes.count {
            let written = bytes[at...].withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard written > 0 else { exit(1) }
            at += written
        }
    }
}
