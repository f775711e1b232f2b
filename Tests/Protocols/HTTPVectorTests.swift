import MartletBytes
import MartletHTTPProtocol
import Testing

/// `Tests/Vectors/http`: what is read, and what is refused.
@Suite("HTTP vectors")
struct HTTPVectorTests {
    private static let sizes = [1, 2, 3, 7, 64]

    @Test("The folder holds at least 300 vectors, each under a name of its own, and one for each violation that is not a matter of time")
    func enough() throws {
        let vectors = try TestVector.all(in: "http")
        #expect(vectors.count >= 300)
        #expect(Set(vectors.map(\.description)).count == vectors.count)
        let timely: Set<HTTPViolation> = [.headTimedOut, .bodyTooSlow, .idle]
        let told = Set(vectors.compactMap(\.violation))
        #expect(HTTPViolation.allCases.filter { !timely.contains($0) && !told.contains(name($0)) } == [])
    }

    @Test(
        "Each vector of a server gives its events and violation, however it is cut",
        arguments: try TestVector.all(in: "http").filter { $0.on.hasPrefix("server") })
    func server(_ vector: TestVector) throws {
        let limits = try limits(vector.on.split(separator: " ").dropFirst())
        for size in [vector.input.count] + Self.sizes {
            var machine = HTTPServerMachine(limits: limits, now: Instant(nanoseconds: 0)), answers = Answers()
            let seen = try observe(&machine, vector, pieces: size, HTTPEventLine.text) { machine, event, output in try answers.answer(&machine, event, &output)
            }
            #expect(HTTPEventLine.joined(seen.events) == vector.events, "in pieces of \(size)")
            #expect(seen.violation.map(name) == vector.violation, "in pieces of \(size)")
            guard let violation = seen.violation else { continue }
            let farewell = try #require(seen.output.ranges(of: "HTTP/1.1 \(violation.status) ").last.map { seen.output[$0.lowerBound...] })
            #expect(farewell.contains("\r\nConnection: close\r\n") && farewell.hasSuffix("\r\n\r\n\(violation)\n"))
        }
    }

    @Test(
        "Each vector of a client gives its events and violation, however it is cut",
        arguments: try TestVector.all(in: "http").filter { $0.on.hasPrefix("client") })
    func client(_ vector: TestVector) throws {
        let words = vector.on.split(separator: " ")
        let limits = try limits(words.dropFirst(2))
        for size in [vector.input.count] + Self.sizes {
            var machine = HTTPClientMachine(limits: limits, now: Instant(nanoseconds: 0))
            var request = ByteBuffer()
            let upgrade = Array("Upgrade: websocket\r\n".utf8), host = Array("a:80".utf8)
            switch words[1] {
            case "idle": break
            case "CONNECT": try machine.begin(.connect, target: host.span, host: host.span, into: &request)
            case "HEAD": try machine.begin(.head, target: [0x2F].span, host: host.span, into: &request)
            case "upgrade": try machine.begin(.get, target: [0x2F].span, host: host.span, fields: upgrade.span, into: &request)
            default: try machine.begin(.get, target: [0x2F].span, host: host.span, into: &request)
            }
            if words[1] != "idle" { try machine.end(into: &request) }
            let seen = try observe(&machine, vector, pieces: size, HTTPEventLine.text) { _, _, _ in }
            #expect(HTTPEventLine.joined(seen.events) == vector.events, "in pieces of \(size)")
            #expect(seen.violation.map(name) == vector.violation, "in pieces of \(size)")
            #expect(seen.output == "")
        }
    }

    private func name(_ violation: HTTPViolation) -> String { enumCaseName(violation).map { String(cString: $0) } ?? "" }

    private func limits(_ words: some Sequence<Substring>) throws -> HTTPLimits {
        var limits = HTTPLimits()
        for word in words {
            let parts = word.split(separator: "=")
            let value = try #require(parts.last.flatMap { Int($0) })
            switch parts[0] {
            case "startLine": limits.startLineMax = value
            case "fieldsBytes": limits.fieldsBytesMax = value
            case "fields": limits.fieldsMax = value
            case "body": limits.bodyMax = UInt64(value)
            case "chunkLine": limits.chunkLineMax = value
            default: throw TestVector.Unreadable(line: String(word))
            }
        }
        return limits
    }

    /// What the README says that a server answers.
    private struct Answers {
        private var last: HTTPServerOutgoing?

        mutating func answer(_ machine: inout HTTPServerMachine, _ event: HTTPServerEvent, _ output: inout ByteBuffer) throws {
            switch event {
            case .request(let head):
                if head.expectsContinue { try machine.send(.inform(100), into: &output) }
                let upgrade = Array("Upgrade: websocket\r\n".utf8)
                last = head.method == .connect ? .accept(200) : head.wantsUpgrade ? .accept(101, fields: upgrade) : .response(204)
            case .end: if let last { try machine.send(last, into: &output) }
            case .body, .tunnel: break
            }
        }
    }

    private struct Seen {
        var events: [String] = []
        var violation: HTTPViolation?
        var output = ""
    }

    /// What a driver does: shows the bytes in pieces, then the end.
    private func observe<Machine: ProtocolMachine & ~Copyable>(
        _ machine: inout Machine, _ vector: TestVector, pieces size: Int, _ text: (Machine.Event.Owned) -> String,
        answer: (inout Machine, Machine.Event, inout ByteBuffer) throws -> Void
    ) throws -> Seen where Machine.Violation == HTTPViolation {
        var seen = Seen(), unread = UnreadBytes(), output = ByteBuffer()
        let bytes = vector.input
        do {
            for at in stride(from: 0, to: bytes.count, by: max(1, size)) {
                try show(bytes.span.extracting(at..<min(at + max(1, size), bytes.count)))
            }
            if vector.ends {
                try machine.receiveEnd(at: Instant(nanoseconds: 0), into: &output)
                try show(Span())
            }
        } catch let violation as HTTPViolation {
            seen.violation = violation
            var input = ByteReader(bytes.span)
            let said = output.count
            let silent = try machine.nextEvent(from: &input, into: &output)
            let saidMore = output.count
            #expect(silent == nil && said == saidMore && machine.deadline == .never)
        }
        seen.output = output.span.text
        return seen

        func show(_ new: Span<UInt8>) throws {
            var used = 0
            do {
                let all = unread.show(new)
                var input = ByteReader(all)
                while let event = try machine.nextEvent(from: &input, into: &output) {
                    seen.events.append(text(event.owned(in: all)))
                    try answer(&machine, event, &output)
                }
                used = input.offset
            }
            unread.keep(new, used: used)
        }
    }
}

/// The name of an enumeration's case, where its description is a sentence.
@_silgen_name("swift_EnumCaseName") private func enumCaseName<Value>(_ value: Value) -> UnsafePointer<CChar>?
