import MartletBytes
import MartletWebSocketProtocol
import MartletZMTPProtocol
import Testing

/// `Tests/Vectors/zmtp`: what is read, and what is refused.
@Suite("ZMTP vectors")
struct ZMTPVectorTests {
    private static let sizes = [1, 2, 3, 7, 64]

    @Test("The folder holds at least 150 vectors, each under a name of its own, and one for each violation that needs neither time nor keys")
    func enough() throws {
        let vectors = try TestVector.all(in: "zmtp")
        #expect(vectors.count >= 150)
        #expect(Set(vectors.map(\.description)).count == vectors.count)
        let elsewhere: Set<ZMTPViolation> = [.handshakeTimedOut, .heartbeatMissed, .timeToLiveOver, .nonceNotHigher]
        let told = Set(vectors.compactMap(\.violation))
        #expect(ZMTPViolation.allCases.filter { !elsewhere.contains($0) && !told.contains("\(name($0))") } == [])
    }

    @Test("Each vector gives its events, output and violation, however it is cut", arguments: try TestVector.all(in: "zmtp"))
    func holds(_ vector: TestVector) throws {
        let state = try ZMTPState(vector.on)
        for size in [vector.input.count] + Self.sizes {
            let seen = try observe(state, vector, pieces: size)
            #expect(seen.events == vector.events, "in pieces of \(size)")
            #expect(seen.violation.map(name) == vector.violation, "in pieces of \(size)")
            let farewell = seen.violation.map { state.saysError && !vector.ends ? error($0) : [] } ?? []
            #expect(hex(seen.output) == hex(vector.output + farewell), "in pieces of \(size)")
        }
    }

    /// The ERROR that says it.
    private func error(_ violation: ZMTPViolation) -> [UInt8] {
        let sentence = "\(violation)".split(separator: " (")[0].replacing(" ", with: "-")
        return [4, UInt8(sentence.utf8.count + 7), 5] + Array("ERROR".utf8) + [UInt8(sentence.utf8.count)] + Array(sentence.utf8)
    }

    private func name(_ violation: ZMTPViolation) -> String { enumCaseName(violation).map { String(cString: $0) } ?? "" }

    private struct Seen {
        var events: [String] = []
        var output: [UInt8] = []
        var violation: ZMTPViolation?
    }

    private func observe(_ state: ZMTPState, _ vector: TestVector, pieces size: Int) throws -> Seen {
        var seen = Seen(), machine = try state.machine(), link = Direction(), output = ByteBuffer()
        link.inFlight = vector.input
        do {
            while !link.inFlight.isEmpty {
                _ = try link.deliver(max(1, size), to: &machine, at: ZMTPPair.start, into: &output) { machine, event, output in
                    if event != .part { seen.events.append(ZMTPEventLine.text(event)) }
                    guard case .authenticate = event else { return }
                    if state.refuses { try machine.refuse(.denied, into: &output) } else { try machine.accept(into: &output) }
                }
            }
            if vector.ends { try machine.receiveEnd(at: ZMTPPair.start, into: &output) }
        } catch let violation as ZMTPViolation {
            seen.violation = violation
            let said = output.count
            var input = ByteReader(vector.input.span)
            let silent = try machine.nextEvent(from: &input, into: &output)
            let saidMore = output.count
            #expect(silent == nil && said == saidMore && machine.deadline == .never)
        }
        seen.output = output.span.array
        return seen
    }
}

/// A machine in the state that a vector's `on` names.
struct ZMTPState {
    private let words: [Substring]
    private let security: ZMTPSecurity
    private let type: ZMTPSocketType?
    private let limits: ZMTPLimits

