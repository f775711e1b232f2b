import MartletBytes
import MartletEventLoop
import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// Connections that go on in another protocol, on both sides.
@Suite(.timeLimit(.minutes(10))) struct HTTPTunnelTests {
    private static let echo: HTTPTunnel.Body = { tunnel in
        for try await piece in tunnel.inbound { try await tunnel.write(piece) }
    }
    /// Answers at once below /now, and after a wait elsewhere.
    private static let handler: HTTPHandler = { request in
        switch request.path {
        case "/now/echo": return .upgrade(to: "echo", echo)
        case "/later/echo":
            try await Task.sleep(for: .milliseconds(20))
            return .upgrade(to: "echo", echo)
        case "/read/echo":
            let first = try await request.body.collect()
            return .upgrade(to: "echo") { tunnel in
                try await tunnel.write(first)
                try await echo(tunnel)
            }
        default: return .text("hello")
        }
    }
    private static func asking(_ target: String, _ upgrade: String = "echo") -> String {
        "GET \(target) HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: \(upgrade)\r\n\r\n"
    }

    @Test(arguments: ["/now/echo", "/later/echo"])
    func `what stands right behind the request is the other protocol's, and its end too`(target: String) async throws {
        try await withHTTPServer(Self.handler) { place in
            let text = try await TCP.withConnection(to: place) { connection in
                try await connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n" + Self.asking(target) + "GET / HTTP/1.1\r\n")
                try await connection.finishWriting()
                return try await everything(of: connection)
            }
            let parts = text.split(separator: "\r\n\r\n", maxSplits: 2).map(String.init)
            #expect(parts[0].statusLine == "HTTP/1.1 200 OK" && parts[1].hasPrefix("helloHTTP/1.1 101 Switching Protocols\r\n"))
            #expect(parts[1].contains("\r\nUpgrade: echo\r\n") && parts[1].contains("\r\nConnection: Upgrade") && !parts[1].contains("Content-Length"))
            #expect(parts[2] == "GET / HTTP/1.1\r\n")
        }
    }

    @Test func `a request with content switches once that was read`() async throws {
        try await withHTTPServer(Self.handler) { place in
            let head = "HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\nContent-Length: 3\r\n\r\n"
            for (target, isTaken) in [("/read/echo", true), ("/now/echo", false)] {
                let text = try await TCP.withConnection(to: place) { connection in
                    try await connection.write("POST \(target) " + head + "ab")
                    if isTaken { try await connection.write("cde") } else { _ = try await connection.read(timeout: .seconds(10)) }
                    try await connection.finishWriting()
                    return isTaken ? try await everything(of: connection) : "HTTP/1.1 400"
                }
                #expect(isTaken ? text.hasPrefix("HTTP/1.1 101 ") && text.content == "abcde" : text.hasPrefix("HTTP/1.1 400"))
            }
        }
    }

    @Test func `who does not offer the protocol is told which`() async throws {
        try await withHTTPServer(Self.handler) { place in
            for ask in [
                request("GET /now/echo"), request("GET /now/echo", ["Upgrade: echo"]),
                "GET /now/echo HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket, echoes\r\n\r\n",
                "GET /now/echo HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
            ] {
                let text = try await exchange(ask, with: place)
                #expect(text.statusLine == "HTTP/1.1 426 Upgrade Required" && text.contains("\r\nUpgrade: echo\r\n"))
                #expect(text.contains("\r\nConnection: close, Upgrade\r\n") && text.content.contains("Upgrade: echo"))
            }
            // It may go on in HTTP.
            let text = try await TCP.withConnection(to: place) { connection in
                try await connection.write("GET /now/echo HTTP/1.1\r\nHost: x\r\n\r\n" + request("GET /"))
                return try await everything(of: connection)
            }
            #expect(text.contains("\r\nConnection: Upgrade\r\n") && text.hasSuffix("\r\n\r\nhello"))
            let upper = try await TCP.withConnection(to: place) { connection in
                try await connection.write(Self.asking("/now/echo", "h2c, ECHO"))
                return try await answer(from: connection, until: "\r\n\r\n")
            }
            #expect(upper.hasPrefix("HTTP/1.1 101 "))
        }
    }

    private static func ask(_ url: String) throws -> HTTPClientRequest {
        var request = try HTTPClientRequest("GET", url)
        try request.fields.set("Upgrade", to: "echo")
        return request
    }

    @Test func `client and server, more bytes than either holds, and the pool has its room`() async throws {
        try await withHTTPServer(Self.handler) { place in
            try await HTTPClient.withClient(options: clientOptions { $0.connectionsPerOrigin = 1 }) { client in
                let response = try await client.send(Self.ask("http://\(place)/now/echo"))
                let tunnel = try #require(response.tunnel)
                let content = try await response.collect()
                #expect(response.status == 101 && response.fields["upgrade"] == "echo" && content.isEmpty)
                let size = 8 << 20
                async let sent: Void = {
                    for at in stride(from: 0, to: size, by: 1 << 16) { try await tunnel.write([UInt8](repeating: UInt8(at >> 16 & 255), count: 1 << 16)) }
                    try await tunnel.finishWriting()
                }()
                var count = 0
                while let piece = try await tunnel.read(timeout: .seconds(20)) {
                    #expect(piece.first == UInt8(count >> 16 & 255))
                    count += piece.count
                }
                try await sent
                #expect(count == size)
                // The tunnel is open still, and the origin's only connection another.
                #expect(try await client.get("http://\(place)/").text() == "hello")
            }
        }
    }

    @Test func `a server that speaks at once behind its 101 is heard, and one that refuses has answered`() async throws {
        try await withRawServer { connection, number in
            _ = try await hearHead(connection)
            if number == 1 {
                try await connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nwelcome")
                try await connection.write(try #require(await connection.read(timeout: .seconds(10))))
            } else {
                try await connection.write("HTTP/1.1 426 Upgrade Required\r\nUpgrade: other\r\nContent-Length: 2\r\n\r\nno")
            }
        } _: { url in
            try await HTTPClient.withClient(options: clientOptions()) { client in
                let tunnel = try #require(try await client.send(Self.ask(url)).tunnel)
                try await tunnel.write("!")
                var text = ""
                for try await piece in tunnel.inbound { text += String(decoding: piece, as: UTF8.self) }
                #expect(text == "welcome!")
                let refused = try await client.send(Self.ask(url))
                #expect(refused.tunnel == nil && refused.status == 426)
                #expect(try await refused.text() == "no")
            }
        }
    }

    @Test func `who does not read holds the writer back, not more than the buffers`() async throws {
        let failed = Once<NetError.Kind?>()
        try await withHTTPServer { _ in
            .upgrade(to: "echo") { tunnel in
                do throws(NetError) {
                    for _ in 0..<10_000 { try await tunnel.write([UInt8](repeating: 1, count: 1 << 16), timeout: .milliseconds(300)) }
                    failed.resume(returning: nil)
                } catch { failed.resume(returning: error.kind) }
                tunnel.abort()
            }
        } _: { place in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write(Self.asking("/"))
                #expect(await failed.wait() == .timedOut)
            }
        }
    }

    /// A server in a task of its own, and what its tunnels saw.
    private struct Serving {
        let place: String
        let task: Task<Void, any Error>
        let isStopping = Once<Bool>()
        /// How reading ended.
        let seen: Once<NetError.Kind?>

        init(grace: Duration) async throws {
            var options = HTTPServerOptions()
            options.grace = grace
            let (places, source) = AsyncStream.makeStream(of: String.self), isStopping = isStopping, seen = Once<NetError.Kind?>()
            self.seen = seen
            task = Task { [options] in
                try await HTTPServer.serve(on: "http://127.0.0.1:0", options: options, ready: { source.yield("\($0)") }) { request in
                    .upgrade(to: "echo") { tunnel in
                        do throws(NetError) {
                            while let piece = try await tunnel.read() {
                                try await tunnel.write(piece)
                                if request.isStopping { isStopping.resume(returning: true) }
                            }
                            seen.resume(returning: nil)
                        } catch { seen.resume(returning: error.kind) }
                    }
                }
            }
            var iterator = places.makeAsyncIterator()
            place = try #require(await iterator.next())
        }
    }

    @Test func `a tunnel goes on for the grace of its server's end, which waits for no longer than the tunnel`() async throws {
        let server = try await Serving(grace: .seconds(300))
        try await TCP.withConnection(to: server.place) { connection in
            try await connection.write(Self.asking("/") + "a")
            _ = try await answer(from: connection, until: "a")
            server.task.cancel()
            // The listener is closed at once.
            await #expect(throws: NetError.self) { while true { try await TCP.withConnection(to: server.place) { _ in } } }
            try await connection.write("b")
            #expect(try await answer(from: connection, until: "b") == "b")
            #expect(await server.isStopping.wait())
        }
        #expect(await server.seen.wait() == nil)
        try await server.task.value
    }

    @Test func `at the end of the grace a tunnel is cancelled, and its connection reset`() async throws {
        let server = try await Serving(grace: .milliseconds(50))
        try await TCP.withConnection(to: server.place) { connection in
            try await connection.write(Self.asking("/") + "a")
            _ = try await answer(from: connection, until: "a")
            server.task.cancel()
            await #expect(throws: NetError.self) { while true { _ = try await connection.read(timeout: .seconds(60)) } }
            #expect(await server.seen.wait() == .cancelled)
        }
        try await server.task.value
    }

    @Test func `tunnels that have ended do not hold up their server's end`() async throws {
        var options = HTTPServerOptions()
        options.grace = .seconds(300)
        try await withHTTPServer(options: options, Self.handler) { place in
            for target in ["/now/echo", "/later/echo"] {
                try await TCP.withConnection(to: place) { connection in
                    try await connection.write(Self.asking(target))
                    _ = try await answer(from: connection, until: "\r\n\r\n")
                }
            }
        }
    }

    @Test func `a client that goes away before it is answered leaves nothing behind`() async throws {
        var options = HTTPServerOptions()
        options.grace = .seconds(300)
        let arrived = Once<Void>()
        try await withHTTPServer(options: options) { request in
            arrived.resume(returning: ())
            // Until it is cancelled.
            do { try await Task.sleep(for: .seconds(300)) } catch {}
            return .upgrade(to: "echo", Self.echo)
        } _: { place in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write(Self.asking("/"))
                await arrived.wait()
                connection.abort()
            }
        }
    }

    // MARK: CONNECT

    @Test func `CONNECT through a handler that dials`() async throws {
        var options = HTTPServerOptions()
        options.takesCONNECT = true
        try await withServer { connection in
            for try await piece in connection.inbound { try await connection.write(piece) }
        } _: { target in
            try await withHTTPServer(options: options) { request in
                guard request.method == .connect else { return .tunnel(Self.echo) }
                let place = request.target
                return .tunnel { tunnel in
                    try await TCP.withConnection(to: place) { connection in
                        try await withThrowingTaskGroup(of: Void.self) { group in
                            group.addTask {
                                for try await piece in tunnel.inbound { try await connection.write(piece) }
                                try await connection.finishWriting()
                            }
                            for try await piece in connection.inbound { try await tunnel.write(piece) }
                            try await group.waitForAll()
                        }
                    }
                }
            } _: { place in
                try await HTTPClient.withClient(options: clientOptions()) { client in
                    let tunnel = try #require(try await client.send(.connect(to: target, through: "http://ann:x@\(place)")).tunnel)
                    try await tunnel.write("through")
                    try await tunnel.finishWriting()
                    var text = ""
                    while let piece = try await tunnel.read(timeout: .seconds(10)) { text += String(decoding: piece, as: UTF8.self) }
                    #expect(text == "through")
                    #expect(try await client.get("http://\(place)/").status == 400)
                }
                let raw = try await TCP.withConnection(to: place) { connection in
                    try await connection.write("CONNECT \(target) HTTP/1.1\r\nHost: \(target)\r\n\r\nearly")
                    try await connection.finishWriting()
                    return try await everything(of: connection)
                }
                #expect(raw.hasPrefix("HTTP/1.1 200 OK\r\n") && !raw.contains("Content-Length") && raw.content == "early")
            }
        }
    }

    @Test func `a proxy is shown neither cookies nor what is meant for its end`() async throws {
        let heard = Once<String>()
        try await withRawServer { connection, _ in
            heard.resume(returning: try await hearHead(connection))
            try await connection.write("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        } _: { url in
            let options = clientOptions { options in
                options.cookies = HTTPCookieJar()
                do { try options.fields.set("Authorization", to: "Bearer secret") } catch {}
            }
            try await HTTPClient.withClient(options: options) { client in
                let request = try HTTPClientRequest.connect(to: "a.example:443", through: url.replacing("//", with: "//ann:x@"))
                let response = try await client.send(request)
                #expect(response.status == 407 && response.tunnel == nil)
            }
        }
        let head = await heard.wait()
        #expect(head.hasPrefix("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n"))
        #expect(head.contains("\r\nProxy-Authorization: Basic ") && !head.contains("secret") && !head.contains("\r\nAuthorization"))
    }
}

