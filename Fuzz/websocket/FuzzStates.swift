import MartletBytes
import MartletWebSocketProtocol

/// Small limits, so that a fuzzer meets them.
let fuzzLimits: WebSocketLimits = {
    var limits = WebSocketLimits()
    limits.messageMax = 300
    limits.frameMax = 200
    limits.fragmentsMax = 8
    limits.inflationRatioMax = 20
    limits.inflationFloor = 100
    limits.controlFramesPerSecondMax = 10
    return limits
}()

/// What a byte chooses: whether messages may be deflated, whether contexts are kept, whether the farewell is held back.
struct FuzzChoice {
    let deflates: Bool, keepsContext: Bool, holdsFarewell: Bool, piece: Int

    init(_ byte: UInt8) {
        deflates = byte & 1 != 0
        keepsContext = byte & 2 != 0
        holdsFarewell = byte & 4 != 0
        piece = 2 + Int(byte >> 3)
    }

    func machine(isClient: Bool) -> WebSocketMachine {
        var parameters = WebSocketDeflateParameters()
        (parameters.serverNoContextTakeover, parameters.clientNoContextTakeover) = (!keepsContext, !keepsContext)
        var options = WebSocketDeflateOptions.client
        options.threshold = 16
        options.memoryLevel = 1
        options.windowBits = 9
        let deflation = deflates ? WebSocketDeflation(parameters, isClient: isClient, sharing: WebSocketCompression(options)) : nil
        let now = Instant(nanoseconds: 0)
        var machine =
            isClient
            ? WebSocketMachine(client: fuzzLimits, secret: (1, 2), deflation: deflation, now: now)
            : WebSocketMachine(server: fuzzLimits, deflation: deflation, now: now)
        machine.holdsFarewell = holdsFarewell
        return machine
    }
}

/// What the world saw of a machine that echoes.
struct FuzzSeen: Equatable {
    var events: [WebSocketEvent.Owned] = []
    var output: [UInt8] = []
    var violation: WebSocketViolation?
}

/// Shows the bytes in pieces, then the end. Traps when something is kept beyond the limits or follows a violation, and when text is none.
func fuzzObserve(_ choice: FuzzChoice, isClient: Bool, _ bytes: [UInt8], pieces size: Int) -> FuzzSeen {
    var machine = choice.machine(isClient: isClient)
    var seen = FuzzSeen(), output = ByteBuffer(), unread = UnreadBytes()
    do throws(WebSocketViolation) {
        var at = 0
        while at < bytes.count {
            let new = bytes.span.extracting(at..<min(at + size, bytes.count))
            var used = 0
            do {
                let all = unread.show(new)
                var input = ByteReader(all)
                while true {
                    let before = input.offset
                    guard let event = try machine.nextEvent(from: &input, into: &output) else {
                        precondition(input.offset == before, "nothing is consumed on nil")
                        break
                    }
                    precondition(input.offset > before && machine.contentCount <= 300 + 125, "an event consumes nothing, or too much is kept")
                    if event != .part { seen.events.append(event.owned(in: machine.content)) }
                    echo(event, &machine, &output)
                }
                used = input.offset
            }
            unread.keep(new, used: used)
            if !machine.owesFarewell, !machine.isClosed { precondition(unread.count < 14 + 125, "too much is left unread") }
            at += size
        }
        try machine.receiveEnd(at: Instant(nanoseconds: 0), into: &output)
    } catch {
        seen.violation = error
        let said = output.count
        var input = ByteReader(bytes.span)
        let silent = (try? machine.nextEvent(from: &input, into: &output)) ?? nil
        precondition(silent == nil && input.offset == 0 && output.count == said, "something follows a violation")
    }
    machine.sayFarewell(into: &output)
    precondition(machine.isClosed && machine.deadline == .never)
    seen.output = output.span.array
    return seen
}

private func echo(_ event: WebSocketEvent, _ machine: inout WebSocketMachine, _ output: inout ByteBuffer) {
    do {
        switch event {
        case .text(let range):
            precondition(String(validating: machine.content.at(range).array, as: UTF8.self) != nil, "text that is none")
            try machine.send(.text, content: range, into: &output)
        case .binary(let range): try machine.send(.binary, content: range, into: &output)
        case .close(let code, let reason):
            precondition(code.maySend || code == .noStatusReceived)
            precondition(String(validating: machine.content.at(reason).array, as: UTF8.self) != nil, "a reason that is none")
        default: break
        }
    } catch { preconditionFailure("an echo is refused: \(error)") }
}

/// The other side hears all that was sent, with limits that do not bind: the echoes, the pongs and the Close.
func fuzzHearAgain(_ choice: FuzzChoice, isClient: Bool, _ seen: FuzzSeen) {
    var parameters = WebSocketDeflateParameters()
    (parameters.serverNoContextTakeover, parameters.clientNoContextTakeover) = (!choice.keepsContext, !choice.keepsContext)
    let deflation = choice.deflates ? WebSocketDeflation(parameters, isClient: !isClient, sharing: WebSocketCompression(.client)) : nil
    let now = Instant(nanoseconds: 0)
    var machine =
        isClient
        ? WebSocketMachine(server: WebSocketLimits(), deflation: deflation, now: now)
        : WebSocketMachine(client: WebSocketLimits(), secret: (3, 4), deflation: deflation, now: now)
    var heard: [WebSocketEvent.Owned] = [], output = ByteBuffer()
    do {
        var input = ByteReader(seen.output.span)
        while let event = try machine.nextEvent(from: &input, into: &output) { heard.append(event.owned(in: machine.content)) }
        precondition(input.remaining == 0, "more follows a Close")
    } catch { preconditionFailure("what was sent is not taken: \(error)") }
    var expected: [WebSocketEvent.Owned] = seen.events.compactMap { event in
        switch event {
        case .text, .binary: event
        case .ping(let bytes): .pong(bytes)
        case .close(let code, _): .close(code, reason: [])
        default: nil
        }
    }
    if let violation = seen.violation, violation != .ended {
        guard case .close(let code, _)? = heard.popLast(), code == violation.code else { preconditionFailure("no Close says the violation") }
    }
    if case .close? = seen.events.last, heard.last != expected.last { expected.removeLast() }
    precondition(heard == expected, "what was sent is not what is heard")
}
