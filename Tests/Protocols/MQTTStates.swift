import MartletBytes
import MartletMQTTProtocol

/// Machines in the states that tests begin with: `<role> <version> <phase>` and words that change one thing (see `Tests/Vectors/mqtt/README.md`).
let startOfTime = Instant(nanoseconds: 0)
let authMethod = Array("SCR".utf8)

func serverMachine(_ state: String, limits: MQTTLimits = MQTTLimits()) throws -> MQTTServerMachine {
    let peers = try Peers(state, limits: limits, keepAlive: 60)
    return peers.server
}

func clientMachine(_ state: String, limits: MQTTLimits = MQTTLimits(), keepAlive: UInt16 = 60) throws -> MQTTClientMachine {
    let peers = try Peers(state, limits: limits, keepAlive: keepAlive)
    return peers.client
}

func connack(method: [UInt8]? = nil) -> MQTTConnack {
    var connack = MQTTConnack()
    connack.authenticationMethod = method
    return connack
}

/// A client and a server that have come as far as a state says.
private struct Peers: ~Copyable {
    var client: MQTTClientMachine
    var server: MQTTServerMachine

    init(_ state: String, limits: MQTTLimits, keepAlive: UInt16) throws {
        let words = state.split(separator: " ").map(String.init)
        var limits = limits
        if words.contains("lenient") { limits.isStrict = false }
        client = MQTTClientMachine(limits: limits, now: startOfTime)
        server = MQTTServerMachine(limits: limits, now: startOfTime)
        if words[1] == "new" { return }
        var options = MQTTConnectOptions(version: MQTTVersion(name: words[1]), clientID: [97])
        options.sessionExpiry = words.contains("without") ? 0 : 100
        options.keepAlive = keepAlive
        let challenge = MQTTServerOutgoing.auth(MQTTAuth.Owned(reason: .continueAuthentication, method: authMethod))
        if words.contains("method") || words[2].hasSuffix("challenged") || words[2] == "re-authenticating" { options.authenticationMethod = authMethod }
        try say(.connect(options))
        if words[2] == "challenged" { try answer(challenge) }
        if words[2] == "challenged" || words[2] == "connecting" { return }
        try answer(.connack(connack(method: options.authenticationMethod)))
        if words[2] == "open" { return }
        try say(.auth(MQTTAuth.Owned(reason: .reAuthenticate, method: authMethod)))
        if words[2] == "re-challenged" { try answer(challenge) }
    }

    private mutating func say(_ message: MQTTClientOutgoing) throws {
        var output = ByteBuffer()
        try client.send(message, into: &output)
        let bytes = output.span.array
        var input = ByteReader(bytes.span)
        _ = try server.nextEvent(from: &input, into: &output)
    }

    private mutating func answer(_ message: MQTTServerOutgoing) throws {
        var output = ByteBuffer()
        try server.send(message, into: &output)
        let bytes = output.span.array
        var input = ByteReader(bytes.span)
        _ = try client.nextEvent(from: &input, into: &output)
    }
}

extension MQTTVersion {
    var label: String { ["v3.1", "v3.1.1", "v5"][Int(rawValue) - 3] }

    init(name: String) { self = name == "v5" ? .v5 : name == "v3.1.1" ? .v3_1_1 : .v3_1 }
}

/// What a machine makes of `bytes` shown in `pieces`, the last one first met violation included.
struct Observed<Owned: Equatable & Sendable>: Equatable {
    var events: [Owned] = []
    var output: [UInt8] = []
    var violation: MQTTViolation?
}

func observe<Machine: ProtocolMachine & ~Copyable>(
    _ machine: consuming Machine, _ bytes: [UInt8], pieces size: Int
) -> Observed<Machine.Event.Owned> where Machine.Violation == MQTTViolation {
    var observed = Observed<Machine.Event.Owned>()
    var unread = UnreadBytes()
    var output = ByteBuffer()
    do {
        for at in stride(from: 0, to: bytes.count, by: max(1, size)) {
            let new = bytes.span.extracting(at..<min(at + max(1, size), bytes.count))
            var used = 0
            do {
                let all = unread.show(new)
                var input = ByteReader(all)
                while let event = try machine.nextEvent(from: &input, into: &output) { observed.events.append(event.owned(in: all)) }
                used = input.offset
            }
            unread.keep(new, used: used)
        }
    } catch { observed.violation = error }
    observed.output = output.span.array
    return observed
}