/// A tunnel that a channel takes over, as a gateway does.
@Suite(.timeLimit(.minutes(10))) struct HTTPHandOverTests {
    /// Answers each byte with the next one.
    private final class Next: Channel {
        override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
            loop.willWrite(slot)
            for at in 0..<bytes.count { loop[output: slot].append(bytes[at] &+ 1) }
            return bytes.count
        }
    }

    @Test(arguments: [true, false])
    func `a server's channel gets the bytes behind the request, on the same loop or another`(isSame: Bool) async throws {
        let other = try SocketLoops.lend(1, for: "")
        defer { SocketLoops.takeBack(other) }
        try await withHTTPServer { _ in
            .upgrade(to: "next") { tunnel in
                try await tunnel.write("0")
                tunnel.handOver { transport, loop in
                    if isSame { loop.add(Next(), transport) } else { other[0].execute { $0.add(Next(), transport) } }
                }
                await #expect(throws: NetError.self) { try await tunnel.write("x") }
                await #expect(throws: NetError.self) { _ = try await tunnel.read() }
            }
        } _: { place in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: next\r\n\r\nabc")
                #expect(try await answer(from: connection, until: "\r\n\r\n0bcd").hasPrefix("HTTP/1.1 101 "))
                try await connection.write("hij")
                try await connection.finishWriting()
                #expect(try await everything(of: connection) == "ijk")
            }
        }
    }

    @Test func `a client's channel too`() async throws {
        let heard = Once<String>()
        try await withRawServer { connection, _ in
            _ = try await hearHead(connection)
            try await connection.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: next\r\nConnection: Upgrade\r\n\r\nabc")
            heard.resume(returning: try await answer(from: connection, until: "bcd"))
        } _: { url in
            try await HTTPClient.withClient(options: clientOptions()) { client in
                var request = try HTTPClientRequest("GET", url)
                try request.fields.set("Upgrade", to: "next")
                let tunnel = try #require(try await client.send(request).tunnel)
                tunnel.handOver { $1.add(Next(), $0) }
                #expect(await heard.wait() == "bcd")
            }
        }
    }
}
