import MartletZMQ
import Synchronization
import Testing

/// What each option changes, seen from outside.
@Suite struct ZMQOptionsTests {
    private func options(_ change: (inout ZMQSocketOptions) -> Void) -> ZMQSocketOptions {
        var options = ZMQSocketOptions()
        options.reconnect.delayMin = .milliseconds(1)
        options.reconnect.delayMax = .milliseconds(20)
        change(&options)
        return options
    }

    /// Where nobody listens.
    private func nowhere() async throws -> String {
        let socket = ZMQSocket(.pull)
        let endpoint = try await socket.bind("tcp://127.0.0.1:*")
        await socket.close()
        return "\(endpoint)"
    }

    // MARK: Conflate

    @Test(arguments: [ZMQSocketTests.Transport.tcp, .ipc, .inproc]) func `a conflating receiver keeps the last message only, and counts the others`(
        transport: ZMQSocketTests.Transport
    ) async throws {
        let pull = ZMQSocket(.pull, options: options { $0.isConflating = true }), push = ZMQSocket(.push)
        try push.connect("\(try await pull.bind(ZMQSocketTests.endpoint(transport)))")
        // More than the marks: what is conflated is room again.
        for number in 0..<5_000 { try await push.send("\(number)") }
        try await ZMQSocketTests.until { pull.counters.received == 5_000 }
        let last = try await pull.receive()
        #expect(last == "4999")
        #expect(pull.tryReceive() == nil && pull.counters.droppedAtMark == 4_999)
        await push.close()
        await pull.close()
    }

    @Test func `a conflating sender keeps the last message for a peer that is not there yet`() async throws {
        let endpoint = try await nowhere()
        let push = ZMQSocket(.push, options: options { $0.isConflating = true }), pull = ZMQSocket(.pull)
        try push.connect(endpoint)
        try await ZMQSocketTests.until { (try? push.trySend("first")) == true }
        for number in 0..<3_000 { try await push.send("\(number)") }
        try await pull.bind(endpoint)
        let message = try await pull.receive()
        #expect(message == "2999" && push.counters.droppedAtMark == push.counters.sent - 1)
        await push.close()
        await pull.close()
        #expect(pull.tryReceive() == nil)
    }

    // MARK: ROUTER

