import Foundation
import MartletZMQ
import Synchronization
import Testing

/// Connections that are cut at any time: what is sent again, what is lost, and what never happens twice.
@Suite struct ZMQReconnectTests {
    /// A proxy before a bound endpoint, and options that try again at once.
    private func proxy(to endpoint: ZMQEndpoint) throws -> CuttingProxy {
        try CuttingProxy(to: try #require(endpoint.description.split(separator: ":").last.flatMap { UInt16($0) }))
    }

    private var eager: ZMQSocketOptions {
        var options = ZMQSocketOptions()
        options.reconnect.delayMin = .milliseconds(1)
        options.reconnect.delayMax = .milliseconds(5)
        options.linger = .milliseconds(100)
        return options
    }

    /// Cuts the proxy `times` times, each time after something went through.
    private func cut(_ proxy: CuttingProxy, times: Int, _ progress: @escaping @Sendable () -> Int) async throws {
        for _ in 0..<times {
            let seen = progress()
            try await ZMQSocketTests.until { progress() > seen }
            proxy.cut()
        }
    }

    @Test func `PUSH and PULL over many cuts: nothing comes twice`() async throws {
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push, options: eager)
        let proxy = try proxy(to: try await pull.bind("tcp://127.0.0.1:*"))
        try push.connect("tcp://127.0.0.1:\(proxy.port)")
        let received = Atomic<Int>(0)
        let receiving = Task {
            // Their order holds within a connection; an old one's last are read in turn with the next one's first.
            var seen: Set<Int> = []
            for try await message in pull.messages {
                let number = try #require(Int(message.text))
                if number < 0 { return }
                #expect(seen.insert(number).inserted)
                received.wrappingAdd(1, ordering: .relaxed)
            }
        }
        let hasEnough = Atomic(false)
        let sending = Task {
            var number = 0
            while !hasEnough.load(ordering: .relaxed) {
                try await push.send("\(number)")
                number += 1
                if number % 64 == 0 { try await Task.sleep(for: .milliseconds(1)) }
            }
            // What is lost was in the kernels' buffers: the last word is said until it is heard.
            while !receiving.isCancelled, push.counters.sent < UInt64.max {
                do { try await push.send("-1", timeout: .milliseconds(50)) } catch ZMQError.closed { return } catch ZMQError.timedOut { continue }
                try await Task.sleep(for: .milliseconds(5))
            }
        }
        try await cut(proxy, times: cuts) { received.load(ordering: .relaxed) }
        hasEnough.store(true, ordering: .relaxed)
        try await receiving.value
        await push.close()
        await pull.close()
        try? await sending.value
        #expect(push.counters.handshakes > 10 && received.load(ordering: .relaxed) > 100)
    }

    /// `ZMQ_CUTS`: how often, 100 unless told.
    private var cuts: Int { ProcessInfo.processInfo.environment["ZMQ_CUTS"].flatMap { Int($0) } ?? 100 }

    @Test func `each message leaves once, and all that was passed on arrives: what is lost is counted exactly`() async throws {
        let pull = ZMQSocket(.pull)
        var options = eager
        options.linger = .seconds(60)
        let push = ZMQSocket(.push, options: options)
        let port = try #require(try await pull.bind("tcp://127.0.0.1:*").description.split(separator: ":").last.flatMap { UInt16($0) })
        // A third in the handshake, a third among few messages, a third behind what the buffers hold.
        let budgets = (0..<cuts).map { Int.random(in: [1...100, 100...4_000, 4_000...400_000][$0 % 3]) }
        let relay = try CountingRelay(to: port, cutAfter: budgets)
        try push.connect("tcp://127.0.0.1:\(relay.port)")
        let receiving = Task {
            var received: [String] = []
            for try await message in pull.messages { received.append(String(message.text.prefix { $0 != " " })) }
            return received
        }
        var sent = 0
        while relay.seen.cuts < cuts {
            try await push.send(ZMQMessage("\(sent) " + String(repeating: "x", count: sent % 3_000)))
            sent += 1
        }
        try await push.send("end")
        await push.close()
        try await ZMQSocketTests.until { relay.seen.left.last == Array("end".utf8) }
        // An older connection's last may come behind the end.
        try await ZMQSocketTests.until { pull.counters.received >= relay.seen.passed.count }
        await pull.close()
        let received = try await receiving.value.filter { $0 != "end" }
        relay.end()
        let seen = relay.seen
        let left = seen.left.dropLast().map { number(of: $0) }, passed = seen.passed.dropLast().map { number(of: $0) }
        // All of them left, each once and in the order of the sends: what a cut has kept back goes first on the next connection.
        #expect(left == (0..<sent).map { "\($0)" })
        #expect(Set(passed) == Set(received) && passed.count == received.count)
        #expect(push.counters.droppedUnsent == 0 && push.counters.sent == UInt64(received.count + (left.count - passed.count) + 1))
    }

    private func number(of message: [UInt8]) -> String { String(decoding: message.prefix { $0 != UInt8(ascii: " ") }, as: UTF8.self) }

