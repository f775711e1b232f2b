import MartletBytes
import MartletDeflate
import MartletWebSocketProtocol
import Testing

/// A client's machine and a server's, with nothing between them but bytes that arrive in pieces.
@Suite("WebSocket client and server, paired")
struct WebSocketPairTests {
    static let now = Instant(nanoseconds: 0)

    /// xorshift64*.
    struct Seed {
        var state: UInt64

        mutating func next(_ bound: Int) -> Int {
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return Int(truncatingIfNeeded: (state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
        }

        /// Text that repeats itself, or noise.
        mutating func message() -> WebSocketOutgoing {
            let count = [0, 1, 15, 16, 63, 64, 125, 126, 127, 1000, 65_535, 65_536, 70_001][next(13)]
            if next(2) == 0 { return .binary((0..<count).map { _ in UInt8(truncatingIfNeeded: next(256)) }) }
            let words = (0..<count / 6 + 1).map { _ in ["alpha ", "beta β", "gamma ", "delta "][next(4)] }
            return .text(count == 0 ? [] : Array(words.joined().utf8))
        }
    }

    static func owned(_ message: WebSocketOutgoing) -> WebSocketEvent.Owned {
        switch message {
        case .text(let bytes): .text(bytes)
        case .binary(let bytes): .binary(bytes)
        case .ping(let bytes): .ping(bytes)
        case .pong(let bytes): .pong(bytes)
        case .close(let code, let reason): .close(code, reason: reason)
        }
    }

    /// A connection that both have agreed on.
    struct Link: ~Copyable {
        var client: WebSocketMachine, server: WebSocketMachine
        var up = Direction(), down = Direction()
        var fromClient = ByteBuffer(), fromServer = ByteBuffer()
        var atServer: [WebSocketEvent.Owned] = [], atClient: [WebSocketEvent.Owned] = []

        init(_ parameters: WebSocketDeflateParameters?, server: WebSocketCompression, client: WebSocketCompression) {
            let ours = parameters.map { WebSocketDeflation($0, isClient: false, sharing: server) }
            let theirs = parameters.map { WebSocketDeflation($0, isClient: true, sharing: client) }
            self.server = WebSocketMachine(server: WebSocketLimits(), deflation: ours, now: WebSocketPairTests.now)
            self.client = WebSocketMachine(client: WebSocketLimits(), secret: (5, 6), deflation: theirs, now: WebSocketPairTests.now)
        }

        /// Delivers until nothing is under way.
        mutating func settle(_ seed: inout Seed) throws {
            while true {
                up.take(&fromClient)
                down.take(&fromServer)
                if up.inFlight.isEmpty, down.inFlight.isEmpty { return }
                atServer += try up.deliver(
                    1 + seed.next(30_000), to: &server, at: WebSocketPairTests.now, into: &fromServer,
                    owned: { machine, event, _ in event.owned(in: machine.content) }
                ) { _, _, _ in }
                atClient += try down.deliver(
                    1 + seed.next(30_000), to: &client, at: WebSocketPairTests.now, into: &fromClient,
                    owned: { machine, event, _ in event.owned(in: machine.content) }
                ) { _, _, _ in }
            }
        }

        mutating func heard() -> (atServer: [WebSocketEvent.Owned], atClient: [WebSocketEvent.Owned]) {
            defer { (atServer, atClient) = ([], []) }
            return (atServer.filter { $0 != .part }, atClient.filter { $0 != .part })
        }
    }

    static func parameters(_ seed: inout Seed) -> WebSocketDeflateParameters? {
        guard seed.next(5) > 0 else { return nil }
        var parameters = WebSocketDeflateParameters()
        parameters.serverNoContextTakeover = seed.next(2) == 0
        parameters.clientNoContextTakeover = seed.next(2) == 0
        parameters.serverMaxWindowBits = 8 + seed.next(8)
        parameters.clientMaxWindowBits = 8 + seed.next(8)
        return parameters
    }

    @Test("Messages of every size go both ways, among pings, however deflated; then both sides have closed", arguments: 1...40)
    func exchange(number: UInt64) throws {
        var seed = Seed(state: number &* 0x9E37_79B9_7F4A_7C15 | 1)
        var link = Link(Self.parameters(&seed), server: WebSocketCompression(seed.next(2) == 0 ? .server : .client), client: WebSocketCompression(.client))
        for _ in 0..<12 {
            var up: [WebSocketEvent.Owned] = [], down: [WebSocketEvent.Owned] = []
            for _ in 0..<seed.next(4) {
                let message = seed.message()
                try link.client.send(message, into: &link.fromClient)
                up.append(Self.owned(message))
            }
            for _ in 0..<seed.next(4) {
                let message = seed.message()
                try link.server.send(message, into: &link.fromServer)
                down.append(Self.owned(message))
            }
            try link.settle(&seed)
            let heard = link.heard()
            #expect(heard.atServer == up && heard.atClient == down)
        }
        try link.client.send(.ping([1, 2, 3]), into: &link.fromClient)
        try link.server.send(.close(.goingAway, reason: Array("bye".utf8)), into: &link.fromServer)
        try link.settle(&seed)
        let heard = link.heard(), isOver = link.client.isClosed && link.server.isClosed
        #expect(heard.atClient == [.close(.goingAway, reason: Array("bye".utf8))] && heard.atServer == [.ping([1, 2, 3]), .close(.goingAway, reason: [])])
        #expect(isOver)
        let misuses = [Self.misuse(&link.client, .text([])), Self.misuse(&link.server, .ping([])), Self.misuse(&link.server, .close(.normal))]
        #expect(misuses == [.closed, .closed, .closed])
    }

    static func misuse(_ machine: inout WebSocketMachine, _ message: WebSocketOutgoing) -> WebSocketMisuse? {
        var output = ByteBuffer()
        do throws(WebSocketMisuse) { try machine.send(message, into: &output) } catch {
            #expect(output.count == 0)
            return error
        }
        return nil
    }

    @Test("A frame made once reaches every client, among each one's own messages", arguments: 1...30)
    func broadcast(number: UInt64) throws {
        var seed = Seed(state: number &* 0x9E37_79B9_7F4A_7C15 | 1)
        let shared = WebSocketCompression(seed.next(2) == 0 ? .server : .client)
        var link = Link(Self.parameters(&seed), server: shared, client: WebSocketCompression(.client))
        var sent: [WebSocketEvent.Owned] = []
        for _ in 0..<30 {
            let message = seed.message()
            sent.append(Self.owned(message))
            if seed.next(2) == 0 {
                try link.server.send(message, into: &link.fromServer)
                continue
            }
            switch message {
            case .text(let bytes): try link.server.send(WebSocketFrame(.text, bytes.span, compression: shared), into: &link.fromServer)
            case .binary(let bytes): try link.server.send(WebSocketFrame(.binary, bytes.span, compression: shared), into: &link.fromServer)
            default: break
            }
        }
        try link.settle(&seed)
        let heard = link.heard()
        #expect(heard.atClient == sent)
        let frame = try WebSocketFrame(.text, Array("a".utf8).span)
        #expect(throws: WebSocketMisuse.frameUnmasked) { try link.client.send(frame, into: &link.fromClient) }
    }

    @Test("Closes that cross are both answered by the other")
    func crossing() throws {
        var seed = Seed(state: 1)
        var link = Link(nil, server: WebSocketCompression(.server), client: WebSocketCompression(.client))
        try link.client.send(.close(.normal), into: &link.fromClient)
        try link.server.send(.close(.goingAway), into: &link.fromServer)
        try link.settle(&seed)
        let heard = link.heard(), isOver = link.client.isClosed && link.server.isClosed
        #expect(heard.atClient == [.close(.goingAway, reason: [])] && heard.atServer == [.close(.normal, reason: [])] && isOver)
    }
}