    init(_ on: String) throws {
        words = on.split(separator: " ")
        let word = words[1]
        type = ZMTPSocketType.allCases.first { "\($0.name)" == word }
        switch words[0].hasPrefix("ws-") ? words[0].dropFirst(3) : words[0] {
        case "plain-client": security = ZMTPPair.securities(.plain).a
        case "plain-server": security = ZMTPPair.securities(.plain).b
        case "curve-client": security = ZMTPPair.securities(.curve).a
        case "curve-server": security = ZMTPPair.securities(.curve).b
        case "null", "ask": security = .null
        default: throw TestVector.Unreadable(line: on)
        }
        var limits = ZMTPLimits()
        for word in words.dropFirst(3) where word != "refuse" && word != "modern" {
            let parts = word.split(separator: "=")
            guard parts.count == 2, let value = Int(parts[1]) else { throw TestVector.Unreadable(line: on) }
            switch parts[0] {
            case "message": limits.messageBytesMax = value
            case "frames": limits.messageFramesMax = value
            case "metadata": limits.metadataBytesMax = value
            case "subscription": limits.subscriptionBytesMax = value
            case "command": limits.commandBytesMax = value
            default: throw TestVector.Unreadable(line: on)
            }
        }
        self.limits = limits
    }

    var refuses: Bool { words.contains("refuse") }
    /// A violation here ends in an ERROR.
    var saysError: Bool { words[2] == "greeted" && !words[0].hasSuffix("client") && !isOverWebSocket }
    private var isOverWebSocket: Bool { words[0].hasPrefix("ws-") }

    func machine() throws -> ZMTPMachine {
        let configuration = ZMTPConfiguration(
            type, security: security, asksForNull: words[0].hasSuffix("ask"), takesOldPeers: !words.contains("modern"), limits: limits, heartbeat: .off)
        var machine =
            isOverWebSocket
            ? ZMTPMachine(configuration, over: .server(path: "/", origins: .sameHost), seed: ZMTPPair.seed(9), now: ZMTPPair.start)
            : ZMTPMachine(configuration, seed: ZMTPPair.seed(9), now: ZMTPPair.start)
        var output = ByteBuffer()
        try machine.greet(into: &output)
        let counterpart = (type ?? .dealer).counterpart
        var bytes: [UInt8] = []
        switch words[2] {
        case "new": break
        case "old": bytes = [0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 1, counterpart == .xsub ? 2 : counterpart.rawValue, 0, 0]
        case "bare": bytes = upgrade("ZWS2.0")
        case "greeted" where isOverWebSocket: bytes = upgrade("ZWS2.0/\(security.mechanism)")
        case "ready" where isOverWebSocket: bytes = upgrade("ZWS2.0/NULL") + carried(ready(counterpart))
        case "greeted": bytes = greeting(minor: 1)
        case "ready": bytes = greeting(minor: 1) + ready(counterpart)
        case "ready3.0": bytes = greeting(minor: 0) + ready(counterpart)
        default: throw TestVector.Unreadable(line: words.joined(separator: " "))
        }
        var input = ByteReader(bytes.span)
        while try machine.nextEvent(from: &input, into: &output) != nil {}
        #expect(input.remaining == 0)
        return machine
    }

    private func greeting(minor: UInt8) -> [UInt8] {
        let mechanism = Array("\(security.mechanism)".utf8)
        let zeros = [UInt8](repeating: 0, count: 52 - mechanism.count)
        return [0xFF, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 3, minor] + mechanism + zeros
    }

    private func upgrade(_ subprotocol: String) -> [UInt8] {
        let key = "dGhlIHNhbXBsZSBub25jZQ=="
        return Array(
            ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: \(key)\r\n"
                + "Sec-WebSocket-Protocol: \(subprotocol)\r\nSec-WebSocket-Version: 13\r\n\r\n").utf8)
    }

    /// A short command as a client's message of WebSocket.
    private func carried(_ command: [UInt8]) -> [UInt8] { [0x82, 0x80 | UInt8(command.count - 1), 0, 0, 0, 0, 2] + command.dropFirst(2) }

    private func ready(_ type: ZMTPSocketType) -> [UInt8] {
        let name = Array("\(type.name)".utf8)
        let body = [5] + Array("READY".utf8) + [11] + Array("Socket-Type".utf8) + [0, 0, 0, UInt8(name.count)] + name
        return [4, UInt8(body.count)] + body
    }
}

/// The name of an enumeration's case, where its description is a sentence.
@_silgen_name("swift_EnumCaseName") private func enumCaseName<Value>(_ value: Value) -> UnsafePointer<CChar>?
