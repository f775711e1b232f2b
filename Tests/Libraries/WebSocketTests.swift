import MartletEventLoop
import MartletSockets
import MartletWebSocket
import Testing

/// This client and this server.
@Suite(.timeLimit(.minutes(10))) struct WebSocketTests {
    private static let sizes = [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20]

    @Test(arguments: [false, true], [false, true])
    func `messages of all sizes come back as they went, in their order`(byEvents: Bool, deflated: Bool) async throws {
        var server = WebSocketServerOptions(), client = WebSocketClientOptions()
        if !deflated { (server.webSocket.deflate, client.webSocket.deflate) = (nil, nil) }
        try await withWebSocketServer(options: server, events: byEvents ? webSocketEchoEvents : nil, webSocketEcho) { [client] url in
            try await WebSocketConnection.withConnection(to: url, options: client) { connection in
                for size in Self.sizes {
                    let binary = WebSocketMessage.binary((0..<size).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 3) })
                    let text = WebSocketMessage.text(String((0..<size / 4).map { Character(Unicode.Scalar(0x1F300 + UInt32($0 & 511))!) }))
                    try await connection.send(binary)
                    try await connection.send(text)
                    #expect(try await connection.receive() == binary)
                    #expect(try await connection.receive() == text)
                }
                async let sent: Void = { for number in 0..<2_000 { try await connection.send("message \(number)") } }()
                for number in 0..<2_000 { #expect(try await connection.receive() == .text("message \(number)")) }
                try await sent
            }
        }
    }

    @Test func `the end of the client's scope is 1000, and its error 1001; the server's handler sees both as ends`() async throws {
        struct Own: Error {}
        let ended = Told<WebSocketClose?>()
        try await withWebSocketServer { connection in
            for try await _ in connection.messages {}
            ended.add(connection.closed)
        } _: { url in
            try await WebSocketConnection.withConnection(to: url) { _ in }
            await #expect(throws: Own.self) { try await WebSocketConnection.withConnection(to: url) { _ in throw Own() } }
            try await ended.wait(for: 2)
        }
        #expect(ended.all.map { $0?.code } == [.normal, .goingAway] && ended.all.allSatisfy { $0?.by == .peer && $0?.isClean == true })
    }

    @Test func `a Close with a code of its own and a reason reaches the other side, which throws it`() async throws {
        let thrown = Told<WebSocketClose?>()
        try await withWebSocketServer { connection in
            do { for try await _ in connection.messages {} } catch {
                thrown.add((error as? WebSocketError)?.close)
                throw error
            }
        } _: { url in
            try await WebSocketConnection.withConnection(to: url) { connection in
                try await connection.close(WebSocketCloseCode(rawValue: 4321), reason: "enough, ünd Schluß")
                await #expect(throws: WebSocketError.self) { try await connection.send("late") }
                #expect(connection.closed?.by == .here && connection.closed?.isClean == true)
            }
            try await thrown.wait(for: 1)
        }
        #expect(thrown.all.first??.code.rawValue == 4321 && thrown.all.first??.reason == "enough, ünd Schluß" && thrown.all.first??.by == .peer)
    }

    @Test func `what a Close cannot carry is refused before anything is sent`() async throws {
        try await withWebSocketServer(webSocketEcho) { url in
            try await WebSocketConnection.withConnection(to: url) { connection in
                for code: UInt16 in [0, 999, 1004, 1006, 1015, 2999, 5000] {
                    await #expect(throws: WebSocketError.self) { try await connection.close(WebSocketCloseCode(rawValue: code)) }
                }
                await #expect(throws: WebSocketError.self) { try await connection.close(reason: String(repeating: "x", count: 124)) }
                try await connection.send("still open")
                #expect(try await connection.receive() == "still open")
            }
        }
    }

    @Test func `a handler that throws is 1011 to the client, one that returns 1000`() async throws {
        struct Own: Error {}
        try await withWebSocketServer { connection in
            let message = try await connection.receive()
            if message == "throw" { throw Own() }
            try await connection.send("bye")
        } _: { url in
            try await WebSocketConnection.withConnection(to: url) { connection in
                try await connection.send("return")
                #expect(try await connection.receive() == "bye")
                #expect(try await connection.receive() == nil)
                #expect(connection.closed?.code == .normal)
            }
            try await WebSocketConnection.withConnection(to: url) { connection in
                try await connection.send("throw")
                let error = await #expect(throws: WebSocketError.self) { try await connection.receive() }
                #expect(error?.close?.code == .internalError && error?.close?.by == .peer)
            }
        }
    }

    @Test func `subprotocols: the client's order decides, and none is no error`() async throws {
        let options = webSocketOptions { $0.webSocket.subprotocols = ["b", "a"] }
        try await withWebSocketServer(options: options) { connection in
            try await connection.send("\(connection.subprotocol ?? "none") \(connection.target) \(connection.fields["x-own"] ?? "")")
        } _: { url in
            for (offered, agreed) in [(["a", "b"], "a"), (["c", "b"], "b"), (["c"], nil), ([], nil)] {
                var client = webSocketClient { $0.webSocket.subprotocols = offered }
                try client.fields.set("X-Own", to: "7")
                try await WebSocketConnection.withConnection(to: "\(url)chat?room=1", options: client) { connection in
                    let said = try await connection.receive()
                    #expect(connection.subprotocol == agreed && said == .text("\(agreed ?? "none") /chat?room=1 7"))
                }
            }
        }
    }

    @Test func `who is refused is told why: no upgrade, a version, a key, an origin`() async throws {
        try await withWebSocketServer(webSocketEcho) { url in
            let place = String(url.dropFirst(5).dropLast())
            let plain = try await exchange(request("GET /"), with: place)
            #expect(plain.statusLine == "HTTP/1.1 426 Upgrade Required" && plain.contains("\r\nSec-WebSocket-Version: 13\r\n"))
            for (text, status) in [
                (RawWebSocket.request(version: "8"), "426"), (RawWebSocket.request("/", ["Origin: https://elsewhere.example"]), "403"),
                (RawWebSocket.request().replacing("dGhlIHNhbXBsZSBub25jZQ==", with: "short"), "400"),
                (RawWebSocket.request().replacing("GET", with: "POST"), "405"),
            ] {
                let answer = try await TCP.withConnection(to: place) { connection in
                    try await connection.write(text)
                    return try await hearHead(connection)
                }
                #expect(answer.hasPrefix("HTTP/1.1 \(status) "), "\(answer)")
            }
            var client = WebSocketClientOptions()
            try client.fields.set("Origin", to: "https://elsewhere.example")
            let error = await #expect(throws: WebSocketError.self) { try await WebSocketConnection.withConnection(to: url, options: client) { _ in } }
            guard case .refused(_, 403, let detail) = error else { throw try #require(error) }
            #expect(detail.contains("origin"))
        }
    }

    @Test func `a server that is none is an error with a reason`() async throws {
        try await withHTTPServer { _ in
            .text("hello")
        } _: { place in
            let error = await #expect(throws: WebSocketError.self) { try await WebSocketConnection.withConnection(to: "ws://\(place)") { _ in } }
            guard case .refused(_, 200, "hello") = error else { throw try #require(error) }
        }
        try await withRawServer { connection, number in
            _ = try await hearHead(connection)
            let accept = number == 1 ? "AAAAAAAAAAAAAAAAAAAAAAAAAAA=" : ""
            try await connection.write(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: \(number == 2 ? "other" : "websocket")\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: \(accept)\r\n\r\n"
            )
            _ = try await connection.read(timeout: .seconds(20))
        } _: { url in
            for _ in 0..<2 {
                let error = await #expect(throws: WebSocketError.self) {
                    try await WebSocketConnection.withConnection(to: url.replacing("http", with: "ws")) { _ in }
                }
                guard case .handshakeInvalid = error else { throw try #require(error) }
            }
        }
        for url in ["http://localhost/", "ws://", "ws://localhost:99999/", "ws://localhost/#part"] {
            let error = await #expect(throws: WebSocketError.self) { try await WebSocketConnection.withConnection(to: url) { _ in } }
            guard case .urlInvalid = error else { throw try #require(error) }
        }
    }

    @Test func `a server may speak right behind its 101, and a client behind its request`() async throws {
        try await withWebSocketServer { connection in
            try await connection.send("welcome")
            try await webSocketEcho(connection)
        } _: { url in
            let said = try await WebSocketConnection.withConnection(to: url) { connection in try await connection.receive() }
            #expect(said == "welcome")
            let place = String(url.dropFirst(5).dropLast())
            try await TCP.withConnection(to: place) { connection in
                try await connection.write(Array(RawWebSocket.request().utf8) + RawWebSocket.text("early"))
                let text = try await answer(from: connection, until: "early")
                #expect(text.contains("welcome"))
            }
        }
    }

    @Test func `pings measure, by hand and by themselves`() async throws {
        let client = webSocketClient { $0.webSocket.limits.pingInterval = .milliseconds(20) }
        try await withWebSocketServer(webSocketEcho) { url in
            try await WebSocketConnection.withConnection(to: url, options: client) { connection in
                let first = try await connection.ping()
                async let one = connection.ping(), two = connection.ping()
                let both = try await (one, two)
                #expect(first > .zero && both.0 > .zero && both.1 > .zero)
                try await eventually { await connection.latency().map { $0 > .zero } ?? false }
            }
        }
    }

    @Test func `cancelling ends a wait for messages, and another task's wait leaves them`() async throws {
        try await withWebSocketServer(webSocketEcho) { url in
            try await WebSocketConnection.withConnection(to: url) { connection in
                let reader = Task { try await connection.receive() }
                try await Task.sleep(for: .milliseconds(10))
                reader.cancel()
                let error = await #expect(throws: WebSocketError.self) { try await reader.value }
                guard case .cancelled = error else { throw try #require(error) }
                try await connection.send("kept")
                #expect(try await connection.receive() == "kept")
            }
            let whole = Task { try await WebSocketConnection.withConnection(to: url) { connection in for try await _ in connection.messages {} } }
            try await Task.sleep(for: .milliseconds(20))
            whole.cancel()
            await #expect(throws: (any Error).self) { try await whole.value }
        }
    }

    @Test func `two readers at once is an error of the second`() async throws {
        try await withWebSocketServer(webSocketEcho) { url in
            try await WebSocketConnection.withConnection(to: url) { connection in
                let first = Task { try await connection.receive() }
                try await eventually {
                    let second = Task { try await connection.receive() }
                    let killer = Task {
                        try await Task.sleep(for: .milliseconds(50))
                        second.cancel()
                    }
                    defer { killer.cancel() }
                    do { _ = try await second.value } catch let error as WebSocketError { if case .busy = error { return true } }
                    return false
                }
                try await connection.send("for the first")
                #expect(try await first.value == "for the first")
            }
        }
    }

    @Test func `a page and a WebSocket share a port`() async throws {
        let endpoint = WebSocketEndpoint(webSocketEcho)
        var router = HTTPRouter()
        router.get("/") { request in request.upgrades.isEmpty ? .html("<p>page</p>") : try endpoint.respond(to: request) }
        try await withHTTPServer(router: router) { place in
            #expect(try await HTTPClient.shared.get("http://\(place)/").text() == "<p>page</p>")
            try await WebSocketConnection.withConnection(to: "ws://\(place)/") { connection in
                try await connection.send("hello")
                #expect(try await connection.receive() == "hello")
                let counters = await endpoint.counters()
                #expect(counters.connections == 1 && counters.messagesReceived == 1 && counters.bytesReceived == 5)
            }
            try await eventually { await endpoint.counters().connections == 0 }
        }
    }

    @Test(arguments: [false, true])
    func `a connection is no request of the server's, however long it lasts`(byCallbacks: Bool) async throws {
        let options = webSocketOptions {
            $0.http.requestsMax = 1
            $0.http.loops = 1
        }
        try await withWebSocketServer(options: options, events: byCallbacks ? webSocketEchoEvents : nil, webSocketEcho) { url in
            try await WebSocketConnection.withConnection(to: url) { first in
                try await WebSocketConnection.withConnection(to: url) { second in
                    for connection in [second, first] {
                        try await connection.send("hello")
                        #expect(try await connection.receive() == "hello")
                    }
                }
            }
        }
    }

    @Test func `over TLS, and over a Unix socket`() async throws {
        let name = "@martlet-ws-\(UInt64.random(in: 0...UInt64.max))"
        let serving = Task { () async throws -> Void in try await WebSocketConnection.serve(on: "ws+unix://\(name)", webSocketEcho) }
        try await eventually {
            do {
                try await WebSocketConnection.withConnection(to: "ws+unix://\(name):/chat") { connection in
                    try await connection.send("unix")
                    #expect(try await connection.receive() == "unix")
                }
                return true
            } catch { return false }
        }
        serving.cancel()
        try await serving.value
    }
}
