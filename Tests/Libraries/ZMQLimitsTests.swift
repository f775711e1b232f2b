import MartletZMQ
import MartletZMTPProtocol
import Testing

/// Peers that ask for too much, lie, or say nothing: each is bounded, counted and let go, and the socket goes on.
@Suite struct ZMQLimitsTests {
    /// A bound socket with its port and its events.
    private func bound<Pattern: ZMQPattern>(
        _ pattern: Pattern, _ change: (inout ZMQSocketOptions) -> Void
    ) async throws -> (socket: ZMQSocket<Pattern>, port: UInt16, events: AsyncStream<ZMQEvent>) {
        var options = ZMQSocketOptions()
        change(&options)
        let socket = ZMQSocket(pattern, options: options)
        let events = socket.events
        let endpoint = try await socket.bind("tcp://127.0.0.1:*")
        return (socket, try #require(endpoint.description.split(separator: ":").last.flatMap { UInt16($0) }), events)
    }

    /// Why the next connection ended.
    private func end(_ events: AsyncStream<ZMQEvent>) async -> String {
        for await event in events {
            switch event {
            case .handshakeFailed(_, let reason), .disconnected(_, let reason): return reason
            default: continue
            }
        }
        return "closed"
    }

    /// It still takes a message from who behaves.
    private func serves(_ pull: ZMQSocket<ZMQPull>, _ port: UInt16) async throws {
        let push = ZMQSocket(.push)
        try push.connect("tcp://127.0.0.1:\(port)")
        try await push.send("well")
        let message = try await pull.receive()
        #expect(message == "well")
        await push.close()
    }

    @Test func `more peers than may be are turned away, and counted`() async throws {
        let (pull, port, _) = try await bound(.pull) { $0.peersMax = 2 }
        let sockets = [ZMQSocket(.push), ZMQSocket(.push)]
        for socket in sockets { try socket.connect("tcp://127.0.0.1:\(port)") }
        try await ZMQSocketTests.until { pull.peerCount == 2 }
        let third = try RawZMTP(to: port)
        #expect(third.hearAll().isEmpty)
        #expect(pull.counters.turnedAway == 1 && pull.peerCount == 2)
        for socket in sockets { await socket.close() }
        try await ZMQSocketTests.until { pull.peerCount == 0 }
        try await serves(pull, port)
        await pull.close()
    }

    @Test(arguments: [0, 3, 40, 64, 70]) func `a handshake that stalls is ended in time`(count: Int) async throws {
        let (pull, port, events) = try await bound(.pull) { $0.limits.handshakeTimeout = .milliseconds(50) }
        let raw = try RawZMTP(to: port)
        raw.say(Array((RawZMTP.greeting + RawZMTP.ready("PUSH")).prefix(count)))
        let reason = await end(events)
        #expect(reason == ZMTPViolation.handshakeTimedOut.description && pull.counters.failures == 1)
        _ = raw.hearAll()
        try await serves(pull, port)
        await pull.close()
    }

    @Test func `who lies about a size is let go at the header`() async throws {
        let (pull, port, events) = try await bound(.pull) { $0.limits.messageBytesMax = 1_000 }
        for size in [UInt64.max, UInt64.max >> 1, 1 << 40, 1_001] as [UInt64] {
            let raw = try RawZMTP(to: port)
            raw.say(RawZMTP.greeting + RawZMTP.ready("PUSH"))
            raw.say([2] + stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: size >> $0) })
            let reason = await end(events)
            #expect(reason == ZMTPViolation.messageTooLong.description)
            _ = raw.hearAll()
        }
        #expect(pull.counters.failures == 4)
        try await serves(pull, port)
        await pull.close()
    }

    @Test func `frames without end are no message`() async throws {
        let (pull, port, events) = try await bound(.pull) { ($0.limits.messageFramesMax, $0.limits.messageBytesMax) = (100, 10_000) }
        for frame in [[1, 0], [1, 200] + [UInt8](repeating: 1, count: 200)] as [[UInt8]] {
            let raw = try RawZMTP(to: port)
            raw.say(RawZMTP.greeting + RawZMTP.ready("PUSH"))
            for _ in 0..<200 { raw.say(frame) }
            let reason = await end(events)
            #expect([ZMTPViolation.framesTooMany, .messageTooLong].map(\.description).contains(reason))
        }
        #expect(pull.counters.received == 0)
        try await serves(pull, port)
        await pull.close()
    }

    @Test(arguments: ["count", "bytes", "length"]) func `a flood of subscriptions ends the connection`(which: String) async throws {
        let (pub, port, events) = try await bound(.pub) { options in
            switch which {
            case "count": options.subscriptionsMax = 50
            case "bytes": options.subscriptionBytesMax = 1_000
            default: options.limits.subscriptionBytesMax = 64
            }
        }
        let raw = try RawZMTP(to: port)
        raw.say(RawZMTP.greeting + RawZMTP.ready("SUB"))
        let topic = [UInt8](repeating: 5, count: which == "length" ? 65 : 30)
        for number in 0..<100 { raw.say(RawZMTP.command("SUBSCRIBE", topic + [UInt8(number)])) }
        let reason = await end(events)
        #expect(reason == (which == "length" ? ZMTPViolation.subscriptionTooLong.description : "it has more subscriptions than it may"))
        try await ZMQSocketTests.until { pub.peerCount == 0 }
        #expect(pub.subscriptionCount == 0 && pub.counters.turnedAway + pub.counters.failures > 0)
        await pub.close()
    }

    @Test func `a peer that falls silent is noticed, and reconnected to`() async throws {
        let pull = ZMQSocket(.pull)
        let endpoint = try await pull.bind("tcp://127.0.0.1:*")
        let proxy = try CuttingProxy(to: try #require(endpoint.description.split(separator: ":").last.flatMap { UInt16($0) }))
        var options = ZMQSocketOptions()
        (options.heartbeat.interval, options.heartbeat.timeout) = (.milliseconds(20), .milliseconds(100))
        options.reconnect.delayMin = .milliseconds(1)
        let push = ZMQSocket(.push, options: options)
        let events = push.events
        try push.connect("tcp://127.0.0.1:\(proxy.port)")
        try await push.send("before")
        let before = try await pull.receive()
        #expect(before == "before")
        proxy.mute()
        var reason = ""
        for await event in events {
            if case .disconnected(_, let text) = event {
                reason = text
                break
            }
        }
        #expect(reason == ZMTPViolation.heartbeatMissed.description)
        // The next connection is another. A loaded machine may lose that too, with what was under way.
        let sending = Task {
            while !Task.isCancelled {
                _ = try push.trySend("after")
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        while try await pull.receive().text != "after" {}
        sending.cancel()
        await push.close()
        await pull.close()
    }

    @Test func `heartbeats keep a connection on which nothing is said`() async throws {
        var options = ZMQSocketOptions()
        (options.heartbeat.interval, options.heartbeat.timeout) = (.milliseconds(5), .seconds(30))
        let pull = ZMQSocket(.pull, options: options), push = ZMQSocket(.push, options: options)
        try push.connect("\(try await pull.bind("tcp://127.0.0.1:*"))")
        try await push.send("one")
        _ = try await pull.receive()
        try await Task.sleep(for: .milliseconds(200))
        try await push.send("two")
        let two = try await pull.receive()
        #expect(two == "two" && push.counters.handshakes == 1 && pull.counters.failures == 0)
        await push.close()
        await pull.close()
    }
}
