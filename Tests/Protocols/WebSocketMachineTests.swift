import MartletBytes
import MartletWebSocketProtocol
import Testing

/// What vectors cannot say: time, farewells that are held back, what is refused to the caller.
@Suite("WebSocket machine")
struct WebSocketMachineTests {
    private static let start = Instant(nanoseconds: 1_000_000_000)

    private static func after(_ seconds: Int64, _ nanoseconds: Int64 = 0) -> Instant {
        Instant(nanoseconds: start.nanoseconds + seconds * 1_000_000_000 + nanoseconds)
    }

    private func server(_ change: (inout WebSocketLimits) -> Void = { _ in }) -> WebSocketMachine {
        var limits = WebSocketLimits()
        change(&limits)
        return WebSocketMachine(server: limits, now: Self.start)
    }

    /// Shows frames that are masked on the way; all events, and what was thrown.
    private func show(_ frames: [WireFrame], _ machine: inout WebSocketMachine, _ output: inout ByteBuffer) -> ([WebSocketEvent.Owned], WebSocketViolation?) {
        let bytes = frames.flatMap { $0.bytes(mask: [1, 2, 3, 4]) }
        var events: [WebSocketEvent.Owned] = []
        var input = ByteReader(bytes.span)
        do throws(WebSocketViolation) {
            while let event = try machine.nextEvent(from: &input, into: &output) { events.append(event.owned(in: machine.content)) }
        } catch { return (events, error) }
        return (events, nil)
    }

    @Test("A farewell that is held back leaves behind the answers of a handler that came later")
    func heldBack() throws {
        var machine = server(), output = ByteBuffer()
        machine.holdsFarewell = true
        let (events, violation) = show(
            [WireFrame(first: 0x81, payload: [0x61]), WireFrame(first: 0x83, payload: []), WireFrame(first: 0x89, payload: [])], &machine, &output)
        let owes = machine.owesFarewell, isClosed = machine.isClosed, isSilent = output.isEmpty, maySend = machine.maySend && !machine.holdsMemory
        #expect(events == [.text([0x61])] && violation == .reservedOpcode && owes && !isClosed && isSilent && maySend)
        try machine.send(.text([0x61]), into: &output)
        machine.sayFarewell(into: &output)
        let frames = WireFrame.all(output.span.array), isOver = machine.isClosed, owesMore = machine.owesFarewell
        #expect(frames.map(\.first) == [0x81, 0x88] && Array(frames[1].payload.prefix(2)) == [0x03, 0xEA] && isOver && !owesMore)
        machine.sayFarewell(into: &output)
        #expect(WireFrame.all(output.span.array).count == 2)
        #expect(WebSocketPairTests.misuse(&machine, .text([])) == .closed)
    }

    @Test("The answer to a Close is held back too, with its code; our own close is that answer")
    func heldClose() throws {
        var machine = server(), output = ByteBuffer()
        machine.holdsFarewell = true
        let close = WireFrame(first: 0x88, payload: [0x0B, 0xB8])
        let (events, _) = show([WireFrame(first: 0x82, payload: [1]), close], &machine, &output)
        #expect(events == [.binary([1]), .close(WebSocketCloseCode(rawValue: 3000), reason: [])] && output.isEmpty)
        try machine.send(.binary([1]), into: &output)
        machine.sayFarewell(into: &output)
        #expect(WireFrame.all(output.span.array) == [WireFrame(first: 0x82, payload: [1]), close])

        var other = server(), said = ByteBuffer()
        other.holdsFarewell = true
        _ = show([close], &other, &said)
        try other.close(.goingAway, into: &said)
        let isClosed = other.isClosed
        #expect(WireFrame.all(said.span.array) == [WireFrame(first: 0x88, payload: [0x03, 0xE9])] && isClosed)
    }

    @Test("A Close that is refused within a message leaves nothing behind")
    func refusedClose() {
        var machine = server(), output = ByteBuffer()
        machine.holdsFarewell = true
        let frames = [WireFrame(first: 0x01, payload: [0x61]), WireFrame(first: 0x88, payload: [0x03])]
        let (events, violation) = show(frames, &machine, &output)
        let again = show([], &machine, &output), holds = machine.holdsMemory
        #expect(events == [] && violation == .closePayload && again.0 == [] && again.1 == nil && !holds)
    }

