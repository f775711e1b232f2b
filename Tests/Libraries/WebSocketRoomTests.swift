import MartletEventLoop
import MartletSockets
import MartletWebSocket
import Testing

/// Rooms: one message to all members, on one loop and on several, and members that take too little.
@Suite(.timeLimit(.minutes(10))) struct WebSocketRoomTests {
    private static func place(_ url: String) -> String { String(url.dropFirst(5).dropLast()) }
    private static var narrow: StreamOptions {
        var options = StreamOptions()
        (options.sendBuffer, options.receiveBuffer, options.receiveLimit) = (1 << 14, 1 << 14, 1 << 14)
        return options
    }

    /// Members join, and what they say goes to the others.
    private static func chat(_ room: WebSocketRoom) -> WebSocketEvents {
        WebSocketEvents(opened: { peer, _ in room.join(peer) }) { peer, kind, content in room.broadcast(kind, content, except: peer) }
    }

    @Test(arguments: [1, 3], [false, true])
    func `what one says all others hear, once and in its order`(loops: Int, byEvents: Bool) async throws {
        let room = WebSocketRoom(), options = webSocketOptions { $0.http.loops = loops }
        let handler: WebSocketHandler = { connection in
            await room.join(connection)
            for try await message in connection.messages { room.broadcast(message, except: connection) }
        }
        try await withWebSocketServer(options: options, events: byEvents ? Self.chat(room) : nil, handler) { url in
            let heard = Told<String>(), count = 9, messages = 50
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<count {
                    // Some take deflated messages, some do not.
                    let client = webSocketClient { if number.isMultiple(of: 2) { $0.webSocket.deflate = nil } }
                    group.addTask {
                        try await WebSocketConnection.withConnection(to: url, options: client) { connection in
                            try await eventually("all are there") { room.count == count }
                            let filling = String(repeating: "so it can be deflated, ", count: 10)
                            async let sent: Void = {
                                for message in 0..<messages { try await connection.send("\(number) \(message) \(filling)") }
                            }()
                            var next = [Int](repeating: 0, count: count)
                            for _ in 0..<((count - 1) * messages) {
                                let words = try #require(try await connection.receive()).text.split(separator: " ", maxSplits: 2)
                                let (from, message) = (try #require(Int(words[0])), try #require(Int(words[1])))
                                #expect(from != number && message == next[from] && String(words[2]) == filling)
                                next[from] += 1
                            }
                            try await sent
                            heard.add("\(number)")
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(heard.all.count == count)
            try await eventually("all have left") { room.count == 0 }
            let counters = await room.counters()
            #expect(counters.sent == UInt64(count * messages) && counters.delivered == UInt64(count * messages * (count - 1)) && counters.dropped == 0)
        }
    }

    @Test func `who has left, and who is in another room, hears nothing`() async throws {
        let rooms = [WebSocketRoom(), WebSocketRoom()]
        try await withWebSocketServer { connection in
            for try await message in connection.messages {
                let number = Int(message.text.suffix(1)) ?? 0
                if message.text.hasPrefix("join") { await rooms[number].join(connection) }
                if message.text.hasPrefix("leave") { await rooms[number].leave(connection) }
                if message.text.hasPrefix("say") { rooms[number].broadcast(message) }
            }
        } _: { url in
            try await WebSocketConnection.withConnection(to: url) { connection in
                for message in ["join 0", "join 0", "join 1", "say 0", "leave 0", "say 0", "say 1", "leave 1", "join 0", "say 1", "say 0 0"] {
                    try await connection.send(message)
                }
                for message in ["say 0", "say 1", "say 0 0"] { #expect(try await connection.receive() == .text(message)) }
            }
            try await eventually { rooms.allSatisfy { $0.count == 0 } }
        }
    }

    /// A member that does not read, in a room with another that does: sends `count` messages of 64 KiB and a number, then has the first read.
    private func slow(
        _ policy: WebSocketRoom.SlowPolicy, count: Int, keys: Int = 0, closed: Told<WebSocketClose> = Told(),
        _ check: @escaping @Sendable ([Int], RawWebSocket.Frame?, WebSocketRoom.Counters) throws -> Void
    ) async throws {
        let room = WebSocketRoom(slow: policy), options = webSocketOptions { $0.http.stream = Self.narrow }
        var events = Self.chat(room)
        events.closed = { closed.add($1) }
        try await withWebSocketServer(options: options, events: events) { url in
            try await TCP.withConnection(to: Self.place(url), options: Self.narrow) { connection in
                let peer = try await RawWebSocket(connection)
                try await WebSocketConnection.withConnection(to: url, options: webSocketClient { $0.webSocket.deflate = nil }) { healthy in
                    try await eventually { room.count == 2 }
                    for number in 0..<count {
                        let content = [UInt8](repeating: UInt8(number & 255), count: 1 << 16)
                        room.broadcast(.binary(content), key: keys == 0 ? nil : "\(number % keys)")
                        #expect(try await healthy.receive() == .binary(content))
                    }
                }
                room.broadcast("last")
                let counters = await room.counters()
                var numbers: [Int] = [], end: RawWebSocket.Frame?
                while let frame = try await peer.next() {
                    end = frame
                    if frame.first != 0x82 { break }
                    numbers.append(Int(try #require(frame.payload.first)))
                }
                try check(numbers, end, counters)
            }
        }
    }

    @Test func `dropping the oldest leaves the newest, and is counted`() async throws {
        try await slow(.dropOldest(bytesMax: 1 << 20), count: 60) { numbers, end, counters in
            #expect(end?.text == "last" && numbers.last == 59 && numbers.first == 0 && numbers == numbers.sorted())
            // At most 1 MiB waited for it, beside what was in the output and in the sockets.
            let gap = zip(numbers, numbers.dropFirst()).map { $1 - $0 }.max() ?? 0
            #expect(numbers.count < 40 && gap > 15 && counters.dropped == UInt64(60 - numbers.count) && counters.disconnected == 0)
        }
    }

    @Test func `conflating keeps the newest of each key`() async throws {
        try await slow(.conflate(bytesMax: 1 << 20), count: 60, keys: 3) { numbers, end, counters in
            #expect(end?.text == "last" && Set(numbers.suffix(3)) == [57, 58, 59])
            #expect(numbers.count < 40 && counters.conflated == UInt64(60 - numbers.count) && counters.dropped == 0)
        }
    }

    @Test func `who is to be disconnected is, with 1008, and the others go on`() async throws {
        let closed = Told<WebSocketClose>()
        try await slow(.disconnect(bytesMax: 1 << 20), count: 60, closed: closed) { numbers, end, counters in
            #expect(numbers == Array(0..<numbers.count) && numbers.count < 40 && counters.disconnected == 1)
            // What was in its output has gone, if it came to read that within two seconds; then the Close, too.
            if end?.first == 0x88 { #expect(end?.code == 1008) }
            #expect(closed.all.first?.code == .policyViolation && closed.all.first?.by == .here)
        }
    }

    @Test func `a burst that leaves at once is no slowness`() async throws {
        let room = WebSocketRoom(slow: .disconnect(bytesMax: 1 << 20))
        try await withWebSocketServer(events: Self.chat(room)) { url in
            try await WebSocketConnection.withConnection(to: url, options: webSocketClient { $0.webSocket.deflate = nil }) { connection in
                try await eventually { room.count == 1 }
                let piece = [UInt8](repeating: 1, count: 1 << 16)
                for _ in 0..<12 { room.broadcast(.binary(piece)) }
                for _ in 0..<12 { #expect(try await connection.receive() == .binary(piece)) }
            }
        }
        #expect(await room.counters().disconnected == 0)
    }

    // MARK: Reconnecting

    @Test func `a client comes back after each loss, to a server that was away, too`() async throws {
        let count = Tally()
        let handler: WebSocketHandler = { connection in
            try await connection.send("\(count.next())")
            if count.value < 3 { connection.abort() } else { for try await _ in connection.messages {} }
        }
        var reconnect = WebSocketReconnect()
        reconnect.delayMin = .milliseconds(5)
        let (places, source) = AsyncStream.makeStream(of: String.self)
        let serve = { @Sendable (address: String) in
            Task { () async throws -> Void in
                try await WebSocketConnection.serve(on: "ws://\(address)", ready: { source.yield("\($0)") }, handler)
            }
        }
        var server = serve("127.0.0.1:0")
        var iterator = places.makeAsyncIterator()
        let place = try #require(await iterator.next())
        var heard: [String] = []
        for try await connection in WebSocketConnection.reconnecting(to: "ws://\(place)/", reconnect) {
            do {
                for try await message in connection.messages {
                    heard.append(message.text)
                    if message == "3" {
                        server.cancel()
                        server = Task { [server] in
                            try await server.value
                            try await Task.sleep(for: .milliseconds(100))
                            try await serve(place).value
                        }
                    }
                    if message == "4" { break }
                }
            } catch {}
            if heard.last == "4" { break }
        }
        #expect(heard.last == "4" && heard.contains("3"))
        server.cancel()
    }

    @Test func `what would be refused again is thrown, and so is too many attempts`() async throws {
        var reconnect = WebSocketReconnect()
        reconnect.delayMin = .milliseconds(5)
        let counted = Tally()
        try await withHTTPServer { _ in
            HTTPResponse(counted.next() < 3 ? .serviceUnavailable : .forbidden)
        } _: { [reconnect] place in
            let error = await #expect(throws: WebSocketError.self) { for try await _ in WebSocketConnection.reconnecting(to: "ws://\(place)", reconnect) {} }
            guard case .refused(_, 403, _) = error else { throw try #require(error) }
        }
        #expect(counted.value == 3)
        reconnect.attemptsMax = 3
        let error = await #expect(throws: WebSocketError.self) {
            for try await _ in WebSocketConnection.reconnecting(to: "ws://127.0.0.1:1/", reconnect) {}
        }
        guard case .unreachable = error else { throw try #require(error) }
    }

    @Test func `leaving the loop closes the connection`() async throws {
        let closed = Told<WebSocketClose>()
        try await withWebSocketServer(events: WebSocketEvents(closed: { closed.add($1) }) { _, _, _ in }) { url in
            for try await connection in WebSocketConnection.reconnecting(to: url) {
                _ = try await connection.ping()
                break
            }
            try await closed.wait(for: 1)
        }
        #expect(closed.all.first?.code == .goingAway && closed.all.first?.by == .peer)
    }
}
