import MartletBytes
import MartletMQTTProtocol

/// What the targets share: machines in states that a byte chooses, and bytes shown to them in pieces.
let fuzzMethod: [UInt8] = [83, 67, 82]
let fuzzStart = Instant(nanoseconds: 0)

enum FuzzPhase: Equatable { case new, connecting, challenged, open, reauthenticating, rechallenged }

/// A client and a server that have come as far as a phase says. In v5 the client asked for an enhanced authentication.
struct FuzzPeers: ~Copyable {
    var client: MQTTClientMachine
    var server: MQTTServerMachine

    init(_ version: MQTTVersion, _ phase: FuzzPhase, isStrict: Bool = true, packetSizeMax: Int = 4096) {
        var limits = MQTTLimits()
        limits.packetSizeMax = packetSizeMax
        limits.topicAliasMax = 3
        limits.isStrict = isStrict
        client = MQTTClientMachine(limits: limits, now: fuzzStart)
        server = MQTTServerMachine(limits: limits, now: fuzzStart)
        if phase == .new { return }
        var options = MQTTConnectOptions(version: version, clientID: [97])
        options.topicAliasMax = version == .v5 ? 3 : 0
        options.sessionExpiry = version == .v5 ? 100 : 0
        if version == .v5 { options.authenticationMethod = fuzzMethod }
        say(.connect(options))
        if phase == .challenged { answer(.auth(fuzzAuth(.continueAuthentication))) }
        if phase == .challenged || phase == .connecting { return }
        answer(.connack(fuzzConnack(version)))
        if phase == .open || version != .v5 { return }
        say(.auth(fuzzAuth(.reAuthenticate)))
        if phase == .rechallenged { answer(.auth(fuzzAuth(.continueAuthentication))) }
    }

    private mutating func say(_ message: MQTTClientOutgoing) {
        var output = ByteBuffer()
        do { try client.send(message, into: &output) } catch { fatalError("\(error)") }
        let bytes = output.span.array
        var input = ByteReader(bytes.span)
        _ = try? server.nextEvent(from: &input, into: &output)
    }

    private mutating func answer(_ message: MQTTServerOutgoing) {
        var output = ByteBuffer()
        do { try server.send(message, into: &output) } catch { fatalError("\(error)") }
        let bytes = output.span.array
        var input = ByteReader(bytes.span)
        _ = try? client.nextEvent(from: &input, into: &output)
    }
}

func fuzzAuth(_ reason: MQTTReason) -> MQTTAuth.Owned { MQTTAuth.Owned(reason: reason, method: fuzzMethod) }

func fuzzConnack(_ version: MQTTVersion) -> MQTTConnack {
    var connack = MQTTConnack()
    if version == .v5 { connack.authenticationMethod = fuzzMethod }
    return connack
}

/// What the world sees of a machine.
struct FuzzResult<Owned: Equatable>: Equatable {
    var events: [Owned] = []
    var output: [UInt8] = []
    var violation: MQTTViolation?
    /// Of a lenient server.
    var tolerated: UInt8 = 0
}

/// Shows `bytes` in pieces. Traps when something follows a violation or more than a packet is kept.
func show<Machine: ProtocolMachine & ~Copyable>(
    _ bytes: [UInt8], pieces size: Int, to machine: inout Machine, packetSizeMax: Int = 4096,
    answer: (inout Machine, Machine.Event, inout ByteBuffer) -> Void
) -> FuzzResult<Machine.Event.Owned> where Machine.Violation == MQTTViolation {
    var result = FuzzResult<Machine.Event.Owned>()
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
                    answer(&machine, event, &output)
                }
                used = input.offset
            }
            unread.keep(new, used: used)
            precondition(machine.deadline == .never || unread.count <= packetSizeMax, "more kept than a packet")
        }
    } catch {
        result.violation = error
        let said = output.count
        var input = ByteReader(bytes.span)
        let silent = (try? machine.nextEvent(from: &input, into: &output)) ?? nil
        precondition(silent == nil && input.offset == 0 && output.count == said && machine.deadline == .never, "something follows a violation")
    }
    result.output = output.span.array
    return result
}
