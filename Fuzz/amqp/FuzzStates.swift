import MartletAMQPProtocol
import MartletBytes

/// What the targets share: machines in states that a byte chooses, and bytes shown to them in pieces.
let fuzzStart = Instant(nanoseconds: 0)

enum FuzzPhase: Int {
    case new, header, started, challenged, tuned, agreed, open, closingByClient, closingByServer
}

/// A client and a server that have come as far as a phase says. Once open, channels 1 and 2 are, 3 is being opened, 4 is being closed by the
/// client and 5 by the server.
struct FuzzPeers: ~Copyable {
    var client: AMQPClientMachine
    var server: AMQPServerMachine

    init(_ phase: FuzzPhase) {
        var limits = AMQPLimits()
        limits.frameMax = 4096
        limits.channelMax = 100
        limits.bodySizeMax = 300
        limits.tableDepthMax = 3
        client = AMQPClientMachine(limits: limits, now: fuzzStart)
        server = AMQPServerMachine(limits: limits, now: fuzzStart)
        if phase.rawValue > 0 { say(.protocolHeader) }
        if phase.rawValue > 1 { answer(.method(channel: 0, .connectionStart(.init()))) }
        if phase.rawValue > 2 { say(.method(channel: 0, .connectionStartOk(.init()))) }
        if phase == .challenged { answer(.method(channel: 0, .connectionSecure(.init()))) }
        if phase.rawValue > 3 { answer(.method(channel: 0, server.tune)) }
        if phase.rawValue > 4 { say(.method(channel: 0, .connectionTuneOk(.init(channelMax: 100, frameMax: 4096, heartbeat: 60)))) }
        if phase.rawValue < 6 { return }
        say(.method(channel: 0, .connectionOpen(.init())))
        answer(.method(channel: 0, .connectionOpenOk(.init())))
        for channel in 1...5 as ClosedRange<UInt16> {
            say(.method(channel: channel, .channelOpen(.init())))
            if channel != 3 { answer(.method(channel: channel, .channelOpenOk(.init()))) }
        }
        say(.method(channel: 4, .channelClose(.init(replyCode: 200))))
        answer(.method(channel: 5, .channelClose(.init(replyCode: 404))))
        if phase == .closingByClient { say(.method(channel: 0, .connectionClose(.init(replyCode: 200)))) }
        if phase == .closingByServer { answer(.method(channel: 0, .connectionClose(.init(replyCode: 320)))) }
    }

    /// Brings the pair to its state: what either says here its state allows, so a misuse is a fault of the target, or of the machine.
    private mutating func say(_ message: AMQPOutgoing) {
        var output = ByteBuffer()
        do { try client.send(message, into: &output) } catch { fatalError("\(error)") }
        let bytes = output.span.array
        var input = ByteReader(bytes.span)
        _ = try? server.nextEvent(from: &input, into: &output)
    }

    /// The server's part: see `say`.
    private mutating func answer(_ message: AMQPOutgoing) {
        var output = ByteBuffer()
        do { try server.send(message, into: &output) } catch { fatalError("\(error)") }
        let bytes = output.span.array
        var input = ByteReader(bytes.span)
        _ = try? client.nextEvent(from: &input, into: &output)
    }
}

/// What the world sees of a machine.
struct FuzzResult: Equatable {
    var events: [AMQPEvent.Owned] = []
    var output: [UInt8] = []
    var violation: AMQPViolation?
}

/// Shows `bytes` in pieces. Traps when something follows a violation, or when more than three frames are kept.
func show<Machine: ProtocolMachine & ~Copyable>(
    _ bytes: [UInt8], pieces size: Int, to machine: inout Machine, answer: (inout Machine, AMQPEvent, inout ByteBuffer) -> Void
) -> FuzzResult where Machine.Violation == AMQPViolation, Machine.Event == AMQPEvent {
    var result = FuzzResult()
    var output = ByteBuffer()
    var unread = UnreadBytes()
    do throws(AMQPViolation) {
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
            precondition(machine.deadline == .never || unread.count <= 3 * 8192, "more kept than three frames")
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

/// Bytes of tables, which the machine has checked: the walk and the copy of each must agree on what is there.
func walk(_ table: [UInt8]) {
    var cursor = AMQPTableCursor(ByteRange(0, table.count), in: table.span)
    var count = 0
    while let field = cursor.next() {
        _ = field.integer(in: table.span)
        _ = field.bool(in: table.span)
        count += 1
    }
    let read = AMQPTable(encoded: table)
    precondition(read.fields.count == count && AMQPTable(encoded: read.encoded).fields.count == count, "a table is read in two ways")
}

/// The other role says what was heard, and it is heard again as the same.
func again(
    _ event: AMQPEvent.Owned, _ send: (AMQPOutgoing, inout ByteBuffer) throws -> Void, _ hear: ([UInt8]) -> FuzzResult
) {
    var output = ByteBuffer()
    do {
        switch event {
        case .method(let channel, let method):
            if case .queueDeclare(let declare) = method { walk(declare.arguments) }
            try send(.method(channel: channel, method), &output)
        case .content(let channel, let method, let header, let body):
            if let headers = header.properties.headers { walk(headers) }
            try send(.content(channel: channel, method, properties: header.properties, body: body), &output)
        default: return
        }
    } catch { return }
    let heard = hear(output.span.array)
    precondition(heard.violation == nil && heard.events == [event], "\(event) is heard as \(heard)")
}
