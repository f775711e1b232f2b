import MartletBytes
import MartletDeflate
import MartletWebSocketProtocol
import Testing

/// What is sent deflated, read by zlib alone; and what zlib deflates, read here.
@Suite("permessage-deflate beside zlib")
struct WebSocketDeflateTests {
    private static let now = Instant(nanoseconds: 0)

    /// As the RFC says it is read (RFC 7692 section 7.2.2).
    private struct Reader: ~Copyable {
        var inflater: Inflater
        let keepsContext: Bool

        init?(keepsContext: Bool, windowBits: Int) {
            guard let inflater = Inflater(.raw, windowBits: windowBits) else { return nil }
            self.inflater = inflater
            self.keepsContext = keepsContext
        }

        mutating func read(_ frame: WireFrame) throws -> [UInt8] {
            guard frame.first & 0x40 != 0 else { return frame.payload }
            if !keepsContext { inflater.reset() }
            var output = ByteBuffer()
            try inflater.append((frame.payload + [0, 0, 255, 255]).span, limit: 1 << 24, into: &output)
            return output.span.array
        }
    }

    private struct NoMemory: Error {}

    private func made<Coder: ~Copyable>(_ coder: consuming Coder?) throws -> Coder {
        guard let coder else { throw NoMemory() }
        return coder
    }

    private func parameters(keeps: Bool, bits: Int) -> WebSocketDeflateParameters {
        var parameters = WebSocketDeflateParameters()
        (parameters.serverNoContextTakeover, parameters.clientNoContextTakeover) = (!keeps, !keeps)
        (parameters.serverMaxWindowBits, parameters.clientMaxWindowBits) = (bits, bits)
        return parameters
    }

    private func message(_ seed: inout WebSocketPairTests.Seed) -> [UInt8] {
        let count = [0, 10, 63, 64, 65, 300, 5000, 34_000][seed.next(8)]
        // Noise does not shrink.
        if seed.next(3) == 0 { return (0..<count).map { _ in UInt8(truncatingIfNeeded: seed.next(256)) } }
        return Array((0..<count / 8).map { _ in ["{\"id\": 1", "\"name\"}", "12345678"][seed.next(3)] }.joined().utf8)
    }

    @Test("zlib reads what is sent, with each window and either context", arguments: 8...15, [true, false])
    func sent(bits: Int, keeps: Bool) throws {
        for isClient in [true, false] {
            var seed = WebSocketPairTests.Seed(state: UInt64(bits) << 8 | 1)
            let deflation = WebSocketDeflation(parameters(keeps: keeps, bits: bits), isClient: isClient, sharing: WebSocketCompression(.client))
            var machine =
                isClient
                ? WebSocketMachine(client: WebSocketLimits(), secret: (7, 8), deflation: deflation, now: Self.now)
                : WebSocketMachine(server: WebSocketLimits(), deflation: deflation, now: Self.now)
            var reader = try made(Reader(keepsContext: keeps, windowBits: bits)), deflatedCount = 0
            for _ in 0..<30 {
                let content = message(&seed)
                var output = ByteBuffer()
                try machine.send(.binary(content), into: &output)
                let frames = WireFrame.all(output.span.array), frame = frames[0]
                #expect(frames.count == 1 && frame.isMasked == isClient && frame.first & 0xBF == 0x82)
                // Without a context nothing is sent that grew.
                if frame.first & 0x40 != 0 {
                    deflatedCount += 1
                    #expect(content.count >= 64 && (keeps || frame.payload.count < content.count))
                }
                let isRead = try reader.read(frame) == content
                #expect(isRead)
            }
            // There is no compressor of 8 bits.
            #expect(bits == 8 ? deflatedCount == 0 : deflatedCount > 0)
        }
    }