    @Test func `a probe tells a ROUTER who has come`() async throws {
        let router = ZMQSocket(.router)
        let dealer = ZMQSocket(.dealer, options: options { ($0.probesRouter, $0.routingID) = (true, Array("prober".utf8)) })
        try dealer.connect("\(try await router.bind("tcp://127.0.0.1:*"))")
        let probe = try await router.receive()
        #expect(probe == ["prober", ""])
        try await router.send(["prober", "welcome"])
        let answer = try await dealer.receive()
        #expect(answer == "welcome")
        await dealer.close()
        await router.close()
    }

    @Test func `a mandatory ROUTER says that nobody is there, and waits for who is slow`() async throws {
        let router = ZMQSocket(.router, options: options { ($0.isRouterMandatory, $0.sendHighWaterMark) = (true, 5) })
        await #expect(throws: ZMQError.noPeer(routingID: Array("you".utf8))) { try await router.send(["you", "x"]) }
        let dealer = ZMQSocket(.dealer, options: options { ($0.routingID, $0.receiveHighWaterMark) = (Array("you".utf8), 5) })
        let name = ZMQSocketTests.endpoint(.inproc)
        try await router.bind(name)
        try dealer.connect(name)
        var sent = 0
        while try router.trySend(["you", "\(sent)"]) { sent += 1 }
        // The marks of both ends.
        #expect(sent == 10 && router.counters.droppedAtMark == 0)
        let waiting = Task { try await router.send(["you", "10"]) }
        for number in 0...10 {
            let message = try await dealer.receive()
            #expect(message.text == "\(number)")
        }
        try await waiting.value
        await dealer.close()
        await router.close()
    }

    @Test(arguments: [false, true]) func `a routing id in use is handed over, or the newcomer is turned away`(isHandedOver: Bool) async throws {
        let router = ZMQSocket(.router, options: options { $0.handsRoutingIDOver = isHandedOver })
        let endpoint = "\(try await router.bind("tcp://127.0.0.1:*"))"
        let once = options { ($0.routingID, $0.reconnect.isEnabled) = (Array("me".utf8), false) }
        let first = ZMQSocket(.dealer, options: once), second = ZMQSocket(.dealer, options: once)
        let firstEvents = first.events, secondEvents = second.events
        try first.connect(endpoint)
        try await first.send("one")
        let one = try await router.receive()
        #expect(one == ["me", "one"])
        try second.connect(endpoint)
        if isHandedOver {
            try await second.send("two")
            let two = try await router.receive()
            #expect(two == ["me", "two"])
            try await router.send(["me", "hello"])
            let hello = try await second.receive()
            #expect(hello == "hello" && first.tryReceive() == nil)
        }
        // Whoever has no name has no connection.
        for await event in isHandedOver ? firstEvents : secondEvents {
            if case .disconnected = event { break }
            if case .handshakeFailed = event { break }
        }
        try await ZMQSocketTests.until { router.peerCount == 1 }
        #expect(router.counters.turnedAway == (isHandedOver ? 0 : 1))
        await first.close()
        await second.close()
        await router.close()
    }

    // MARK: Publish and subscribe

    @Test func `a welcome is the first that a subscriber hears`() async throws {
        let pub = ZMQSocket(.xpub, options: options { $0.welcome = ["topic", "welcome"] }), sub = ZMQSocket(.sub)
        sub.subscribe(to: "t")
        try sub.connect("\(try await pub.bind("tcp://127.0.0.1:*"))")
        let first = try await sub.receive()
        #expect(first == ["topic", "welcome"])
        let note = try await pub.receive()
        #expect(note == "\u{1}t")
        try await pub.send(["t", "news"])
        let second = try await sub.receive()
        #expect(second == ["t", "news"])
        await sub.close()
        await pub.close()
    }

    @Test(arguments: [false, true]) func `subscriptions that change nothing are messages if that is wanted`(isVerbose: Bool) async throws {
        let pub = ZMQSocket(.xpub, options: options { $0.verbosity = isVerbose ? .everything : .changes }), one = ZMQSocket(.sub), other = ZMQSocket(.sub)
        let endpoint = "\(try await pub.bind("tcp://127.0.0.1:*"))"
        one.subscribe(to: "a")
        try one.connect(endpoint)
        let first = try await pub.receive()
        #expect(first == "\u{1}a")
        other.subscribe(to: "a")
        other.subscribe(to: "b")
        try other.connect(endpoint)
        var notes: Set<String> = []
        while !notes.contains("\u{1}b") || isVerbose && notes.count < 2 { notes.insert(try await pub.receive().text) }
        #expect(notes == (isVerbose ? ["\u{1}a", "\u{1}b"] : ["\u{1}b"]))
        for socket in [one, other] { await socket.close() }
        await pub.close()
    }

    @Test(arguments: [ZMQSocketTests.Transport.tcp, .inproc]) func `matching is inverted`(transport: ZMQSocketTests.Transport) async throws {
        let inverted = options { $0.invertsMatching = true }
        let pub = ZMQSocket(.pub, options: inverted), sub = ZMQSocket(.sub, options: inverted)
        sub.subscribe(to: "no")
        try sub.connect("\(try await pub.bind(ZMQSocketTests.endpoint(transport)))")
        try await ZMQSocketTests.until { pub.subscriptionCount == 1 }
        for topic in ["no", "yes", "nothing", "n", ""] { try await pub.send(topic) }
        for topic in ["yes", "n", ""] {
            let message = try await sub.receive()
            #expect(message.text == topic)
        }
        #expect(sub.tryReceive() == nil)
        await sub.close()
        await pub.close()
    }

    @Test(arguments: [ZMQSocketTests.Transport.tcp, .inproc], [false, true])
    func `a publisher above the mark drops and counts, or waits`(transport: ZMQSocketTests.Transport, waits: Bool) async throws {
        let small = options { ($0.sendHighWaterMark, $0.receiveHighWaterMark, $0.waitsForSubscribers) = (20, 20, waits) }
        let pub = ZMQSocket(.pub, options: small), sub = ZMQSocket(.sub, options: small)
        sub.subscribe(to: "")
        try sub.connect("\(try await pub.bind(ZMQSocketTests.endpoint(transport)))")
        try await ZMQSocketTests.until { pub.subscriptionCount == 1 }
        let fill = [UInt8](repeating: 7, count: transport == .tcp ? 100_000 : 10)
        let total = 500, isAll = Atomic(false)
        let sending = Task {
            for number in 0..<total { try await pub.send(ZMQMessage(frames: [Array("\(number)".utf8), fill])) }
            isAll.store(true, ordering: .releasing)
        }
        if waits {
            // Nobody takes anything: it comes to a stand.
            for number in 0..<total {
                let message = try await sub.receive()
                #expect(String(decoding: message[0], as: UTF8.self) == "\(number)")
            }
            try await sending.value
            #expect(pub.counters.droppedAtMark == 0)
        } else {
            try await sending.value
            let counters = pub.counters
            #expect(counters.sent + counters.droppedAtMark == UInt64(total) && counters.droppedAtMark > 0)
            if transport == .inproc { #expect(counters.sent == 40) }
            for _ in 0..<counters.sent { _ = try await sub.receive() }
            #expect(sub.tryReceive() == nil && sub.counters.received == counters.sent)
        }
        await sub.close()
        await pub.close()
    }

    // MARK: High-water marks

    @Test func `in the process the marks of both ends are exact`() async throws {
        for (mark, far) in [(1, 1), (10, 7), (1_000, 1_000)] {
            let pull = ZMQSocket(.pull, options: options { $0.receiveHighWaterMark = far })
            let push = ZMQSocket(.push, options: options { $0.sendHighWaterMark = mark })
            let name = ZMQSocketTests.endpoint(.inproc)
            try await pull.bind(name)
            try push.connect(name)
            var sent = 0
            while try push.trySend(ZMQMessage("\(sent)")) { sent += 1 }
            #expect(sent == mark + far)
            await #expect(throws: ZMQError.timedOut) { try await push.send("x", timeout: .milliseconds(5)) }
            for number in 0..<sent {
                let message = try await pull.receive()
                #expect(message.text == "\(number)")
            }
            await push.close()
            await pull.close()
            #expect(push.counters.sent == UInt64(sent) && pull.counters.received == UInt64(sent))
        }
    }

    @Test func `a peer that is not there yet has room for the mark, and with immediate none`() async throws {
        let endpoint = try await nowhere()
        let waiting = ZMQSocket(.push, options: options { $0.sendHighWaterMark = 7 })
        let immediate = ZMQSocket(.push, options: options { ($0.sendHighWaterMark, $0.isImmediate) = (7, true) })
        try waiting.connect(endpoint)
        try await ZMQSocketTests.until { (try? waiting.trySend("0")) == true }
        for number in 1..<7 {
            let isTaken = try waiting.trySend(ZMQMessage("\(number)"))
            #expect(isTaken)
        }
        let isOver = try waiting.trySend("7")
        #expect(!isOver)
        let pull = ZMQSocket(.pull)
        let there = "\(try await pull.bind("tcp://127.0.0.1:*"))"
        try immediate.connect(endpoint)
        let isEarly = try immediate.trySend("early")
        #expect(!isEarly)
        // Of two it takes the one that is there.
        try immediate.connect(there)
        for number in 0..<20 { try await immediate.send("\(number)") }
        for number in 0..<20 {
            let message = try await pull.receive()
            #expect(message.text == "\(number)")
        }
        waiting.abandon()
        await waiting.close()
        await immediate.close()
        await pull.close()
        #expect(waiting.counters.droppedUnsent == 7 && immediate.counters.droppedUnsent == 0)
    }

    // MARK: REQ

    @Test func `with a number on each, a reply that repeats another is not taken`() async throws {
        let router = ZMQSocket(.router), req = ZMQSocket(.req, options: options { $0.correlatesRequests = true })
        try req.connect("\(try await router.bind("tcp://127.0.0.1:*"))")
        async let reply = req.request("question")
        let request = try await router.receive()
        #expect(request.count == 4 && request[1].count == 4 && request[2].isEmpty)
        var forged = request.frames
        forged[1][3] &+= 1
        forged[3] = Array("forged".utf8)
        try await router.send(ZMQMessage(frames: forged))
        try await router.send(ZMQMessage(frames: [request[0], [], Array("without".utf8)]))
        try await router.send(ZMQMessage(frames: [request[0], request[1], [], Array("answer".utf8)]))
        let answer = try await reply
        #expect(answer == "answer" && req.counters.droppedUnwanted == 2)
        await req.close()
        await router.close()
    }

    // MARK: Events

    @Test func `events tell a connection's life in its order`() async throws {
        // Attempts that follow each other faster would, while nobody looks, push out what came first.
        let pull = ZMQSocket(.pull)
        let push = ZMQSocket(.push, options: options { ($0.linger, $0.reconnect) = (.milliseconds(200), ZMQReconnect()) })
        let pullEvents = pull.events, pushEvents = push.events
        let endpoint = try await pull.bind("tcp://127.0.0.1:*")
        try push.connect("\(endpoint)")
        try await push.send("x")
        _ = try await pull.receive()
        await pull.close()
        // It tries again, and nobody is there.
        var seen: [String] = []
        for await event in pushEvents {
            switch event {
            case .connecting(let place): #expect(place.description == endpoint.description)
            case .connectFailed(_, let reason, let delay): #expect(!reason.isEmpty && delay > .zero)
            default: break
            }
            seen.append(name(event))
            if seen.last == "connectFailed", seen.contains("disconnected") { break }
        }
        #expect(Array(seen.prefix(4)) == ["connecting", "connected", "handshakeSucceeded", "disconnected"])
        await push.close()
        var heard: [String] = []
        for await event in pullEvents { heard.append(name(event)) }
        #expect(Array(heard.prefix(3)) == ["listening", "accepted", "handshakeSucceeded"] && heard.last == "closed")
    }

    private func name(_ event: ZMQEvent) -> String { String("\(event)".prefix { $0 != "(" }) }
}
