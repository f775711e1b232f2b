import MartletZMQ
import Synchronization
import Testing

/// Each pattern between two of our sockets, over each transport.
@Suite struct ZMQSocketTests {
    enum Transport: CaseIterable { case tcp, tcp6, ipc, abstract, inproc }
    private static let names = Atomic<Int>(0)

    /// An endpoint that nobody else has.
    static func endpoint(_ transport: Transport) -> String {
        let number = names.wrappingAdd(1, ordering: .relaxed).newValue
        let name = "martlet-\(ContinuousClock.now.hashValue)-\(number)"
        return switch transport {
        case .tcp: "tcp://127.0.0.1:*"
        case .tcp6: "tcp://[::1]:*"
        case .ipc: "ipc:///tmp/\(name).sock"
        case .abstract: "ipc://@\(name)"
        case .inproc: "inproc://\(name)"
        }
    }

    /// Waits for a condition, which has to come.
    static func until(_ condition: () -> Bool) async throws {
        let end = ContinuousClock.now + .seconds(300)
        while !condition() {
            try #require(ContinuousClock.now < end)
            try await Task.sleep(for: .milliseconds(2))
        }
    }

    private func same<Value: Equatable>(_ expected: Value, _ body: () async throws -> Value, at place: SourceLocation = #_sourceLocation) async throws {
        let value = try await body()
        #expect(value == expected, sourceLocation: place)
    }

    /// Two sockets, the first of them bound.
    private func pair<A: ZMQPattern, B: ZMQPattern>(
        _ a: A, _ b: B, _ transport: Transport, _ change: (inout ZMQSocketOptions) -> Void = { _ in },
        _ use: (ZMQSocket<A>, ZMQSocket<B>) async throws -> Void
    ) async throws {
        var options = ZMQSocketOptions()
        change(&options)
        let bound = ZMQSocket(a, options: options), other = ZMQSocket(b, options: options)
        let endpoint = try await bound.bind(Self.endpoint(transport))
        try other.connect("\(endpoint)")
        try await use(bound, other)
        await other.close()
        await bound.close()
    }

    @Test(arguments: Transport.allCases) func `PUSH to PULL: all messages, in their order`(transport: Transport) async throws {
        try await pair(.pull, .push, transport) { pull, push in
            async let sending: Void = { for number in 0..<20_000 { try await push.send("\(number)") } }()
            for number in 0..<20_000 { try await same("\(number)") { try await pull.receive().text } }
            try await sending
            #expect(push.counters.sent == 20_000 && pull.counters.received == 20_000)
        }
    }

    @Test(arguments: Transport.allCases) func `frames of any size arrive as they were`(transport: Transport) async throws {
        let messages =
            [0, 1, 2, 255, 256, 1_023, 1_024, 65_535, 65_536, 3_000_000].map { size in
                ZMQMessage(frames: [[], [UInt8](repeating: UInt8(truncatingIfNeeded: size), count: size), [1, 2, 3]])
            } + [ZMQMessage(), ZMQMessage(frames: (0..<500).map { [UInt8($0 & 255)] })]
        try await pair(.pair, .pair, transport) { a, b in
            async let sending: Void = { for message in messages { try await a.send(message) } }()
            for message in messages {
                let received = try await b.receive()
                #expect(received == message)
                try await b.send(received)
            }
            try await sending
            for message in messages { try await same(message) { try await a.receive() } }
        }
    }

    @Test(arguments: Transport.allCases) func `SUB gets what begins with its prefixes, and nothing after it has taken them back`(transport: Transport)
        async throws
    {
        try await pair(.xpub, .sub, transport) { pub, sub in
            sub.subscribe(to: "a")
            sub.subscribe(to: "bc")
            sub.subscribe(to: "a")
            try await same(["\u{1}a", "\u{1}bc"]) { Set([try await pub.receive(), try await pub.receive()]) }
            for topic in ["a", "b", "bc", "x", "abc"] { try await pub.send([topic, "payload"]) }
            for topic in ["a", "bc", "abc"] { try await same([topic, "payload"]) { try await sub.receive() } }
            sub.unsubscribe(from: "a")
            sub.unsubscribe(from: "bc")
            try await same("\u{0}bc") { try await pub.receive() }
            sub.unsubscribe(from: "a")
            try await same("\u{0}a") { try await pub.receive() }
            try await pub.send("abc")
            #expect(sub.tryReceive() == nil && pub.counters.droppedUnroutable >= 1)
        }
    }

