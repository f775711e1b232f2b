import MartletEventLoop
import MartletSockets
import MartletWebSocket
import Synchronization
import Testing

/// Sides that do not read: what is sent waits in bounded memory, and is all there when they do.
@Suite(.timeLimit(.minutes(10))) struct WebSocketPressureTests {
    private static func place(_ url: String) -> String { String(url.dropFirst(5).dropLast()) }
    /// Sockets with little room, so that what does not leave is in this process.
    private static var narrow: StreamOptions {
        var options = StreamOptions()
        (options.sendBuffer, options.receiveBuffer, options.receiveLimit) = (1 << 14, 1 << 14, 1 << 14)
        return options
    }
    private static func server(_ change: (inout WebSocketServerOptions) -> Void = { _ in }) -> WebSocketServerOptions {
        webSocketOptions {
            $0.http.stream = narrow
            change(&$0)
        }
    }
    private static let piece = [UInt8](repeating: 7, count: 1 << 16)

    @Test func `sending to who does not read waits, and goes on when it reads`() async throws {
        let sent = Tally(), count = 80
        try await withWebSocketServer(options: Self.server()) { connection in
            for _ in 0..<count {
                try await connection.send(Self.piece)
                _ = sent.next()
            }
            try await connection.send("last")
            _ = try await connection.receive()
        } _: { url in
            try await TCP.withConnection(to: Self.place(url), options: Self.narrow) { connection in
                let peer = try await RawWebSocket(connection)
                // It stops somewhere: so many bytes are nowhere else than with the sender.
                var last = -1
                try await eventually("it stops") {
                    let before = sent.value
                    try await Task.sleep(for: .milliseconds(200))
                    last = sent.value
                    return last == before && last > 0
                }
                #expect(last < 40, "5 MiB were to wait with their sender, not \(last) of \(count) pieces with the connection")
                for _ in 0..<count { #expect(try await peer.next()?.payload.count == Self.piece.count) }
                #expect(try await peer.next()?.text == "last")
            }
        }
    }

    @Test func `sending from elsewhere than the loop waits, too, and cancelling ends the wait`() async throws {
        let failed = Told<String>()
        try await withWebSocketServer(options: Self.server()) { connection in
            await withTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: globalConcurrentExecutor) {
                    do { while true { try await connection.send(Self.piece) } } catch { failed.add("\(error)") }
                }
                try? await Task.sleep(for: .milliseconds(300))
                group.cancelAll()
            }
            connection.abort()
        } _: { url in
            try await TCP.withConnection(to: Self.place(url), options: Self.narrow) { connection in
                _ = try await RawWebSocket(connection)
                try await failed.wait(for: 1)
                #expect(failed.all == ["cancelled"])
            }
        }
    }

    @Test func `who is not read from cannot send without end, and nothing is lost`() async throws {
        let release = Once<Void>(), received = Tally(), count = 80
        try await withWebSocketServer(options: Self.server()) { connection in
            await release.wait()
            for try await _ in connection.messages { _ = received.next() }
        } _: { url in
            let sent = Tally()
            let client = webSocketClient {
                $0.http.stream = Self.narrow
                $0.webSocket.deflate = nil
            }
            try await WebSocketConnection.withConnection(to: url, options: client) { connection in
                async let all: Void = {
                    for _ in 0..<count {
                        try await connection.send(Self.piece)
                        _ = sent.next()
                    }
                }()
                var last = -1
                try await eventually("it stops") {
                    let before = sent.value
                    try await Task.sleep(for: .milliseconds(200))
                    last = sent.value
                    return last == before && last > 0
                }
                #expect(last < 40)
                release.resume(returning: ())
                try await all
            }
            try await eventually { received.value == count }
        }
    }

    @Test func `who sends and takes no answers is not read from, by callbacks`() async throws {
        let received = Tally(), count = 80
        let events = WebSocketEvents { peer, kind, content in
            _ = received.next()
            peer.send(kind, content)
        }
        try await withWebSocketServer(options: Self.server(), events: events) { url in
            try await TCP.withConnection(to: Self.place(url), options: Self.narrow) { connection in
                let peer = try await RawWebSocket(connection)
                async let sent: Void = { for _ in 0..<count { try await peer.send(RawWebSocket.frame(0x82, Self.piece)) } }()
                var last = -1
                try await eventually("it stops") {
                    let before = received.value
                    try await Task.sleep(for: .milliseconds(200))
                    last = received.value
                    return last == before && last > 0
                }
                #expect(last < 40)
                for _ in 0..<count { #expect(try await peer.next()?.payload.count == Self.piece.count) }
                try await sent
            }
        }
    }

    @Test(arguments: [false, true])
    func `pings whose answers nobody takes do not fill the memory`(byEvents: Bool) async throws {
        let closed = Told<WebSocketClose?>()
        var events = webSocketEchoEvents
        events.closed = { closed.add($1) }
        let options = Self.server { $0.webSocket.limits.controlFramesPerSecondMax = 1_000_000 }
        try await withWebSocketServer(options: options, events: byEvents ? events : nil) { connection in
            // Something to be stuck behind.
            async let sent: Void = { for _ in 0..<8 { try await connection.send(Self.piece) } }()
            do { for try await _ in connection.messages {} } catch { closed.add((error as? WebSocketError)?.close) }
            try await sent
        } _: { url in
            // By tasks it is reset.
            try? await TCP.withConnection(to: Self.place(url), options: Self.narrow) { connection in
                let peer = try await RawWebSocket(connection)
                let pings = [UInt8]((0..<500).flatMap { _ in RawWebSocket.frame(0x89, [UInt8](repeating: 1, count: 125)) })
                if byEvents {
                    // It is not read from: a write waits at last.
                    let error = await #expect(throws: NetError.self) {
                        while true { try await connection.write(pings, timeout: .milliseconds(500)) }
                    }
                    #expect(error?.kind == .timedOut)
                    _ = peer
                } else {
                    await #expect(throws: NetError.self) { while true { try await connection.write(pings, timeout: .seconds(20)) } }
                }
                connection.abort()
            }
            try await closed.wait(for: 1)
        }
        if !byEvents { #expect(closed.all.first??.code == .policyViolation) }
    }

    @Test func `a slow peer that goes on taking is not silent, one that takes nothing is`() async throws {
        let options = Self.server {
            $0.webSocket.limits.pingInterval = .milliseconds(100)
            $0.webSocket.limits.pongTimeout = .milliseconds(400)
        }
        let closed = Told<WebSocketClose?>()
        try await withWebSocketServer(options: options) { connection in
            do { for _ in 0..<40 { try await connection.send(Self.piece) } } catch { closed.add((error as? WebSocketError)?.close) }
            do { for try await _ in connection.messages {} } catch { closed.add((error as? WebSocketError)?.close) }
        } _: { url in
            try await TCP.withConnection(to: Self.place(url), options: Self.narrow) { connection in
                let peer = try await RawWebSocket(connection)
                for _ in 0..<12 {
                    #expect(try await peer.next() != nil)
                    try await Task.sleep(for: .milliseconds(100))
                }
                #expect(closed.all.isEmpty)
                try await closed.wait(for: 1)
                #expect(closed.all.first??.code == .internalError || closed.all.first??.by == .nobody)
            }
        }
    }
}
