import MartletBytes
import MartletMQTTProtocol

/// libFuzzer target: the client's machine. The first byte chooses the state and the size of the pieces, the others come from the server.
/// A run traps when the machine does, when pieces give another result than the whole, or when something follows a violation.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzClient(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let whole = run(state: start[0] & 3, bytes, pieces: bytes.count)
    precondition(whole == run(state: start[0] & 3, bytes, pieces: 1 + Int(start[0] >> 2)), "a split gives another result")
    return 0
}

private struct Result: Equatable {
    var events: [MQTTClientEvent.Owned] = []
    var output: [UInt8] = []
    var violation: MQTTViolation?
}

private func connect(_ version: MQTTVersion, _ machine: inout MQTTClientMachine) {
    var output = ByteBuffer()
    var options = MQTTConnectOptions(version: version, clientID: [97])
    options.topicAliasMax = 3
    try? machine.send(.connect(options), into: &output)
}

private func open(_ version: MQTTVersion, _ machine: inout MQTTClientMachine) {
    connect(version, &machine)
    var output = ByteBuffer()
    let connack: [UInt8] = version == .v5 ? [0x20, 3, 0, 0, 0] : [0x20, 2, 0, 0]
    var input = ByteReader(connack.span)
    _ = try? machine.nextEvent(from: &input, into: &output)
}

private func run(state: UInt8, _ bytes: [UInt8], pieces size: Int) -> Result {
    var limits = MQTTLimits()
    limits.packetSizeMax = 4096
    var machine = MQTTClientMachine(limits: limits, now: Instant(nanoseconds: 0))
    switch state {
    case 0: connect(.v5, &machine)
    case 1: open(.v3_1_1, &machine)
    case 2: open(.v5, &machine)
    default: connect(.v3_1_1, &machine)
    }
    var result = Result()
    var output = ByteBuffer()
    var unread = UnreadBytes()
    do throws(MQTTViolation) {
        for at in stride(from: 0, to: bytes.count, by: size) {
            let new = bytes.span.extracting(at..<min(at + size, bytes.count))
            var used = 0
            do {
                let all = unread.show(new)
                var input = ByteReader(all)
                while let event = try machine.nextEvent(from: &input, into: &output) {
                    result.events.append(event.owned(in: all))
                    if case .publish(let publish) = event, publish.qos > 0 {
                        try? machine.send(.puback(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
                    }
                }
                used = input.offset
            }
            unread.keep(new, used: used)
            precondition(machine.isClosed || unread.count <= limits.packetSizeMax, "more kept than a packet")
        }
    } catch {
        result.violation = error
        precondition(machine.isClosed && machine.deadline == .never, "open after a violation")
    }
    result.output = output.span.array
    return result
}