    @Test(arguments: Transport.allCases) func `what is subscribed to while a connection comes about is told once`(transport: Transport) async throws {
        for round in 0..<60 {
            let pub = ZMQSocket(.xpub), sub = ZMQSocket(.sub), endpoint = "\(try await pub.bind(Self.endpoint(transport)))"
            async let connecting: Void = { try sub.connect(endpoint) }()
            for _ in 0..<round {
                sub.subscribe(to: "a")
                await Task.yield()
            }
            sub.subscribe(to: "a")
            try await connecting
            try await same("\u{1}a") { try await pub.receive() }
            for _ in 0...round { sub.unsubscribe(from: "a") }
            try await same("\u{0}a") { try await pub.receive(timeout: .seconds(10)) }
            await sub.close()
            await pub.close()
        }
    }

    @Test(arguments: Transport.allCases) func `REQ gets the reply to its request`(transport: Transport) async throws {
        try await pair(.rep, .req, transport) { rep, req in
            let serving = Task { try await rep.serve { request in request.text == "ping" ? "pong" : ["what?", request.text] } }
            for _ in 0..<100 { try await same("pong") { try await req.request("ping") } }
            try await same(["what?", "frames"]) { try await req.request(["two", "frames"]) }
            try await same(["what?", ""]) { try await req.request("") }
            serving.cancel()
            await #expect(throws: ZMQError.cancelled) { try await serving.value }
        }
    }

    @Test(arguments: Transport.allCases) func `ROUTER answers DEALER by its routing id`(transport: Transport) async throws {
        try await pair(.router, .dealer, transport, { $0.routingID = Array("worker-1".utf8) }) { router, dealer in
            try await dealer.send(["", "hello"])
            try await same(["worker-1", "", "hello"]) { try await router.receive() }
            try await router.send(["worker-1", "task", "7"])
            try await same(["task", "7"]) { try await dealer.receive() }
        }
    }

    @Test(arguments: Transport.allCases) func `XSUB subscribes, and sends to its publishers`(transport: Transport) async throws {
        try await pair(.xpub, .xsub, transport) { pub, sub in
            sub.subscribe(to: "")
            try await same("\u{1}") { try await pub.receive() }
            try await sub.send("upstream")
            try await same("upstream") { try await pub.receive() }
            try await pub.send("downstream")
            try await same("downstream") { try await sub.receive() }
        }
    }

    @Test(arguments: [false, true]) func `connect comes before bind`(isInproc: Bool) async throws {
        let push = ZMQSocket(.push), pull = ZMQSocket(.pull)
        let endpoint: String
        if isInproc {
            endpoint = Self.endpoint(.inproc)
        } else {
            let first = ZMQSocket(.pull)
            endpoint = "\(try await first.bind(Self.endpoint(.tcp)))"
            await first.close()
        }
        try push.connect(endpoint)
        for number in 0..<100 { try await push.send("\(number)") }
        try await pull.bind(endpoint)
        for number in 0..<100 { try await same("\(number)") { try await pull.receive().text } }
        await push.close()
        await pull.close()
    }

    @Test(arguments: Transport.allCases) func `a sender waits above the high-water mark, and goes on when there is room`(transport: Transport) async throws {
        try await pair(.pull, .push, transport, { ($0.sendHighWaterMark, $0.receiveHighWaterMark) = (10, 10) }) { pull, push in
            try await Self.until { push.peerCount == 1 }
            let large = ZMQMessage([UInt8](repeating: 1, count: 100_000))
            var sent = 0
            // The kernel's buffers come on top.
            while sent < 1_000 {
                do { try await push.send(large, timeout: .seconds(1)) } catch ZMQError.timedOut { break }
                sent += 1
            }
            #expect(sent >= 20 && sent < 1_000)
            let waiting = Task { try await push.send("last") }
            for _ in 0..<sent { try await same(large) { try await pull.receive() } }
            try await waiting.value
            try await same("last") { try await pull.receive() }
        }
    }

