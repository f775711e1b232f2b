import MartletBytes
import MartletHTTPProtocol
import Testing

@Suite("The laws of a protocol machine: HTTP")
struct HTTPLaws {
    private static var limits: HTTPLimits {
        var limits = HTTPLimits()
        limits.startLineMax = 60
        limits.fieldsBytesMax = 200
        limits.fieldsMax = 6
        limits.bodyMax = 60
        limits.chunkLineMax = 30
        return limits
    }
    /// An empty line, a start line, fields; or the end of a chunk, the last one's line, trailers.
    private static let keptMax = 2 + 62 + 200

    /// Content in one piece, however it was cut.
    private func joined(_ events: [HTTPServerEvent.Owned]) -> [HTTPServerEvent.Owned] {
        events.reduce(into: []) { joined, event in
            if case .body(let before)? = joined.last, case .body(let more) = event {
                joined[joined.count - 1] = .body(before + more)
            } else {
                joined.append(event)
            }
        }
    }

    private func joined(_ events: [HTTPClientEvent.Owned]) -> [HTTPClientEvent.Owned] {
        events.reduce(into: []) { joined, event in
            if case .body(let before)? = joined.last, case .body(let more) = event {
                joined[joined.count - 1] = .body(before + more)
            } else {
                joined.append(event)
            }
        }
    }

    private func server(_ bytes: [UInt8], pieces size: Int) -> Observed<HTTPServerEvent.Owned> {
        observe(
            { HTTPServerMachine(limits: Self.limits, now: HTTPSamples.start) }, bytes, pieces: size,
            mayBeEmpty: { if case .end = $0 { true } else { false } },
            answer: { machine, event, output in
                switch event {
                case .request(let head): if head.expectsContinue { try? machine.send(.inform(100), into: &output) }
                case .end: try? machine.send(.response(200, content: [1, 2, 3]), into: &output)
                case .body, .tunnel: break
                }
            })
    }

    /// A client that asks again whenever it may.
    private func client(_ bytes: [UInt8], pieces size: Int) -> Observed<HTTPClientEvent.Owned> {
        let ask = HTTPClientOutgoing.begin(method: Array("GET".utf8), target: [0x2F], host: [0x61])
        return observe(
            {
                var machine = HTTPClientMachine(limits: Self.limits, now: HTTPSamples.start), output = ByteBuffer()
                try? machine.send(ask, into: &output)
                try? machine.send(.end(), into: &output)
                return machine
            }, bytes, pieces: size, mayBeEmpty: { if case .end = $0 { true } else { false } },
            answer: { machine, _, output in
                guard machine.isIdle else { return }
                try? machine.send(ask, into: &output)
                try? machine.send(.end(), into: &output)
            })
    }