    @Test("What zlib deflates is read, with each window, either context, and last blocks anywhere", arguments: 8...15, [true, false])
    func received(bits: Int, keeps: Bool) throws {
        var seed = WebSocketPairTests.Seed(state: UInt64(bits) << 8 | 3)
        let deflation = WebSocketDeflation(parameters(keeps: keeps, bits: bits), isClient: true, sharing: WebSocketCompression(.server))
        var machine = WebSocketMachine(client: WebSocketLimits(), secret: (7, 8), deflation: deflation, now: Self.now)
        // zlib deflates with 9 bits at least; who may not look back 512 bytes sends short messages.
        var deflater = try made(Deflater(.raw, level: 9, windowBits: max(9, bits)))
        for _ in 0..<30 {
            var content = message(&seed)
            if bits == 8 { content = Array(content.prefix(256)) }
            let isLast = seed.next(4) == 0 || content.isEmpty
            if !keeps || bits == 8 { deflater.reset() }
            var deflated = ByteBuffer()
            deflater.append(content.span, isLast ? .finish : .sync, into: &deflated)
            let payload = isLast ? deflated.span.array + (seed.next(2) == 0 ? [0] : []) : Array(deflated.span.array.dropLast(4))
            if isLast { deflater.reset() }
            let bytes = WireFrame(first: 0xC2, payload: payload).bytes
            var input = ByteReader(bytes.span), output = ByteBuffer()
            guard case .binary(let range)? = try machine.nextEvent(from: &input, into: &output) else {
                Issue.record("no message")
                return
            }
            let isSame = machine.content.at(range).array == content
            #expect(isSame)
        }
    }

    @Test("What a foreign frame leaves the peer's window with is not referred to")
    func foreign() throws {
        let shared = WebSocketCompression(.client)
        let deflation = WebSocketDeflation(parameters(keeps: true, bits: 15), isClient: false, sharing: shared)
        var machine = WebSocketMachine(server: WebSocketLimits(), deflation: deflation, now: Self.now), output = ByteBuffer()
        let first = Array(String(repeating: "first ", count: 50).utf8), second = Array(String(repeating: "second ", count: 50).utf8)
        try machine.send(.text(first), into: &output)
        try machine.send(WebSocketFrame(.text, second.span, compression: shared), into: &output)
        try machine.send(.text(first), into: &output)
        try machine.send(.text(first), into: &output)
        var reader = try made(Reader(keepsContext: true, windowBits: 15))
        let frames = WireFrame.all(output.span.array)
        for (frame, content) in zip(frames, [first, second, first, first]) {
            let isRead = try reader.read(frame) == content
            #expect(isRead && frame.first == 0xC1)
        }
        // The fourth repeats the third.
        #expect(frames[3].payload.count < frames[2].payload.count)
    }

    @Test("A message for many is deflated where it shrinks, and plain for whoever has not agreed or has a smaller window")
    func frames() throws {
        let shared = WebSocketCompression(.server)
        let long = Array(String(repeating: "word ", count: 100).utf8)
        let frame = try WebSocketFrame(.text, long.span, compression: shared)
        func sent(_ parameters: WebSocketDeflateParameters?) throws -> WireFrame {
            let deflation = parameters.map { WebSocketDeflation($0, isClient: false, sharing: shared) }
            var machine = WebSocketMachine(server: WebSocketLimits(), deflation: deflation, now: Self.now), output = ByteBuffer()
            try machine.send(frame, into: &output)
            return WireFrame.all(output.span.array)[0]
        }
        let plain = try sent(nil), small = try sent(parameters(keeps: false, bits: 10)), deflated = try sent(parameters(keeps: false, bits: 15))
        #expect(plain == small && plain.payload == long && deflated.first == 0xC1 && deflated.payload.count < 40)
        let short = try WebSocketFrame(.binary, [1, 2, 3].span, compression: shared)
        #expect(short.plain.array == [0x82, 3, 1, 2, 3])
        #expect(throws: WebSocketMisuse.textInvalid) { try WebSocketFrame(.text, [0xFF].span) }
    }

    @Test("A bomb is cut inside the limit, and costs no more memory than it")
    func bomb() throws {
        var deflater = try made(Deflater(.raw)), deflated = ByteBuffer()
        deflater.append([UInt8](repeating: 0, count: 8 << 20).span, .sync, into: &deflated)
        let bytes = WireFrame(first: 0xC2, payload: Array(deflated.span.array.dropLast(4))).bytes
        let deflation = WebSocketDeflation(parameters(keeps: true, bits: 15), isClient: true, sharing: WebSocketCompression(.server))
        var machine = WebSocketMachine(client: WebSocketLimits(), secret: (7, 8), deflation: deflation, now: Self.now), output = ByteBuffer()
        var violation: WebSocketViolation?
        do throws(WebSocketViolation) {
            var input = ByteReader(bytes.span)
            _ = try machine.nextEvent(from: &input, into: &output)
        } catch { violation = error }
        let kept = machine.contentCount
        #expect(violation == .inflatedTooLong && kept <= 1 << 20)
    }
}