    @Test("A farewell that is held back too long leaves when the time for a Close is over")
    func heldTooLong() throws {
        var machine = server { $0.closeTimeout = .seconds(3) }, output = ByteBuffer()
        machine.holdsFarewell = true
        _ = show([WireFrame(first: 0x88, payload: [])], &machine, &output)
        #expect(machine.deadline == Self.after(3))
        try machine.wake(at: Self.after(2), into: &output)
        #expect(output.count == 0)
        try machine.wake(at: Self.after(3), into: &output)
        let isClosed = machine.isClosed
        #expect(WireFrame.all(output.span.array) == [WireFrame(first: 0x88, payload: [])] && isClosed && machine.deadline == .never)
    }

    @Test("A ping every 20 seconds; the answer's latency; silence behind a ping is the end")
    func keepAlive() throws {
        var machine = server(), output = ByteBuffer()
        #expect(machine.deadline == Self.after(20) && machine.latency == nil)
        try machine.wake(at: Self.after(19), into: &output)
        #expect(output.count == 0)
        try machine.wake(at: Self.after(20), into: &output)
        let ping = WireFrame.all(output.span.array)[0]
        #expect(ping.first == 0x89 && ping.payload.count == 4 && machine.deadline == Self.after(40))
        output.removeAll()

        // Another pong is no answer.
        machine.heard(at: Self.after(20, 100))
        _ = show([WireFrame(first: 0x8A, payload: [9, 9, 9, 9])], &machine, &output)
        #expect(machine.latency == nil && machine.deadline == Self.after(40, 100))
        machine.heard(at: Self.after(20, 5000))
        _ = show([WireFrame(first: 0x8A, payload: ping.payload)], &machine, &output)
        #expect(machine.latency == .nanoseconds(5000) && machine.deadline == Self.after(40))

        try machine.wake(at: Self.after(40), into: &output)
        let second = WireFrame.all(output.span.array)[0]
        #expect(second.payload != ping.payload)
        output.removeAll()
        // Whoever talks is alive, though the answer is late.
        machine.heard(at: Self.after(55))
        try machine.wake(at: Self.after(60), into: &output)
        #expect(output.isEmpty && machine.deadline == Self.after(75))
        #expect(throws: WebSocketViolation.silent) { try machine.wake(at: Self.after(75), into: &output) }
        let frames = WireFrame.all(output.span.array), isClosed = machine.isClosed
        #expect(frames.count == 1 && Array(frames[0].payload.prefix(2)) == [0x03, 0xF3] && isClosed && machine.deadline == .never)
        try machine.wake(at: Self.after(100), into: &output)
        #expect(WireFrame.all(output.span.array).count == 1)
    }

    @Test("Without an interval nobody is pinged")
    func noPings() {
        let machine = server { $0.pingInterval = nil }
        #expect(machine.deadline == .never)
    }

    @Test("A Close that is not answered in time is the end, without another Close")
    func closeTimesOut() throws {
        var machine = server(), output = ByteBuffer()
        machine.heard(at: Self.after(1))
        // Nothing is heard for long before.
        try machine.close(into: &output)
        let said = output.count
        #expect(machine.deadline <= Self.after(5))
        try machine.wake(at: Self.after(5), into: &output)
        #expect(machine.deadline == Self.after(15))
        try machine.wake(at: Self.after(14), into: &output)
        #expect(throws: WebSocketViolation.closeTimedOut) { try machine.wake(at: Self.after(15), into: &output) }
        let isClosed = machine.isClosed
        #expect(output.count == said && isClosed && machine.deadline == .never)
    }

    @Test("The limit on pings is of each second")
    func pingsASecond() {
        var machine = server { $0.controlFramesPerSecondMax = 2 }, output = ByteBuffer()
        let ping = WireFrame(first: 0x89, payload: [])
        #expect(show([ping, ping], &machine, &output).1 == nil)
        machine.heard(at: Self.after(1))
        #expect(show([ping, ping], &machine, &output).1 == nil)
        machine.heard(at: Self.after(1, 999_999_999))
        #expect(show([ping], &machine, &output).1 == .controlFlood)
    }

