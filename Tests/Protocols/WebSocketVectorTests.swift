import MartletBytes
import MartletWebSocketProtocol
import Testing

/// `Tests/Vectors/websocket`: what is read, and what is refused.
@Suite("WebSocket vectors")
struct WebSocketVectorTests {
    private static let start = Instant(nanoseconds: 0)

    @Test("The folder holds at least 250 vectors, each under a name of its own, and one for each violation that is not a matter of time")
    func enough() throws {
        let vectors = try TestVector.all(in: "websocket")
        #expect(vectors.count >= 250)
        #expect(Set(vectors.map(\.description)).count == vectors.count)
        let timely: Set<WebSocketViolation> = [.silent, .closeTimedOut]
        let told = Set(vectors.compactMap(\.violation))
        #expect(WebSocketViolation.allCases.filter { !timely.contains($0) && !told.contains(name($0)) } == [])
    }

    @Test("Each vector gives its events, its output and its violation, however it is cut", arguments: try TestVector.all(in: "websocket"))
    func vector(_ vector: TestVector) throws {
        for size in [vector.input.count, 1, 2, 3, 5, 7, 64] {
            let seen = try observe(vector, pieces: max(1, size))
            #expect(seen.events == vector.events, "in pieces of \(size)")
            #expect(seen.violation.map(name) == vector.violation, "in pieces of \(size)")
            #expect(hex(seen.output) == hex(vector.output), "in pieces of \(size)")
        }
    }

    private func name(_ violation: WebSocketViolation) -> String { enumCaseName(violation).map { String(cString: $0) } ?? "" }

    private func machine(_ on: String) throws -> WebSocketMachine {
        var limits = WebSocketLimits(), deflates = false, isClosing = false, parameters = WebSocketDeflateParameters()
        limits.pingInterval = nil
        (parameters.serverNoContextTakeover, parameters.clientNoContextTakeover) = (true, true)
        let words = on.split(separator: " ")
        for word in words.dropFirst() {
            let parts = word.split(separator: "="), value = parts.count > 1 ? try #require(Int(parts[1])) : 0
            switch parts[0] {
            case "message": limits.messageMax = value
            case "frame": limits.frameMax = value
            case "fragments": limits.fragmentsMax = value
            case "ratio": limits.inflationRatioMax = value
            case "floor": limits.inflationFloor = value
            case "control": limits.controlFramesPerSecondMax = value
            case "deflate": deflates = true
            case "keeps": (parameters.serverNoContextTakeover, parameters.clientNoContextTakeover) = (false, false)
            case "closing": isClosing = true
            default: throw TestVector.Unreadable(line: on)
            }
        }
        let isClient = words[0] == "client"
        let deflation = deflates ? WebSocketDeflation(parameters, isClient: isClient, sharing: WebSocketCompression(.client)) : nil
        var machine =
            isClient
            ? WebSocketMachine(client: limits, secret: (1, 2), deflation: deflation, now: Self.start)
            : WebSocketMachine(server: limits, deflation: deflation, now: Self.start)
        var output = ByteBuffer()
        if isClosing { try machine.close(into: &output) }
        return machine
    }

    private struct Seen {
        var events: [String] = []
        var violation: WebSocketViolation?
        /// Unmasked, and without the words of a violation's Close.
        var output: [UInt8] = []
    }

    /// What a driver does: shows the bytes in pieces, then the end.
    private func observe(_ vector: TestVector, pieces size: Int) throws -> Seen {
        var machine = try machine(vector.on)
        var seen = Seen(), unread = UnreadBytes(), output = ByteBuffer()
        let bytes = vector.input
        do throws(WebSocketViolation) {
            for at in stride(from: 0, to: bytes.count, by: size) {
                let new = bytes.span.extracting(at..<min(at + size, bytes.count))
                var used = 0
                do {
                    let all = unread.show(new)
                    var input = ByteReader(all)
                    while true {
                        let before = input.offset
                        guard let event = try machine.nextEvent(from: &input, into: &output) else {
                            #expect(input.offset == before, "nothing is consumed on nil")
                            break
                        }
                        if let line = WebSocketEventLine.text(event.owned(in: machine.content)) { seen.events.append(line) }
                    }
                    used = input.offset
                }
                unread.keep(new, used: used)
            }
            if vector.ends { try machine.receiveEnd(at: Self.start, into: &output) }
        } catch {
            seen.violation = error
            var input = ByteReader(bytes.span)
            let said = output.count
            let silent = try machine.nextEvent(from: &input, into: &output)
            let saidMore = output.count, deadline = machine.deadline, isClosed = machine.isClosed
            #expect(silent == nil && said == saidMore && deadline == .never && isClosed)
        }
        for var frame in WireFrame.all(output.span.array) {
            #expect(frame.isMasked == vector.on.hasPrefix("client"))
            if let violation = seen.violation, frame.first == 0x88 {
                #expect(frame.payload.count > 2 && violation.description.contains(String(decoding: frame.payload.dropFirst(2), as: UTF8.self)))
                frame.payload.removeLast(frame.payload.count - 2)
            }
            seen.output += frame.bytes
        }
        return seen
    }
}

/// The name of an enumeration's case, where its description is a sentence.
@_silgen_name("swift_EnumCaseName") private func enumCaseName<Value>(_ value: Value) -> UnsafePointer<CChar>?
