import MartletBytes
import MartletHTTPProtocol
import Testing

/// A client's machine and a server's, with nothing between them but bytes that arrive in pieces.
@Suite("HTTP client and server, paired")
struct HTTPPairTests {
    struct Message: Equatable {
        var fields: [UInt8] = []
        var content: [UInt8] = []
        var trailers: [UInt8] = []
        var isChunked = false
    }

    /// xorshift64*.
    struct Seed {
        var state: UInt64

        mutating func next(_ bound: Int) -> Int {
            state ^= state >> 12
            state ^= state << 25
            state ^= state >> 27
            return Int(truncatingIfNeeded: (state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
        }

        mutating func message() -> Message {
            let isChunked = next(2) == 0
            let fields = ["", "X: y\r\n", "Accept: */*\r\nX-Long: \(String(repeating: "z", count: next(200)))\r\n"][next(3)]
            let content = (0..<[0, 1, 10, 300][next(4)]).map { _ in UInt8(truncatingIfNeeded: next(256)) }
            let trailers = isChunked && next(2) == 0 ? Array("X-Sum: 1\r\n".utf8) : []
            return Message(fields: Array(fields.utf8), content: content, trailers: trailers, isChunked: isChunked)
        }
    }

    private static let now = Instant(nanoseconds: 0)

    /// What arrived of one message.
    private struct Arrived {
        var head: String?
        var information = 0
        var message = Message()
        var hasEnded = false
    }

    /// One exchange at a time over one connection.
    private struct Link: ~Copyable {
        var client = HTTPClientMachine(now: HTTPPairTests.now), server = HTTPServerMachine(limits: HTTPLimits(), now: HTTPPairTests.now)
        var up = Direction(), down = Direction()
        var fromClient = ByteBuffer(), fromServer = ByteBuffer()

        mutating func exchange(_ method: String, _ request: Message, status: UInt16, _ response: Message, _ seed: inout Seed) throws -> (Arrived, Arrived) {
            let requestLength: HTTPContentLength = request.isChunked ? .unknown : .exactly(UInt64(request.content.count))
            let responseLength: HTTPContentLength = response.isChunked ? .unknown : .exactly(UInt64(response.content.count))
            try client.send(
                .begin(method: Array(method.utf8), target: Array("/a?b".utf8), host: Array("a:1".utf8), fields: request.fields, content: requestLength),
                into: &fromClient)
            var unsent = request.content[...], hasSent = false
            var atServer = Arrived(), atClient = Arrived()
            for _ in 0..<10_000 where !atClient.hasEnded || !hasSent {
                if !hasSent {
                    let piece = unsent.prefix(1 + seed.next(50))
                    unsent = unsent.dropFirst(piece.count)
                    try client.send(.append(Array(piece)), into: &fromClient)
                    if unsent.isEmpty {
                        try client.send(.end(trailers: request.trailers), into: &fromClient)
                        hasSent = true
                    }
                }
                up.take(&fromClient)
                let taken = try up.deliver(1 + seed.next(80), to: &server, at: HTTPPairTests.now, into: &fromServer) { server, event, output in
                    guard case .end = event else { return }
                    if seed.next(2) == 0 { try server.send(.inform(103, fields: response.fields), into: &output) }
                    try server.send(.begin(status, fields: response.fields, content: responseLength), into: &output)
                    var rest = response.content[...]
                    while !rest.isEmpty {
                        let piece = rest.prefix(1 + seed.next(50))
                        rest = rest.dropFirst(piece.count)
                        try server.send(.append(Array(piece)), into: &output)
                    }
                    try server.send(.end(trailers: response.trailers), into: &output)
                }
                for event in taken { HTTPPairTests.note(event, in: &atServer) }
                down.take(&fromServer)
                let heard = try down.deliver(1 + seed.next(80), to: &client, at: HTTPPairTests.now, into: &fromClient) { _, _, _ in }
                for event in heard { HTTPPairTests.note(event, in: &atClient) }
            }
            return (atServer, atClient)
        }
    }
    private static func note(_ event: HTTPServerEvent.Owned, in arrived: inout Arrived) {
        switch event {
        case .request(let head):
            arrived.head = "\(String(decoding: head.method + [32] + head.target + [32] + head.host, as: UTF8.self))"
            arrived.message.fields = own(head.fields)
            arrived.message.isChunked = head.isChunked
        case .body(let bytes): arrived.message.content += bytes
        case .end(let trailers):
            arrived.message.trailers = trailers
            arrived.hasEnded = true
        case .tunnel: arrived.head = nil
        }
    }

    private static func note(_ event: HTTPClientEvent.Owned, in arrived: inout Arrived) {
        switch event {
        case .information: arrived.information += 1
        case .response(let head):
            arrived.head = "\(head.status)"
            arrived.message.fields = own(head.fields)
            arrived.message.isChunked = head.isChunked
        case .body(let bytes): arrived.message.content += bytes
        case .end(let trailers):
            arrived.message.trailers = trailers
            arrived.hasEnded = true
        case .tunnel: arrived.head = nil
        }
    }

    /// Without what the machines write themselves.
    private static func own(_ fields: [UInt8]) -> [UInt8] {
        let written = ["host", "content-length", "transfer-encoding", "connection"]
        return HTTPEventLine.list(fields).filter { !written.contains(String(decoding: $0.name, as: UTF8.self).lowercased()) }.flatMap { line in
            line.name + [58, 32] + line.value + [13, 10]
        }
    }

    @Test("What one side says arrives at the other, however it is cut; many exchanges on one connection", arguments: 1...100 as ClosedRange<UInt64>)
    func exchanges(number: UInt64) throws {
        var seed = Seed(state: number &* 0x9E37_79B9_7F4A_7C15), link = Link()
        for _ in 0..<12 {
            let method = ["GET", "POST", "HEAD", "PURGE"][seed.next(4)], status: UInt16 = [200, 404, 204, 304, 205][seed.next(5)]
            let request = seed.message(), response = seed.message()
            let (atServer, atClient) = try link.exchange(method, request, status: status, response, &seed)
            #expect(atServer.head == "\(method) /a?b a:1" && atServer.message == request)
            #expect(atClient.head == "\(status)" && atClient.message.fields == response.fields && atClient.hasEnded)
            // No content: the answer to HEAD, 204, 205, 304.
            if method == "HEAD" || status == 204 || status == 205 || status == 304 {
                #expect(atClient.message.content == [] && atClient.message.trailers == [])
            } else {
                #expect(atClient.message == response)
            }
            let areIdle = link.client.isIdle && link.server.isIdle
            #expect(areIdle)
        }
    }

    @Test("The client's last request ends the connection at both sides")
    func lastRequest() throws {
        var seed = Seed(state: 7), link = Link()
        link.client.sendNoMore()
        let (_, atClient) = try link.exchange("GET", Message(), status: 200, Message(content: [1]), &seed)
        let areClosed = link.client.isClosed && link.server.isClosed
        #expect(atClient.message.content == [1] && areClosed)
    }

    @Test("The server's last response ends the connection at both sides")
    func lastResponse() throws {
        var seed = Seed(state: 8), link = Link()
        _ = try link.exchange("GET", Message(), status: 200, Message(content: [1]), &seed)
        let head = Array("GET / HTTP/1.1\r\nHost: a\r\n".utf8)
        _ = try link.up.deliver(0, to: &link.server, at: Self.now, into: &link.fromServer) { _, _, _ in }
        link.up.inFlight += head
        _ = try link.up.deliver(head.count, to: &link.server, at: Self.now, into: &link.fromServer) { _, _, _ in }
        // In the middle of a head: the request is still answered.
        link.server.takeNoMore()
        link.up.inFlight += [13, 10]
        _ = try link.up.deliver(2, to: &link.server, at: Self.now, into: &link.fromServer) { server, event, output in
            if case .end = event { try server.send(.response(200), into: &output) }
        }
        let said = link.fromServer.span.text, isClosed = link.server.isClosed
        #expect(said == "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" && isClosed)
    }

    @Test("An upgrade, and a tunnel")
    func tunnels() throws {
        for isConnect in [true, false] {
            var link = Link()
            let fields = isConnect ? [] : Array("Upgrade: websocket\r\n".utf8), target = Array((isConnect ? "a:1" : "/").utf8)
            try link.client.send(
                .begin(method: Array((isConnect ? "CONNECT" : "GET").utf8), target: target, host: Array("a:1".utf8), fields: fields), into: &link.fromClient)
            try link.client.send(.end(), into: &link.fromClient)
            // Sent at once: the server keeps it for whoever takes over.
            link.fromClient.append(utf8: "early")
            link.up.take(&link.fromClient)
            let atServer = try link.up.deliver(1000, to: &link.server, at: Self.now, into: &link.fromServer) { server, event, output in
                if case .end = event { try server.send(.accept(isConnect ? 200 : 101, fields: fields), into: &output) }
            }
            #expect(atServer.last == .tunnel(Array("early".utf8)))
            link.fromServer.append(utf8: "raw")
            link.down.take(&link.fromServer)
            let atClient = try link.down.deliver(1000, to: &link.client, at: Self.now, into: &link.fromClient) { _, _, _ in }
            #expect(atClient.last == .tunnel(Array("raw".utf8)) && atClient.count == 2)
        }
    }
}
