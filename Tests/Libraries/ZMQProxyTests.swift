import MartletZMQ
import Synchronization
import Testing

/// A proxy between two of our sockets, with our peers on both sides.
@Suite struct ZMQProxyTests {
    typealias Transport = ZMQSocketTests.Transport

    /// Two bound sockets and a running proxy between them; the body gets their endpoints.
    private func proxied<A: ZMQPattern, B: ZMQPattern>(
        _ a: A, _ b: B, _ transport: Transport = .tcp, _ use: (ZMQProxy, String, String) async throws -> Void
    ) async throws {
        let frontend = ZMQSocket(a), backend = ZMQSocket(b)
        let places = (try await frontend.bind(ZMQSocketTests.endpoint(transport)), try await backend.bind(ZMQSocketTests.endpoint(transport)))
        let proxy = try ZMQProxy(frontend: frontend, backend: backend)
        let running = Task { try await proxy.run() }
        try await use(proxy, "\(places.0)", "\(places.1)")
        proxy.terminate()
        try await running.value
        await frontend.close()
        await backend.close()
    }

    @Test(arguments: [Transport.tcp, .ipc, .inproc]) func `REQ clients reach REP workers through ROUTER and DEALER`(transport: Transport) async throws {
        try await proxied(.router, .dealer, transport) { proxy, front, back in
            let workers = try (0..<3).map { number in
                let worker = ZMQSocket(.rep)
                try worker.connect(back)
                return (worker, Task { try await worker.serve { request in ZMQMessage(texts: ["\(number)", request.text]) } })
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for client in 0..<4 {
                    group.addTask {
                        try await withZMQSocket(.req, connect: front) { req in
                            for number in 0..<200 {
                                let reply = try await req.request(ZMQMessage("\(client)-\(number)"))
                                #expect(reply.text == "\(client)-\(number)")
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            let statistics = proxy.statistics
            #expect(statistics.receivedByFrontend.messages == 800 && statistics.sentByBackend == statistics.receivedByFrontend)
            #expect(statistics.receivedByBackend.messages == 800 && statistics.sentByFrontend.messages == 800 && statistics.refused == 0)
            for (worker, serving) in workers {
                await worker.close()
                try await serving.value
            }
        }
    }

    @Test(arguments: [Transport.tcp, .ipc, .inproc]) func `subscriptions pass XPUB and XSUB, and reach publishers that come later`(transport: Transport)
        async throws
    {
        try await proxied(.xsub, .xpub, transport) { _, front, back in
            let sub = ZMQSocket(.sub), first = ZMQSocket(.pub)
            try first.connect(front)
            try sub.connect(back)
            sub.subscribe(to: "weather")
            try await ZMQSocketTests.until { first.subscriptionCount == 1 }
            for topic in ["news", "weather"] { try await first.send(ZMQMessage(texts: [topic, "1"])) }
            let one = try await sub.receive()
            #expect(one == ["weather", "1"] && first.counters.droppedUnroutable == 1)
            let second = ZMQSocket(.pub)
            try second.connect(front)
            try await ZMQSocketTests.until { second.subscriptionCount == 1 }
            try await second.send(["weather", "2"])
            let two = try await sub.receive()
            #expect(two == ["weather", "2"])
            sub.unsubscribe(from: "weather")
            try await ZMQSocketTests.until { first.subscriptionCount + second.subscriptionCount == 0 }
            for socket in [first, second] { await socket.close() }
            await sub.close()
        }
    }

    @Test(arguments: [Transport.tcp, .inproc]) func `PULL to PUSH: all, in order, and nothing is taken while there is no worker`(transport: Transport)
        async throws
    {
        try await proxied(.pull, .push, transport) { proxy, front, back in
            let push = ZMQSocket(.push)
            try push.connect(front)
            async let sending: Void = { for number in 0..<50_000 { try await push.send("\(number)") } }()
            try await ZMQSocketTests.until { push.counters.sent > 1_000 }
            #expect(proxy.statistics.receivedByFrontend.messages == 0)
            let pull = ZMQSocket(.pull)
            try pull.connect(back)
            for number in 0..<50_000 {
                let message = try await pull.receive()
                try #require(message.text == "\(number)")
            }
            try await sending
            #expect(proxy.statistics.sentByBackend.messages == 50_000 && proxy.statistics.receivedByFrontend == proxy.statistics.sentByBackend)
            await push.close()
            await pull.close()
        }
    }

    @Test func `a paused proxy holds everything up until it resumes`() async throws {
        try await proxied(.pull, .push) { proxy, front, back in
            let push = ZMQSocket(.push), pull = ZMQSocket(.pull)
            try push.connect(front)
            try pull.connect(back)
            try await push.send("before")
            let before = try await pull.receive()
            proxy.pause()
            let count = proxy.statistics.sentByBackend.messages
            #expect(before == "before" && proxy.isPaused && count == 1)
            for number in 0..<100 { try await push.send("\(number)") }
            await #expect(throws: ZMQError.timedOut) { _ = try await pull.receive(timeout: .milliseconds(50)) }
            #expect(proxy.statistics.sentByBackend.messages == 1)
            proxy.resume()
            for number in 0..<100 {
                let message = try await pull.receive()
                #expect(message.text == "\(number)")
            }
            await push.close()
            await pull.close()
        }
    }

    @Test func `the capture socket gets a copy of what passes in both directions`() async throws {
        let router = ZMQSocket(.router), dealer = ZMQSocket(.dealer), capture = ZMQSocket(.push), log = ZMQSocket(.pull)
        let front = try await router.bind("tcp://127.0.0.1:*"), back = try await dealer.bind("tcp://127.0.0.1:*")
        try log.connect("\(try await capture.bind("tcp://127.0.0.1:*"))")
        let proxy = try ZMQProxy(frontend: router, backend: dealer, capture: capture)
        let running = Task { try await proxy.run() }
        let rep = ZMQSocket(.rep), req = ZMQSocket(.req)
        try rep.connect("\(back)")
        try req.connect("\(front)")
        let serving = Task { try await rep.serve { _ in "yes" } }
        for number in 0..<50 {
            _ = try await req.request(ZMQMessage("\(number)"))
            let asked = try await log.receive(), answered = try await log.receive()
            #expect(asked.text == "\(number)" && asked.count == 3 && answered.text == "yes" && answered[0] == asked[0])
        }
        running.cancel()
        await #expect(throws: ZMQError.cancelled) { try await running.value }
        serving.cancel()
        await #expect(throws: ZMQError.cancelled) { try await serving.value }
        for close in [router.close, dealer.close, capture.close, log.close, rep.close, req.close] { await close() }
    }

    @Test func `what found no room when it was cancelled is sent by the next run`() async throws {
        var small = ZMQSocketOptions()
        small.sendHighWaterMark = 1
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push, options: small), source = ZMQSocket(.push), sink = ZMQSocket(.pull)
        let front = try await pull.bind("tcp://127.0.0.1:*"), back = try await push.bind("tcp://127.0.0.1:*")
        try sink.connect("\(back)")
        try source.connect("\(front)")
        let proxy = try ZMQProxy(frontend: pull, backend: push)
        for number in 0..<500 { try await source.send("\(number)") }
        var seen = 0
        while seen < 500 {
            let running = Task { try await proxy.run() }
            for _ in 0..<50 {
                let message = try await sink.receive()
                #expect(message.text == "\(seen)")
                seen += 1
            }
            running.cancel()
            await #expect(throws: ZMQError.cancelled) { try await running.value }
        }
        for close in [pull.close, push.close, source.close, sink.close] { await close() }
    }

    @Test func `sockets between which nothing can go are refused, and a closed one ends it`() async throws {
        let pull = ZMQSocket(.pull), other = ZMQSocket(.pull), push = ZMQSocket(.push)
        #expect(throws: ZMQError.self) { try ZMQProxy(frontend: pull, backend: other) }
        let proxy = try ZMQProxy(frontend: pull, backend: push)
        let running = Task { try await proxy.run() }
        await pull.close()
        await #expect(throws: ZMQError.closed) { try await running.value }
        await other.close()
        await push.close()
    }

    // MARK: The control socket

    @Test func `a REP obeys commands and answers each`() async throws {
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push), control = ZMQSocket(.rep), steer = ZMQSocket(.req)
        let front = try await pull.bind("tcp://127.0.0.1:*"), back = try await push.bind("tcp://127.0.0.1:*")
        try steer.connect("\(try await control.bind(ZMQSocketTests.endpoint(.inproc)))")
        let proxy = try ZMQProxy(frontend: pull, backend: push)
        let running = Task { try await proxy.run(control: control) }
        let source = ZMQSocket(.push), sink = ZMQSocket(.pull)
        try source.connect("\(front)")
        try sink.connect("\(back)")
        try await source.send("five5")
        _ = try await sink.receive()
        func ask(_ command: String) async throws -> ZMQMessage { try await steer.request(ZMQMessage(command)) }
        let statistics = try await ask("STATISTICS")
        #expect(statistics.frames.map { $0[0] } == [1, 5, 0, 0, 0, 0, 1, 5] && statistics.frames.allSatisfy { $0.count == 8 })
        let paused = try await ask("PAUSE")
        #expect(paused == "" && proxy.isPaused)
        let resumed = try await ask("RESUME"), unknown = try await ask("JUMP")
        #expect(resumed == "" && !proxy.isPaused && unknown == "unknown command")
        _ = try await ask("TERMINATE")
        try await running.value
        for close in [pull.close, push.close, control.close, steer.close, source.close, sink.close] { await close() }
    }

    @Test func `a PAIR is told statistics alone, and a PUSH cannot hear`() async throws {
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push), control = ZMQSocket(.pair), steer = ZMQSocket(.pair)
        try steer.connect("\(try await control.bind(ZMQSocketTests.endpoint(.inproc)))")
        let proxy = try ZMQProxy(frontend: pull, backend: push)
        await #expect(throws: ZMQError.self) { try await proxy.run(control: push) }
        let running = Task { try await proxy.run(control: control) }
        for command in ["PAUSE", "nonsense", "STATISTICS"] { try await steer.send(command) }
        let answer = try await steer.receive()
        #expect(answer.count == 8 && proxy.isPaused)
        try await steer.send("TERMINATE")
        try await running.value
        for close in [pull.close, push.close, control.close, steer.close] { await close() }
    }
}
