import MartletBytes
import MartletMQTTProtocol

/// libFuzzer target: the server's machine. The first byte chooses the state and the size of the pieces, the others come from the client.
/// A run traps when the machine does, when pieces give another result than the whole, or when something follows a violation.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzServer(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    guard count > 1 else { return 0 }
    let bytes = Array(UnsafeBufferPointer(start: start + 1, count: count - 1))
    let whole = run(state: start[0] & 3, bytes, pieces: bytes.count)
    precondition(whole == run(state: start[0] & 3, bytes, pieces: 1 + Int(start[0] >> 2)), "a split gives another result")
    return 0
}

private struct Result: Equatable {
    var events: [MQTTServerEvent.Owned] = []
    var output: [UInt8] = []
    var violation: MQTTViolation?
}

private func open(_ version: MQTTVersion, _ machine: inout MQTTServerMachine) {
    var output = ByteBuffer()
    let isV5 = version == .v5
    let hello: [UInt8] = [0x10, isV5 ? 14 : 13, 0, 4, 77, 81, 84, 84, version.rawValue, 2, 0, 60] + (isV5 ? [0] : []) + [0, 1, 97]
    var input = ByteReader(hello.span)
    _ = try? machine.nextEvent(from: &input, into: &output)
    try? machine.send(.connack(MQTTConnack()), into: &output)
}

private func run(state: UInt8, _ bytes: [UInt8], pieces size: Int) -> Result {
    var limits = MQTTLimits()
    limits.topicAliasMax = 3
    limits.packetSizeMax = 4096
    var machine = MQTTServerMachine(limits: limits, now: Instant(nanoseconds: 0))
    if state == 1 { open(.v3_1_1, &machine) } else if state == 2 { open(.v5, &machine) }
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
                    if case .connect = event { try? machine.send(.connack(MQTTConnack()), into: &output) }
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
