import MartletBytes
import MartletMQTTProtocol

/// Machines in the states that tests begin with.
let startOfTime = Instant(nanoseconds: 0)

func serverMachine(_ state: String, limits: MQTTLimits = MQTTLimits()) throws -> MQTTServerMachine {
    var machine = MQTTServerMachine(limits: limits, now: startOfTime)
    if state == "server new" { return machine }
    let isV5 = state.hasPrefix("server v5")
    var options = MQTTConnectOptions(version: isV5 ? .v5 : .v3_1_1, clientID: [97])
    options.sessionExpiry = state.hasSuffix("without expiry") ? 0 : 100
    var client = MQTTClientMachine(limits: limits, now: startOfTime)
    var output = ByteBuffer()
    try client.send(.connect(options), into: &output)
    let hello = output.span.array
    var input = ByteReader(hello.span)
    output.removeAll()
    _ = try machine.nextEvent(from: &input, into: &output)
    if !state.hasSuffix("connecting") { try machine.send(.connack(MQTTConnack()), into: &output) }
    return machine
}

func clientMachine(_ state: String, limits: MQTTLimits = MQTTLimits(), keepAlive: UInt16 = 60) throws -> MQTTClientMachine {
    var machine = MQTTClientMachine(limits: limits, now: startOfTime)
    if state == "client new" { return machine }
    let isV5 = state.hasPrefix("client v5")
    var options = MQTTConnectOptions(version: isV5 ? .v5 : .v3_1_1, clientID: [97])
    options.sessionExpiry = 100
    options.keepAlive = keepAlive
    var output = ByteBuffer()
    try machine.send(.connect(options), into: &output)
    if state.hasSuffix("connecting") { return machine }
    let connack: [UInt8] = isV5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0]
    var input = ByteReader(connack.span)
    _ = try machine.nextEvent(from: &input, into: &output)
    return machine
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