    private func serverSplitsAgree(_ bytes: [UInt8]) -> Observed<HTTPServerEvent.Owned> {
        let whole = server(bytes, pieces: bytes.count)
        for size in [1, 2, 5, 64] {
            let cut = server(bytes, pieces: size)
            #expect(
                joined(cut.events) == joined(whole.events) && cut.output == whole.output && cut.violation == whole.violation, "\(bytes) in pieces of \(size)")
            #expect(cut.keptMax <= Self.keptMax)
        }
        return whole
    }

    private func clientSplitsAgree(_ bytes: [UInt8]) -> Observed<HTTPClientEvent.Owned> {
        let whole = client(bytes, pieces: bytes.count)
        for size in [1, 2, 5, 64] {
            let cut = client(bytes, pieces: size)
            #expect(
                joined(cut.events) == joined(whole.events) && cut.output == whole.output && cut.violation == whole.violation, "\(bytes) in pieces of \(size)")
            #expect(cut.keptMax <= Self.keptMax)
        }
        return whole
    }

    @Test("Any split of a client's bytes gives the server the same events and the same output", arguments: 0..<150)
    func serverSplits(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        let stream = HTTPSamples.requests(count: 6, &rng)
        let whole = serverSplitsAgree(stream)
        let ends = whole.events.filter { if case .end = $0 { true } else { false } }
        #expect(whole.violation == nil && ends.count == 6)
        for _ in 0..<10 { _ = serverSplitsAgree(HTTPSamples.mutated(stream, &rng)) }
    }

    @Test("Any split of a server's bytes gives the client the same events and the same output", arguments: 0..<150)
    func clientSplits(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        let stream = HTTPSamples.responses(count: 6, &rng)
        #expect(clientSplitsAgree(stream).violation == nil)
        for _ in 0..<10 { _ = clientSplitsAgree(HTTPSamples.mutated(stream, &rng)) }
    }

    @Test("No bytes trap", arguments: 0..<40)
    func noBytesTrap(seed: UInt64) {
        var rng = SeededGenerator(seed: seed)
        for _ in 0..<100 {
            let bytes = HTTPSamples.bytes(&rng, atMost: 24)
            _ = serverSplitsAgree(HTTPSamples.pick([[], Array("GET / HTTP/1.1\r\n".utf8), Array("GET ".utf8)], &rng) + bytes)
            _ = clientSplitsAgree(HTTPSamples.pick([[], Array("HTTP/1.1 200 OK\r\n".utf8), Array("HTTP/1.1 ".utf8)], &rng) + bytes)
        }
    }

    @Test("A name ends where its bytes, looked at one by one, do; a value too")
    func eightAtOnce() {
        for byte in UInt8.min...UInt8.max {
            for at in 0..<18 {
                var name = Array("abc-Def-ghi-Jkl-mn".utf8)
                name[at] = byte
                let value = Array("some value, longer"[...].utf8).enumerated().map { $0.offset == at ? byte : $0.element }
                var named = HTTPFieldCursor((name + Array(": 1\r\n".utf8)).span)
                let isWalked = named.next()?.name == ByteRange(0, name.count)
                #expect(isWalked == (HTTPField.isName([byte].span) && byte != 58))
                let isControl = byte < 0x20 && byte != 9 || byte == 0x7F
                let isBlank = (byte == 32 || byte == 9) && (at == 0 || at == 17)
                #expect(HTTPField.isValue(value.span) == !(isControl || isBlank))
            }
        }
    }

    @Test("Content that goes past the output counts as content that is appended", arguments: 0..<100)
    func passing(seed: UInt64) throws {
        var rng = SeededGenerator(seed: seed)
        let promised = Int.random(in: 0...60, using: &rng)
        let pieces = (0..<Int.random(in: 1...5, using: &rng)).map { _ in Int.random(in: 0...20, using: &rng) } + [promised]
        let passes = pieces.map { _ in Bool.random(using: &rng) }
        let all = try sending(pieces, passes.map { _ in false }, promised), some = try sending(pieces, passes, promised)
        #expect(some.misuses == all.misuses && some.isIdle == all.isIdle && some.next == all.next)
        #expect(some.count + some.passed == all.count)
        // Nothing but counted content goes past.
        for content in [HTTPContentLength.none, .unknown] {
            #expect(try sending([5], [true], promised, content).misuses.first == (content == .none ? .contentTooLong : .outOfTurn))
        }
    }

    private struct Sent {
        var misuses: [HTTPMisuse?] = []
        var isIdle = false
        var count = 0, passed = 0
        /// Whether the next request is taken.
        var next = false
    }

    /// A response of as much as was promised, in pieces that are appended or passed.
    private func sending(_ pieces: [Int], _ passes: [Bool], _ promised: Int, _ content: HTTPContentLength? = nil) throws -> Sent {
        var machine = HTTPServerMachine(limits: Self.limits, now: HTTPSamples.start), output = ByteBuffer(), sent = Sent()
        func isNext() throws -> Bool {
            let bytes = Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8)
            var input = ByteReader(bytes.span), has = false
            while try machine.nextEvent(from: &input, into: &output) != nil { has = true }
            return has
        }
        _ = try isNext()
        let none: [UInt8] = []
        try machine.begin(200, fields: none.span, content: content ?? .exactly(UInt64(promised)), into: &output)
        for (size, passes) in zip(pieces, passes) {
            let bytes = [UInt8](repeating: 1, count: size)
            do throws(HTTPMisuse) {
                if passes { try machine.pass(UInt64(size)) } else { try machine.append(bytes.span, into: &output) }
                sent.misuses.append(nil)
                if passes { sent.passed += size }
            } catch { sent.misuses.append(error) }
        }
        do throws(HTTPMisuse) { try machine.end(into: &output) } catch { sent.misuses.append(error) }
        sent.isIdle = machine.isIdle
        sent.count = output.count
        sent.next = try isNext()
        return sent
    }

    @Test("A machine takes 120 bytes at most")
    func sizes() {
        #expect(MemoryLayout<HTTPServerMachine>.size <= 120)
        #expect(MemoryLayout<HTTPClientMachine>.size <= 120)
        #expect(MemoryLayout<HTTPRequestHead>.size <= 64)
    }

    @Test("A wake after the deadline violates exactly once; one before it does nothing")
    func wakesOnce() throws {
        // No byte, a part of a head, a part of the content.
        for text in ["", "GET / HT", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"] {
            var machine = HTTPServerMachine(limits: HTTPLimits(), now: HTTPSamples.start), output = ByteBuffer()
            let bytes = Array(text.utf8)
            machine.heard(at: HTTPSamples.start)
            var input = ByteReader(bytes.span)
            while try machine.nextEvent(from: &input, into: &output) != nil {}
            let deadline = machine.deadline
            let early = violation(&machine, at: Instant(nanoseconds: deadline.nanoseconds - 1), &output)
            let first = violation(&machine, at: deadline, &output)
            let said = output.count
            let second = violation(&machine, at: deadline, &output)
            let saidMore = output.count, next = machine.deadline
            #expect(early == nil && second == nil && said == saidMore && next == .never)
            let seconds = (deadline - HTTPSamples.start).components.seconds
            switch text.count {
            case 0: #expect(first == .idle && seconds == 60 && said == 0)
            case 8: #expect(first == .headTimedOut && seconds == 10 && said > 0)
            default: #expect(first == .bodyTooSlow && seconds == 5 && said > 0)
            }
        }
    }

    private func violation(_ machine: inout HTTPServerMachine, at now: Instant, _ output: inout ByteBuffer) -> HTTPViolation? {
        do {
            try machine.wake(at: now, into: &output)
            return nil
        } catch { return error }
    }
}
