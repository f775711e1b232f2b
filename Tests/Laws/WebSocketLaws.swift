import MartletBytes
import MartletWebSocketProtocol
import Testing

@Suite("The laws of a protocol machine: WebSocket")
struct WebSocketLaws {
    private static var limits: WebSocketLimits {
        var limits = WebSocketLimits()
        limits.messageMax = 1000
        limits.fragmentsMax = 40
        limits.controlFramesPerSecondMax = 30
        return limits
    }
    /// A control frame's header and payload without the last byte: data is taken as it comes.
    private static let keptMax = 6 + 125 - 1

    /// Little memory, for there are many of them.
    private static var options: WebSocketDeflateOptions {
        var options = WebSocketDeflateOptions.client
        options.memoryLevel = 1
        options.windowBits = 9
        return options
    }

    private func machine(isClient: Bool, deflates: Bool, keepsContext: Bool = false) -> WebSocketMachine {
        var parameters = WebSocketDeflateParameters()
        (parameters.serverNoContextTakeover, parameters.clientNoContextTakeover) = (!keepsContext, !keepsContext)
        let deflation = deflates ? WebSocketDeflation(parameters, isClient: isClient, sharing: WebSocketCompression(Self.options)) : nil
        return isClient
            ? WebSocketMachine(client: Self.limits, secret: (3, 4), deflation: deflation, now: WebSocketSamples.start)
            : WebSocketMachine(server: Self.limits, deflation: deflation, now: WebSocketSamples.start)
    }

    /// An echo.
    private func run(_ bytes: [UInt8], pieces size: Int, isClient: Bool, deflates: Bool) -> Observed<WebSocketEvent.Owned> {
        var observed = observe(
            { machine(isClient: isClient, deflates: deflates) }, bytes, pieces: size,
            owned: { machine, event, _ in event.owned(in: machine.content) },
            answer: { machine, event, output in
                let before = machine.contentCount
                switch event {
                case .text(let range): try? machine.send(.text, content: range, into: &output)
                case .binary(let range): try? machine.send(.binary, content: range, into: &output)
                default: break
                }
                let after = machine.contentCount
                precondition(before == after && after <= 1000 + 125, "more is kept than the limits allow")
            })
        observed.events.removeAll { $0 == .part }
        return observed
    }