    @Test func `requests over many cuts: each has its own reply or fails, and can be sent again`() async throws {
        let rep = ZMQSocket(.rep), req = ZMQSocket(.req, options: eager)
        let proxy = try proxy(to: try await rep.bind("tcp://127.0.0.1:*"))
        try req.connect("tcp://127.0.0.1:\(proxy.port)")
        let serving = Task { try await rep.serve { ["re", $0.text] } }
        let answered = Atomic<Int>(0), hasEnough = Atomic(false)
        let asking = Task {
            var number = 0, lost = 0
            while !hasEnough.load(ordering: .relaxed) {
                do throws(ZMQError) {
                    let reply = try await req.request(ZMQMessage("\(number)"), timeout: .seconds(20))
                    #expect(reply == ["re", "\(number)"])
                    answered.wrappingAdd(1, ordering: .relaxed)
                    number += 1
                } catch {
                    #expect(error == .peerLost)
                    lost += 1
                }
            }
            return lost
        }
        try await cut(proxy, times: cuts) { answered.load(ordering: .relaxed) }
        hasEnough.store(true, ordering: .relaxed)
        _ = await asking.value
        serving.cancel()
        await req.close()
        await rep.close()
    }

    @Test func `a subscriber has its subscriptions again after each cut`() async throws {
        let pub = ZMQSocket(.xpub), sub = ZMQSocket(.sub, options: eager)
        let proxy = try proxy(to: try await pub.bind("tcp://127.0.0.1:*"))
        sub.subscribe(to: "a")
        try sub.connect("tcp://127.0.0.1:\(proxy.port)")
        for round in 0..<50 {
            let news = try await pub.receive()
            #expect(news == "\u{1}a")
            try await pub.send(["a", "\(round)"])
            let message = try await sub.receive()
            #expect(message == ["a", "\(round)"])
            proxy.cut()
            let end = try await pub.receive()
            #expect(end == "\u{0}a")
        }
        await sub.close()
        await pub.close()
    }

    @Test func `messages that wait for a connection leave once it is there, below the mark all of them`() async throws {
        let first = ZMQSocket(.pull)
        let endpoint = try await first.bind("tcp://127.0.0.1:*")
        await first.close()
        let push = ZMQSocket(.push, options: eager)
        try push.connect("\(endpoint)")
        for number in 0..<1_000 { try await push.send("\(number)") }
        let isTaken = try push.trySend("one more")
        #expect(!isTaken)
        let pull = ZMQSocket(.pull)
        try await pull.bind("\(endpoint)")
        for number in 0..<1_000 {
            let message = try await pull.receive()
            #expect(message.text == "\(number)")
        }
        await push.close()
        await pull.close()
        #expect(push.counters.sent == 1_000 && push.counters.droppedUnsent == 0)
    }

    @Test func `what was left of a request that was given up does not leave on the next connection`() async throws {
        try await withZMQSocket(.rep, bind: "tcp://127.0.0.1:*", runsOnLoop: true) { rep in
            let endpoint = "\(rep.boundEndpoints[0])", isConnected = Atomic(false), isHeld = Atomic(false)
            let asking = Task {
                let req = ZMQSocket(.req, options: eager)
                try req.connect(endpoint)
                try await ZMQSocketTests.until { req.peerCount == 1 }
                isConnected.store(true, ordering: .sequentiallyConsistent)
                try await ZMQSocketTests.until { isHeld.load(ordering: .sequentiallyConsistent) }
                // More than the kernel's buffers hold while the other loop is busy.
                let large = ZMQMessage([UInt8](repeating: 1, count: 32 << 20))
                await #expect(throws: ZMQError.timedOut) { try await req.request(large, timeout: .milliseconds(200)) }
                isHeld.store(false, ordering: .sequentiallyConsistent)
                let answer = try await req.request("second")
                #expect(answer.text == "6 bytes")
                await req.close()
            }
            while !isConnected.load(ordering: .sequentiallyConsistent) { try await Task.sleep(for: .milliseconds(1)) }
            isHeld.store(true, ordering: .sequentiallyConsistent)
            while isHeld.load(ordering: .sequentiallyConsistent) { usleep(1_000) }
            let request = try await rep.nextRequest()
            let count = request.message.byteCount
            try await request.reply(ZMQMessage("\(count) bytes"))
            try await asking.value
        }
    }

    @Test func `a late reply is not the next request's`() async throws {
        for isCorrelating in [false, true] {
            var options = eager
            options.correlatesRequests = isCorrelating
            let router = ZMQSocket(.router), req = ZMQSocket(.req, options: options)
            try req.connect("\(try await router.bind("tcp://127.0.0.1:*"))")
            var late: ZMQMessage?
            // On a busy machine the time may be over before it leaves.
            while late == nil {
                await #expect(throws: ZMQError.timedOut) { try await req.request("first", timeout: .milliseconds(50)) }
                late = router.tryReceive()
            }
            async let reply = req.request("second")
            var requests = [try #require(late)]
            while requests.last?.text != "second" { requests.append(try await router.receive()) }
            for request in requests {
                var answer = request.frames
                answer[answer.count - 1] = Array("to \(request.text)".utf8)
                try await router.send(ZMQMessage(frames: answer))
            }
            let answer = try await reply
            #expect(answer == "to second")
            await req.close()
            await router.close()
        }
    }

    @Test func `linger is bounded, and what did not leave is counted`() async throws {
        var options = ZMQSocketOptions()
        options.linger = .milliseconds(50)
        let push = ZMQSocket(.push, options: options)
        try push.connect("tcp://127.0.0.1:9")
        for _ in 0..<10 { try await push.send("x") }
        let start = ContinuousClock.now
        await push.close()
        #expect(ContinuousClock.now - start >= .milliseconds(45))
        #expect(push.counters.droppedUnsent == 10)
    }
}