    @Test("What cannot be sent is refused, and nothing is written")
    func misuses() {
        var machine = server()
        let cases: [(WebSocketOutgoing, WebSocketMisuse)] = [
            (.text([0xC3]), .textInvalid), (.text([0xED, 0xA0, 0x80]), .textInvalid), (.ping([UInt8](repeating: 1, count: 126)), .controlTooLong),
            (.pong([UInt8](repeating: 1, count: 126)), .controlTooLong), (.close(WebSocketCloseCode(rawValue: 1006)), .closeCodeInvalid),
            (.close(WebSocketCloseCode(rawValue: 1004)), .closeCodeInvalid), (.close(WebSocketCloseCode(rawValue: 1015)), .closeCodeInvalid),
            (.close(WebSocketCloseCode(rawValue: 2999)), .closeCodeInvalid), (.close(WebSocketCloseCode(rawValue: 5000)), .closeCodeInvalid),
            (.close(.noStatusReceived, reason: [0x61]), .closeCodeInvalid), (.close(.normal, reason: [UInt8](repeating: 0x61, count: 124)), .reasonTooLong),
            (.close(.normal, reason: [0xFF]), .textInvalid),
        ]
        for (message, misuse) in cases { #expect(WebSocketPairTests.misuse(&machine, message) == misuse) }
        let good: [WebSocketOutgoing] = [
            .text([]), .ping([UInt8](repeating: 1, count: 125)), .pong([]),
            .close(WebSocketCloseCode(rawValue: 4999), reason: [UInt8](repeating: 0x61, count: 123)),
        ]
        for message in good { #expect(WebSocketPairTests.misuse(&machine, message) == nil) }
    }

    @Test("A client's masking keys differ from frame to frame and from connection to connection")
    func maskingKeys() throws {
        func keys(_ secret: (UInt64, UInt64)) throws -> [[UInt8]] {
            var machine = WebSocketMachine(client: WebSocketLimits(), secret: secret, now: Self.start)
            return try (0..<1000).map { _ in
                var output = ByteBuffer()
                try machine.send(.binary([0, 0, 0, 0]), into: &output)
                return Array(output.span.array[2..<6])
            }
        }
        let first = try keys((1, 2)), second = try keys((1, 3))
        #expect(Set(first).count > 990 && Set(first + second).count > 1980)
        // About half of all bits are set.
        let bits = first.joined().reduce(0) { $0 + $1.nonzeroBitCount }
        #expect((15_000...17_000).contains(bits))
    }

    @Test("Every violation's Close has a code that may be sent, or none, and words that fit")
    func farewells() {
        for violation in WebSocketViolation.allCases {
            #expect(violation.code.maySend || violation.code == .abnormal)
            #expect(violation.rawValue.utf8.count <= 123)
        }
    }

    @Test("An echo of content is the message again, whether text or binary")
    func echoes() throws {
        var machine = server(), output = ByteBuffer()
        let long = [UInt8](repeating: 0x62, count: 70_000)
        let frames = [WireFrame(first: 0x81, payload: Array("héllo".utf8)), WireFrame(first: 0x82, payload: long), WireFrame(first: 0x82, payload: [0xFF])]
        let bytes = frames.flatMap { $0.bytes(mask: [9, 8, 7, 6]) }
        var input = ByteReader(bytes.span), misuse: WebSocketMisuse?
        while let event = try machine.nextEvent(from: &input, into: &output) {
            switch event {
            case .text(let range): try machine.send(.text, content: range, into: &output)
            case .binary(let range):
                try machine.send(.binary, content: range, into: &output)
                if range.count == 1 { do throws(WebSocketMisuse) { try machine.send(.text, content: range, into: &output) } catch { misuse = error } }
            default: break
            }
        }
        #expect(WireFrame.all(output.span.array) == frames && misuse == .textInvalid)
    }
}