    @Test func `messages go to workers in turn, and each is one's`() async throws {
        let push = ZMQSocket(.push), workers = [ZMQSocket(.pull), ZMQSocket(.pull), ZMQSocket(.pull)]
        let endpoint = try await push.bind("tcp://127.0.0.1:*")
        for worker in workers { try worker.connect("\(endpoint)") }
        try await Self.until { push.peerCount == 3 }
        for number in 0..<300 { try await push.send("\(number)") }
        var seen: Set<String> = []
        for worker in workers { for _ in 0..<100 { seen.insert(try await worker.receive().text) } }
        #expect(seen.count == 300)
        for worker in workers { #expect(worker.tryReceive() == nil) }
        for worker in workers { await worker.close() }
        await push.close()
    }

    @Test(arguments: Transport.allCases) func `what was sent arrives though the sender closes at once`(transport: Transport) async throws {
        let pull = ZMQSocket(.pull)
        let endpoint = try await pull.bind(Self.endpoint(transport))
        var options = ZMQSocketOptions()
        options.linger = .seconds(60)
        for round in 0..<20 {
            try await withZMQSocket(.push, connect: "\(endpoint)", options: options) { push in
                for number in 0..<500 { try await push.send("\(round) \(number)") }
            }
        }
        // Of each its order; which of several comes first is nobody's promise.
        var next = [Int](repeating: 0, count: 20)
        for _ in 0..<10_000 {
            let words = try await pull.receive().text.split(separator: " ").compactMap { Int($0) }
            #expect(next[words[0]] == words[1])
            next[words[0]] += 1
        }
        await pull.close()
    }

    @Test func `a closed socket says so, to those who wait too`() async throws {
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push)
        let waiting = Task { try await pull.receive() }, iterating = Task { for try await _ in pull.messages {} }
        let sending = Task { try await push.send("to nobody") }
        try await Task.sleep(for: .milliseconds(20))
        await pull.close()
        await push.close()
        await #expect(throws: ZMQError.closed) { try await waiting.value }
        await #expect(throws: ZMQError.closed) { try await sending.value }
        try await iterating.value
        await #expect(throws: ZMQError.closed) { try await pull.bind("tcp://127.0.0.1:*") }
    }

    @Test func `a wait ends with its time and with its task`() async throws {
        let pull = ZMQSocket(.pull), req = ZMQSocket(.req)
        await #expect(throws: ZMQError.timedOut) { try await pull.receive(timeout: .milliseconds(10)) }
        let waiting = Task { try await pull.receive() }
        waiting.cancel()
        await #expect(throws: ZMQError.cancelled) { try await waiting.value }
        let asking = Task {
            while true {
                do throws(ZMQError) { return try await req.request("to nobody") } catch { if error != .requestUnderWay { throw error } }
            }
        }
        var refusal: ZMQError?
        while refusal != .requestUnderWay {
            do throws(ZMQError) { _ = try await req.request("another", timeout: .milliseconds(1)) } catch { refusal = error }
        }
        asking.cancel()
        await #expect(throws: ZMQError.cancelled) { try await asking.value }
        await pull.close()
        await req.close()
    }

    @Test func `an endpoint that is none is refused with its reason`() async throws {
        let socket = ZMQSocket(.pair)
        for text in ["", "tcp", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:x", "tcp://::1:80", "tcp://:80", "http://x:80", "ipc://", "tcp://h:70000"] {
            #expect(throws: ZMQError.self) { try ZMQEndpoint(text) }
        }
        #expect(throws: ZMQError.self) { try socket.connect("tcp://*:80") }
        #expect(throws: ZMQError.self) { try socket.connect("tcp://127.0.0.1:*") }
        await #expect(throws: ZMQError.noSuchEndpoint("tcp://127.0.0.1:1")) { try await socket.disconnect("tcp://127.0.0.1:1") }
        let endpoint = try await socket.bind("tcp://127.0.0.1:*")
        #expect(socket.boundEndpoints == [endpoint])
        let other = ZMQSocket(.pair)
        await #expect(throws: ZMQError.self) { try await other.bind("\(endpoint)") }
        try await socket.unbind("\(endpoint)")
        try await Self.until { socket.boundEndpoints.isEmpty }
        await socket.close()
        await other.close()
    }

    @Test func `types that do not fit find out`() async throws {
        let pull = ZMQSocket(.pull), sub = ZMQSocket(.sub)
        let events = sub.events
        let name = Self.endpoint(.inproc)
        try await pull.bind(name)
        #expect(throws: ZMQError.self) { try sub.connect(name) }
        try sub.connect("\(try await pull.bind("tcp://127.0.0.1:*"))")
        var hasFailed = false
        for await event in events { if case .handshakeFailed = event { hasFailed = true; break } }
        #expect(hasFailed)
        await sub.close()
        await pull.close()
    }
}
