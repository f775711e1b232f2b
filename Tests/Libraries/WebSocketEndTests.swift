import MartletEventLoop
import MartletSockets
import MartletWebSocket
import Synchronization
import Testing

/// How connections end, by this side, the peer, the server's end, and by what breaks the rules.
@Suite(.timeLimit(.minutes(10))) struct WebSocketEndTests {
    private static func place(_ url: String) -> String { String(url.dropFirst(5).dropLast()) }

    /// Answers late, so that a Close that did not wait would be first.
    private static let lateEcho: WebSocketHandler = { connection in
        for try await message in connection.messages {
            try await Task.sleep(for: .milliseconds(20))
            try await connection.send(message)
        }
    }

    @Test(arguments: [false, true])
    func `what came before the peer's Close is answered before it`(byEvents: Bool) async throws {
        try await withWebSocketServer(events: byEvents ? webSocketEchoEvents : nil, Self.lateEcho) { url in
            try await TCP.withConnection(to: Self.place(url)) { connection in
                let peer = try await RawWebSocket(connection)
                try await peer.send(RawWebSocket.text("a"), RawWebSocket.text("b"), RawWebSocket.close(1000, "done"), RawWebSocket.text("late"))
                #expect(try await peer.next()?.text == "a")
                #expect(try await peer.next()?.text == "b")
                let close = try #require(try await peer.next())
                #expect(close.first == 0x88 && close.code == 1000)
                #expect(try await peer.next() == nil)
            }
        }
    }

    @Test(arguments: [false, true])
    func `what came before a violation is answered before its Close, and nothing after it`(byEvents: Bool) async throws {
        let violations: [([UInt8], Int)] = [
            ([0xF1, 0x80, 0, 0, 0, 0], 1002), ([0x81, 0x01, 0x41], 1002), (RawWebSocket.frame(0x81, [0xC3, 0x28]), 1007),
            (RawWebSocket.frame(0x80, [1]), 1002), (RawWebSocket.frame(0x88, [1]), 1002), ([0x82, 0xFF, 0, 0, 0, 0, 0x7F, 0, 0, 0, 1, 2, 3, 4], 1009),
        ]
        let closed = Told<WebSocketClose>()
        var events = webSocketEchoEvents
        events.closed = { closed.add($1) }
        let handler: WebSocketHandler = { connection in
            do { try await Self.lateEcho(connection) } catch let error as WebSocketError {
                if let close = error.close { closed.add(close) }
                throw error
            }
        }
        try await withWebSocketServer(events: byEvents ? events : nil, handler) { url in
            for (frame, code) in violations {
                try await TCP.withConnection(to: Self.place(url)) { connection in
                    let peer = try await RawWebSocket(connection)
                    try await peer.send(RawWebSocket.text("before"), frame, RawWebSocket.text("after"))
                    #expect(try await peer.next()?.text == "before")
                    let close = try #require(try await peer.next())
                    #expect(close.first == 0x88 && close.code == code, "\(frame): \(close.code) \(close.reason)")
                    #expect(try await peer.next() == nil)
                }
            }
            try await closed.wait(for: violations.count)
        }
        #expect(closed.all.map { Int($0.code.rawValue) } == violations.map(\.1) && closed.all.allSatisfy { $0.by == .here && !$0.isNormal })
    }

    @Test func `a handler that never asks for more is not waited for longer than the time of the close`() async throws {
        let options = webSocketOptions { $0.webSocket.limits.closeTimeout = .milliseconds(50) }
        let release = Once<Void>()
        try await withWebSocketServer(options: options) { connection in
            _ = try await connection.receive()
            await release.wait()
        } _: { url in
            try await TCP.withConnection(to: Self.place(url)) { connection in
                let peer = try await RawWebSocket(connection)
                try await peer.send(RawWebSocket.text("a"), RawWebSocket.close(4000))
                #expect(try await peer.next()?.code == 4000)
                #expect(try await peer.next() == nil)
                release.resume(returning: ())
            }
        }
    }

    @Test(arguments: [false, true])
    func `a peer that does not answer Close is cut off in time`(byEvents: Bool) async throws {
        let options = webSocketOptions { $0.webSocket.limits.closeTimeout = .milliseconds(50) }
        let closed = Told<WebSocketClose?>()
        let events = WebSocketEvents(closed: { closed.add($1) }) { peer, _, _ in peer.close(WebSocketCloseCode(rawValue: 4001), reason: "go") }
        try await withWebSocketServer(options: options, events: byEvents ? events : nil) { connection in
            _ = try await connection.receive()
            try await connection.close(WebSocketCloseCode(rawValue: 4001), reason: "go")
            closed.add(connection.closed)
        } _: { url in
            try await TCP.withConnection(to: Self.place(url)) { connection in
                let peer = try await RawWebSocket(connection)
                try await peer.send(RawWebSocket.text("a"))
                #expect(try await peer.next()?.code == 4001)
                // It goes on, unheard.
                try await peer.send(RawWebSocket.text("b"))
                #expect(try await peer.next() == nil)
            }
            try await closed.wait(for: 1)
        }
        #expect(closed.all.first??.isClean == false && closed.all.first??.code.rawValue == 4001)
    }

    @Test(arguments: [false, true])
    func `a peer that answers no ping is told 1011 and cut off; one that sends anything lives`(byEvents: Bool) async throws {
        let options = webSocketOptions {
            $0.webSocket.limits.pingInterval = .milliseconds(40)
            $0.webSocket.limits.pongTimeout = .milliseconds(1000)
        }
        let closed = Told<WebSocketClose?>()
        var events = webSocketEchoEvents
        events.closed = { closed.add($1) }
        let handler: WebSocketHandler = { connection in
            do { try await webSocketEcho(connection) } catch {
                closed.add((error as? WebSocketError)?.close)
                throw error
            }
        }
        try await withWebSocketServer(options: options, events: byEvents ? events : nil, handler) { url in
            try await TCP.withConnection(to: Self.place(url)) { connection in
                let peer = try await RawWebSocket(connection)
                #expect(try await peer.next()?.first == 0x89)
                // Some answer is one, if it is no pong.
                for _ in 0..<4 {
                    try await Task.sleep(for: .milliseconds(300))
                    try await peer.send(RawWebSocket.text("alive"))
                    #expect(try await peer.next()?.text == "alive")
                }
                let began = ContinuousClock.now
                let close = try #require(try await peer.next())
                #expect(close.first == 0x88 && close.code == 1011 && .now - began > .milliseconds(800))
                #expect(try await peer.next() == nil)
            }
            try await closed.wait(for: 1)
        }
        #expect(closed.all.first??.by == .nobody && closed.all.first??.reason.contains("ping") == true)
    }

    @Test(arguments: [false, true])
    func `a connection that is lost is an error, 1006`(byEvents: Bool) async throws {
        let closed = Told<WebSocketClose?>()
        var events = webSocketEchoEvents
        events.closed = { closed.add($1) }
        let handler: WebSocketHandler = { connection in
            do { try await webSocketEcho(connection) } catch {
                closed.add((error as? WebSocketError)?.close)
                throw error
            }
        }
        try await withWebSocketServer(events: byEvents ? events : nil, handler) { url in
            for isReset in [false, true] {
                try await TCP.withConnection(to: Self.place(url)) { connection in
                    let peer = try await RawWebSocket(connection)
                    try await peer.send(RawWebSocket.text("a"))
                    _ = try await peer.next()
                    if isReset { connection.abort() }
                }
            }
            try await closed.wait(for: 2)
        }
        #expect(closed.all.allSatisfy { $0?.code == .abnormal && $0?.by == .nobody })
    }

    @Test func `a client whose server goes away throws, and its sends do`() async throws {
        try await withRawServer { connection, _ in
            let head = try await hearHead(connection)
            let key = try #require(head.firstMatch(of: /Sec-WebSocket-Key: (.*)\r\n/)?.1)
            let answer = try WebSocketServerHandshake().answer(WebSocketRequest(version: "13", key: String(key)))
            let fields = answer.fields.map { "\($0.name): \($0.value)\r\n" }.joined()
            try await connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\(fields)\r\n")
            try await connection.write([0x81, 0x02, 0x68, 0x69])
            _ = try await connection.read(timeout: .seconds(20))
            connection.abort()
        } _: { url in
            try await WebSocketConnection.withConnection(to: url.replacing("http", with: "ws")) { connection in
                #expect(try await connection.receive() == "hi")
                try await connection.send("go")
                let error = await #expect(throws: WebSocketError.self) { try await connection.receive() }
                #expect(error?.close?.by == .nobody)
                await #expect(throws: WebSocketError.self) { try await connection.send("late") }
                await #expect(throws: WebSocketError.self) { try await connection.ping() }
            }
        }
    }

    // MARK: The server's end

    private struct Serving {
        let url: String
        let task: Task<Void, any Error>

        init(grace: Duration = .seconds(300), events: WebSocketEvents? = nil, _ handler: @escaping WebSocketHandler = { _ in }) async throws {
            let options = webSocketOptions { $0.http.grace = grace }
            let (places, source) = AsyncStream.makeStream(of: String.self)
            task = Task {
                if let events {
                    try await WebSocketConnection.serve(on: "ws://127.0.0.1:0", options: options, ready: { source.yield("\($0)") }, events: events)
                } else {
                    try await WebSocketConnection.serve(on: "ws://127.0.0.1:0", options: options, ready: { source.yield("\($0)") }, handler)
                }
            }
            var iterator = places.makeAsyncIterator()
            url = "ws://\(try #require(await iterator.next()))/"
        }
    }

    @Test(arguments: [false, true])
    func `at the server's end its clients hear 1001, and it waits for no longer than they`(byEvents: Bool) async throws {
        let server = try await Serving(events: byEvents ? webSocketEchoEvents : nil, webSocketEcho)
        try await WebSocketConnection.withConnection(to: server.url) { connection in
            try await connection.send("a")
            #expect(try await connection.receive() == "a")
            server.task.cancel()
            #expect(try await connection.receive() == nil)
            #expect(connection.closed?.code == .goingAway && connection.closed?.by == .peer)
        }
        try await server.task.value
    }

    @Test func `a handler that only sends is told, too, by its next sends`() async throws {
        let server = try await Serving { connection in
            while true {
                try await connection.send("tick")
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        try await WebSocketConnection.withConnection(to: server.url) { connection in
            #expect(try await connection.receive() == "tick")
            server.task.cancel()
            while try await connection.receive() != nil {}
            #expect(connection.closed?.code == .goingAway)
        }
        try await server.task.value
    }

    @Test func `at the end of the grace handlers are cancelled, and connections cut`() async throws {
        let ended = Told<Bool>()
        let server = try await Serving(grace: .milliseconds(50)) { connection in
            _ = try await connection.receive()
            do { try await Task.sleep(for: .seconds(300)) } catch { ended.add(true) }
        }
        try await TCP.withConnection(to: Self.place(server.url)) { connection in
            let peer = try await RawWebSocket(connection)
            try await peer.send(RawWebSocket.text("a"))
            server.task.cancel()
            do { while try await peer.next() != nil {} } catch {}
            try await ended.wait(for: 1)
        }
        try await server.task.value
    }
}

/// A server that a client cannot follow.
@Suite(.timeLimit(.minutes(10))) struct WebSocketClientEndTests {
    @Test(arguments: [([0x88, 0x02, 0x03, 0xE8] as [UInt8], 1000), ([0xB1, 0x00], 1002), ([0x81, 0x01, 0xFF], 1007)])
    func `a client, too, answers what came before an end before it says its own Close`(end: [UInt8], code: Int) async throws {
        let heard = Told<[Int]>()
        try await withRawServer { connection, _ in
            let head = try await hearHead(connection)
            let key = try #require(head.firstMatch(of: /Sec-WebSocket-Key: (.*)\r\n/)?.1)
            let answer = try WebSocketServerHandshake().answer(WebSocketRequest(version: "13", key: String(key)))
            let fields = answer.fields.map { "\($0.name): \($0.value)\r\n" }.joined()
            let head101 = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\(fields)\r\n"
            try await connection.write(Array(head101.utf8) + [0x81, 0x01, 0x61, 0x81, 0x01, 0x62] + end)
            // Two echoes of seven bytes, then a Close with its code; all masked.
            var bytes: [UInt8] = []
            while bytes.count < 22, let piece = try await connection.read(timeout: .seconds(20)) { bytes += piece }
            try #require(bytes.count >= 22)
            let unmasked = { (at: Int) in Int(bytes[at] ^ bytes[at - 4]) }
            heard.add([Int(bytes[0]), unmasked(6), Int(bytes[7]), unmasked(13), Int(bytes[14]), unmasked(20) << 8 | unmasked(21)])
        } _: { url in
            try? await WebSocketConnection.withConnection(to: url.replacing("http", with: "ws"), options: webSocketClient { $0.webSocket.deflate = nil }) {
                connection in
                for try await message in connection.messages {
                    try await Task.sleep(for: .milliseconds(20))
                    try await connection.send(message)
                }
            }
            try await heard.wait(for: 1)
        }
        #expect(heard.all == [[0x81, 0x61, 0x81, 0x62, 0x88, code]])
    }
}
