import MartletBytes
import MartletEventLoop
import MartletHTTPProtocol
import MartletPipe
import MartletWebSocketLayer
import MartletWebSocketProtocol
import Testing

/// A stream over WebSocket, both sides, over a kernel in memory: bytes go through as they are, and every end is told.
@Suite struct WebSocketLayerTests {
    final class Ear: Channel {
        var echoes = false
        var heard: [UInt8] = []
        var happened: [String] = []
        var failure: LayerFailure?

        override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
            heard += bytes.array
            if echoes { say(bytes.array, on: loop) }
            return bytes.count
        }
        func say(_ bytes: [UInt8], on loop: EventLoop) {
            loop.willWrite(slot)
            loop[output: slot].append(bytes.span)
        }
        override func secured(on loop: EventLoop) { happened.append("secured") }
        override func closed(_ reason: CloseReason, on loop: EventLoop) {
            happened.append("closed")
            if case .layerFailed(let failure) = reason { self.failure = failure }
        }
    }

    /// One side on a loop, the other by hand.
    final class Bench {
        let network = PipeNetwork()
        let loop: EventLoop
        let ear = Ear()
        let far: Int32

        init(_ layer: StreamLayer) {
            loop = EventLoop(kernel: PipeKernel(network))
            let (near, far) = network.makeStream()
            self.far = far
            network.capacity = 1 << 22
            loop.add(ear, Transport(descriptor: near, layer: layer))
        }
        func hear(_ bytes: [UInt8]) {
            network.write(bytes, to: far)
            for _ in 0..<200 { loop.tick(until: loop.now) }
        }
        func said() -> [UInt8] {
            for _ in 0..<3 { loop.tick(until: loop.now) }
            return network.read(from: far)
        }
    }

    /// A frame as a client sends it.
    static func frame(_ first: UInt8, _ payload: [UInt8]) -> [UInt8] {
        let mask: [UInt8] = [1, 2, 3, 4]
        let length: [UInt8] =
            payload.count < 126
            ? [0x80 | UInt8(payload.count)]
            : payload.count < 65536
                ? [0x80 | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
                : [0x80 | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        return [first] + length + mask + payload.enumerated().map { $1 ^ mask[$0 & 3] }
    }
    static let numbers = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }

    @Test("Messages are a stream, wherever they and their fragments begin and end", arguments: [1, 5, 1000, 70_000, 300_000])
    func stream(size: Int) {
        let bench = Bench(WebSocketLayer()), bytes = Array(Self.numbers.prefix(size == 1 ? 2_000 : 300_000))
        var sent: [UInt8] = []
        for (index, start) in stride(from: 0, to: bytes.count, by: size).enumerated() {
            let piece = Array(bytes[start..<min(bytes.count, start + size)])
            if index % 3 == 2 {
                let half = piece.count / 2
                sent += Self.frame(0x02, Array(piece[..<half])) + Self.frame(0x89, [7]) + Self.frame(0x00, []) + Self.frame(0x80, Array(piece[half...]))
            } else {
                sent += Self.frame(0x82, piece)
            }
        }
        for start in stride(from: 0, to: sent.count, by: 9_973) { bench.hear(Array(sent[start..<min(sent.count, start + 9_973)])) }
        #expect(bench.ear.heard == bytes)
        let pongs = bench.said()
        #expect(pongs == Array(repeating: [0x8A, 1, 7], count: pongs.count / 3).flatMap { $0 })
        #expect(pongs.count / 3 == (bytes.count + size - 1) / size / 3)
    }

    @Test("What is written leaves in binary messages")
    func writing() {
        let bench = Bench(WebSocketLayer())
        bench.ear.say([1, 2, 3], on: bench.loop)
        bench.ear.say([4], on: bench.loop)
        #expect(bench.said() == [0x82, 4, 1, 2, 3, 4])
        bench.ear.say(Array(Self.numbers), on: bench.loop)
        var said = bench.said()[...], got: [UInt8] = []
        while said.count > 10 {
            #expect(said.removeFirst() == 0x82)
            let short = Int(said.removeFirst())
            var length = short < 126 ? short : 0
            for _ in 0..<(short < 126 ? 0 : short == 126 ? 2 : 8) { length = length << 8 | Int(said.removeFirst()) }
            got += said.prefix(length)
            said = said.dropFirst(length)
        }
        #expect(got == Self.numbers)
    }

    @Test("Text is refused with 1003, whole, in fragments and cut", arguments: [Self.frame(0x81, [65]), Self.frame(0x01, [65]), [0x81, 0x85, 1, 2, 3, 4, 0]])
    func text(bytes: [UInt8]) {
        let bench = Bench(WebSocketLayer())
        bench.hear(Self.frame(0x82, [1]) + bytes)
        #expect(bench.ear.heard == [1])
        #expect(bench.ear.failure?.kind == .protocolError)
        let said = bench.said()
        #expect(said.prefix(2) == [0x88, UInt8(said.count - 2)])
        #expect(said[2...3] == [0x03, 0xEB])
    }

    @Test(
        "A violation is told by its code",
        arguments: [(Self.frame(0x83, []), 1002), ([0x82, 0x01, 0x00], 1002), (Self.frame(0x80, [1]), 1002), (Self.frame(0x88, [3]), 1002)])
    func violation(bytes: [UInt8], code: Int) {
        let bench = Bench(WebSocketLayer())
        bench.hear(Self.frame(0x82, [1]) + bytes)
        #expect(bench.ear.heard == [1])
        #expect(bench.ear.failure?.kind == .protocolError)
        let said = bench.said()
        #expect(said[0] == 0x88 && Int(said[2]) << 8 | Int(said[3]) == code)
    }

    @Test("The peer's Close ends the stream, and its answer stands behind what was written")
    func close() {
        let bench = Bench(WebSocketLayer())
        bench.ear.echoes = true
        bench.hear(Self.frame(0x82, [9, 8]) + Self.frame(0x88, [0x0F, 0xA1, 0x62]))
        #expect(bench.said() == [0x82, 2, 9, 8, 0x88, 2, 0x0F, 0xA1])
        #expect(bench.ear.happened == ["closed"] && bench.ear.failure == nil)
    }

    @Test("finish says Close behind the output; a stream that ends without one was cut")
    func ends() {
        let bench = Bench(WebSocketLayer())
        bench.ear.say([1], on: bench.loop)
        bench.loop.finish(bench.ear, .finished)
        #expect(bench.said() == [0x82, 1, 1, 0x88, 2, 0x03, 0xE8])
        let cut = Bench(WebSocketLayer())
        cut.hear(Self.frame(0x82, [1]))
        cut.network.end(cut.far)
        cut.hear([])
        #expect(cut.ear.failure?.kind == .truncated)
    }

    // MARK: The client

    /// Answers a handshake as a server.
    static func answer(_ request: [UInt8], subprotocol: String? = "mqtt") throws -> [UInt8] {
        let lines = String(decoding: request, as: UTF8.self).split(separator: "\r\n")
        func value(_ name: String) -> String? { lines.first { $0.lowercased().hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) } }
        var handshake = WebSocketServerHandshake(subprotocols: ["mqtt"])
        handshake.needsSubprotocol = true
        let asked = WebSocketRequest(version: value("sec-websocket-version"), key: value("sec-websocket-key"), subprotocols: value("sec-websocket-protocol"))
        var fields = try handshake.answer(asked).fields.filter { $0.name != "Sec-WebSocket-Protocol" }
        if let subprotocol { fields.append(("Sec-WebSocket-Protocol", subprotocol)) }
        let text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        return Array((text + fields.map { "\($0.name): \($0.value)\r\n" }.joined() + "\r\n").utf8)
    }

    static func client() -> Bench { Bench(WebSocketClientLayer(host: "a.example:81", target: "/mqtt?x", subprotocol: "mqtt")) }

    @Test("A client opens with a handshake, and then speaks and hears", arguments: [1, 1000])
    func client(cut: Int) throws {
        let bench = Self.client()
        bench.ear.say([1, 2], on: bench.loop)
        let request = bench.said(), text = String(decoding: request, as: UTF8.self)
        #expect(text.hasPrefix("GET /mqtt?x HTTP/1.1\r\nHost: a.example:81\r\n") && text.hasSuffix("\r\n\r\n"))
        #expect(text.lowercased().contains("connection: upgrade\r\n"))
        let answer = try Array("HTTP/1.1 103 Early Hints\r\n\r\n".utf8) + Self.answer(request) + [0x82, 1, 7, 0x82, 2, 8, 9]
        for start in stride(from: 0, to: answer.count, by: cut) { bench.hear(Array(answer[start..<min(answer.count, start + cut)])) }
        #expect(bench.ear.heard == [7, 8, 9])
        #expect(bench.ear.happened == ["secured"])
        let said = bench.said()
        #expect(said.count == 8 && said[0...1] == [0x82, 0x82])
        #expect([said[6] ^ said[2], said[7] ^ said[3]] == [1, 2])
    }

    @Test(
        "Whoever does not agree is named",
        arguments: [
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n", "220 mail.example ESMTP\r\n",
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        ])
    func refusal(answer: String) {
        let bench = Self.client()
        _ = bench.said()
        bench.hear(Array(answer.utf8))
        #expect(bench.ear.failure?.kind == .upgradeRefused)
        #expect(bench.ear.heard.isEmpty)
    }

    @Test("A server without the subprotocol, and one that goes away, are refused")
    func disagreement() throws {
        let without = Self.client(), gone = Self.client()
        without.hear(try Self.answer(without.said(), subprotocol: nil))
        #expect(without.ear.failure?.text.contains("subprotocol mqtt") == true)
        gone.network.end(gone.far)
        gone.hear([])
        #expect(gone.ear.failure?.kind == .upgradeRefused)
    }
}