    private func splitsAgree(_ bytes: [UInt8], isClient: Bool, deflates: Bool) -> Observed<WebSocketEvent.Owned> {
        let whole = run(bytes, pieces: bytes.count, isClient: isClient, deflates: deflates)
        for size in [1, 2, 3, 5, 64] {
            let cut = run(bytes, pieces: size, isClient: isClient, deflates: deflates)
            #expect(
                cut.events == whole.events && cut.output == whole.output && cut.violation == whole.violation, "\(bytes) in pieces of \(size)")
            #expect(cut.keptMax <= Self.keptMax)
        }
        return whole
    }

    @Test("Any split of a peer's bytes gives the same events and the same output", arguments: 0..<100)
    func splits(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        let isClient = Bool.random(using: &rng), deflates = Bool.random(using: &rng)
        let stream = WebSocketSamples.stream(messages: 6, masked: !isClient, deflates: deflates, closes: true, &rng)
        let whole = splitsAgree(stream, isClient: isClient, deflates: deflates)
        let messages = whole.events.filter { if case .text = $0 { true } else if case .binary = $0 { true } else { false } }
        #expect(whole.violation == nil && messages.count == 6 && whole.events.last == .close(.normal, reason: Array("bye".utf8)))
        for _ in 0..<10 { _ = splitsAgree(WebSocketSamples.mutated(stream, &rng), isClient: isClient, deflates: deflates) }
    }

    @Test("No bytes trap", arguments: 0..<40)
    func noBytesTrap(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            let bytes = WebSocketSamples.bytes(&rng, atMost: 40), isClient = Bool.random(using: &rng)
            let begin: [[UInt8]] = [[], [0x81, 0x85], [0x02, 0x03], [0xC1, isClient ? 10 : 0x8A], [0x88, isClient ? 3 : 0x83], [0x82, 0xFF]]
            _ = splitsAgree(WebSocketSamples.pick(begin, &rng) + bytes, isClient: isClient, deflates: true)
        }
    }

    @Test("What is sent is what is heard, whatever its length and kind, deflated or not", arguments: 0..<60)
    func sentIsHeard(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        let isClient = Bool.random(using: &rng), deflates = Bool.random(using: &rng), keeps = Bool.random(using: &rng)
        var sender = machine(isClient: !isClient, deflates: deflates, keepsContext: keeps), output = ByteBuffer()
        var sent: [WebSocketEvent.Owned] = []
        for _ in 0..<20 {
            let isText = Bool.random(using: &rng)
            let content = isText ? WebSocketSamples.text(&rng) : WebSocketSamples.bytes(&rng, atMost: 400)
            try sender.send(isText ? .text(content) : .binary(content), into: &output)
            sent.append(isText ? .text(content) : .binary(content))
        }
        let bytes = output.span.array
        let heard = observe(
            { machine(isClient: isClient, deflates: deflates, keepsContext: keeps) }, bytes, pieces: Int.random(in: 1...bytes.count, using: &rng),
            owned: { machine, event, _ in event.owned(in: machine.content) })
        #expect(heard.events.filter { $0 != .part } == sent && heard.violation == nil)
    }

    @Test("UTF-8 is what Swift says it is, wherever it is cut", arguments: 0..<60)
    func text(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let good = WebSocketSamples.text(&rng)
            let bytes = Bool.random(using: &rng) ? good : WebSocketSamples.mutated(good, &rng)
            let isText = String(validating: bytes, as: UTF8.self) != nil
            let frame = WebSocketSamples.frame(0x81, bytes, masked: false, &rng)
            let seen = splitsAgree(frame, isClient: true, deflates: false)
            #expect(seen.violation == (isText ? nil : WebSocketViolation.text.description), "\(bytes)")
        }
    }

    @Test("Every two, and the interesting three and four, bytes are text where Swift says they are")
    func allShortText() {
        let edges: [UInt8] = [0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC1, 0xC2, 0xE0, 0xE1, 0xED, 0xF0, 0xF1, 0xF4, 0xF5]
        var wrong: [[UInt8]] = []
        func check(_ bytes: [UInt8]) {
            var machine = machine(isClient: true, deflates: false), output = ByteBuffer()
            let frame = [0x81, UInt8(bytes.count)] + bytes
            var input = ByteReader(frame.span)
            let event = try? machine.nextEvent(from: &input, into: &output)
            if (event != nil) != (String(validating: bytes, as: UTF8.self) != nil) { wrong.append(bytes) }
        }
        for a in UInt8.min...UInt8.max {
            for b in UInt8.min...UInt8.max { check([a, b]) }
        }
        for a in edges {
            for b in edges {
                for c in edges {
                    check([a, b, c])
                    for d in edges { check([a, b, c, d]) }
                }
            }
        }
        #expect(wrong == [])
    }

    @Test("A machine takes 240 bytes at most, and owns nothing once all that was heard is dealt with")
    func sizes() throws {
        #expect(MemoryLayout<WebSocketMachine>.size <= 240)
        var rng = SeededGenerator(seed: 1)
        var machine = machine(isClient: false, deflates: false), output = ByteBuffer()
        let bytes = WebSocketSamples.frame(0x81, Array("Hello".utf8), masked: true, &rng)
        var input = ByteReader(bytes.span)
        let first = try machine.nextEvent(from: &input, into: &output)
        let held = machine.holdsMemory
        let second = try machine.nextEvent(from: &input, into: &output)
        let holds = machine.holdsMemory
        #expect(first == .text(ByteRange(0, 5)) && held && second == nil && !holds)
    }
}
