import MartletEventLoop
import MartletNet
import MartletZMQ
import Synchronization
import Testing

/// Blocking calls of several threads at a time.
@Suite struct ZMQBlockingTests {
    /// A number that threads share.
    final class Number: Sendable {
        let value: Atomic<Int>
        init(_ value: Int) { self.value = Atomic(value) }
    }

    /// Runs the body on a thread of its own, and suspends until it has ended.
    @discardableResult private func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        let once = Once<Result<Value, any Error>>()
        #expect(DetachedThread.start(stackSize: 512 << 10) { once.resume(returning: Result { try body() }) } == 0)
        return try await once.wait().get()
    }

    private func error(_ body: () throws -> Void) -> ZMQError? {
        do { try body() } catch { return error as? ZMQError }
        return nil
    }

    @Test(arguments: [ZMQSocketTests.Transport.tcp, .ipc, .inproc]) func `several threads send and several receive: all, once`(
        transport: ZMQSocketTests.Transport
    ) async throws {
        let pull = ZMQBlockingSocket(.pull), push = ZMQBlockingSocket(.push), each = 5_000
        try await onThread { try push.connect("\(try pull.bind(ZMQSocketTests.endpoint(transport)))") }
        let seen = try await withThrowingTaskGroup(of: [Int].self) { group in
            for sender in 0..<3 {
                group.addTask {
                    try await onThread {
                        for number in 0..<each { try push.send("\(sender * each + number)") }
                        return []
                    }
                }
            }
            let left = Number(3 * each)
            for _ in 0..<2 {
                group.addTask {
                    try await onThread {
                        var seen: [Int] = []
                        while left.value.load(ordering: .relaxed) > 0 {
                            do throws(ZMQError) { seen.append(Int(try pull.receive(timeout: .milliseconds(20)).text) ?? -1) } catch {
                                if error != .timedOut { throw error }
                                continue
                            }
                            left.value.wrappingSubtract(1, ordering: .relaxed)
                        }
                        return seen
                    }
                }
            }
            return try await group.reduce(into: []) { $0 += $1 }
        }
        #expect(seen.sorted() == Array(0..<(3 * each)))
        try await onThread {
            push.close()
            pull.close()
        }
    }

    @Test func `a thread for each worker answers requests of threads`() async throws {
        let rep = ZMQBlockingSocket(.rep)
        let endpoint = try await onThread { try rep.bind("tcp://127.0.0.1:*") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    try await onThread {
                        do throws(ZMQError) {
                            while true {
                                let request = try rep.nextRequest(), text = request.message.text
                                try request.reply(ZMQMessage("re " + text))
                            }
                        } catch { #expect(error == .closed) }
                    }
                }
            }
            try await withThrowingTaskGroup(of: Void.self) { clients in
                for client in 0..<4 {
                    clients.addTask {
                        try await onThread {
                            let req = ZMQBlockingSocket(.req)
                            try req.connect("\(endpoint)")
                            for number in 0..<100 {
                                let reply = try req.request(ZMQMessage("\(client)/\(number)"), timeout: .seconds(60))
                                #expect(reply.text == "re \(client)/\(number)")
                            }
                            req.close()
                        }
                    }
                }
                try await clients.waitForAll()
            }
            // Those who wait for a request are woken.
            try await onThread { rep.close() }
            try await group.waitForAll()
        }
    }

    @Test func `waits end in time, and nothing is lost by that`() async throws {
        try await onThread {
            var options = ZMQSocketOptions()
            options.sendHighWaterMark = 2
            let pull = ZMQBlockingSocket(.pull), push = ZMQBlockingSocket(.push, options: options), start = ContinuousClock.now
            #expect(self.error { _ = try pull.receive(timeout: .milliseconds(30)) } == .timedOut)
            #expect(self.error { try push.send(ZMQMessage("x"), timeout: .milliseconds(30)) } == .timedOut)
            #expect(ContinuousClock.now - start >= .milliseconds(60))
            let endpoint = try pull.bind("tcp://127.0.0.1:*")
            try push.connect("\(endpoint)")
            for number in 0..<100 { try push.send(ZMQMessage("\(number)"), timeout: .seconds(60)) }
            for number in 0..<100 {
                let message = try pull.receive(timeout: .seconds(60))
                #expect(message.text == "\(number)")
            }
            #expect(pull.tryReceive() == nil && pull.boundEndpoints == [endpoint] && push.counters.sent == 100)
            let lost = ZMQBlockingSocket(.req)
            try lost.connect("tcp://127.0.0.1:9")
            #expect(self.error { _ = try lost.request("anybody?", timeout: .milliseconds(30)) } == .timedOut)
            #expect(self.error { try lost.bind("nonsense") } != nil)
            for close in [pull.close, push.close, lost.close] { close() }
        }
    }

    @Test(arguments: [ZMQSocketTests.Transport.tcp, .inproc]) func `closing from another thread ends every wait`(transport: ZMQSocketTests.Transport)
        async throws
    {
        var options = ZMQSocketOptions()
        options.sendHighWaterMark = 1
        let pull = ZMQBlockingSocket(.pull), push = ZMQBlockingSocket(.push, options: options), waiting = Number(0)
        try await onThread { try pull.bind(ZMQSocketTests.endpoint(transport)) }
        async let receivers: Void = withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    try await onThread {
                        waiting.value.wrappingAdd(1, ordering: .relaxed)
                        #expect(self.error { _ = try pull.receive() } == .closed)
                    }
                }
            }
            group.addTask {
                try await onThread {
                    waiting.value.wrappingAdd(1, ordering: .relaxed)
                    #expect(self.error { try push.send("nobody pulls") } == .closed)
                }
            }
            try await group.waitForAll()
        }
        try await ZMQSocketTests.until { waiting.value.load(ordering: .relaxed) == 4 }
        try await onThread {
            pull.close()
            push.close()
            #expect(self.error { _ = try pull.receive() } == .closed && self.error { try push.send("late") } == .closed)
        }
        try await receivers
    }

    @Test func `publishers and subscribers on threads`() async throws {
        let pub = ZMQBlockingSocket(.pub), sub = ZMQBlockingSocket(.sub)
        try await onThread { try sub.connect("\(try pub.bind("tcp://127.0.0.1:*"))") }
        sub.subscribe(to: "a")
        try await ZMQSocketTests.until { pub.socket.subscriptionCount == 1 }
        let got = try await onThread {
            for text in ["b1", "a1", "a2"] { try pub.send(text) }
            return [try sub.receive(), try sub.receive()]
        }
        #expect(got == ["a1", "a2"])
        sub.unsubscribe(from: "a")
        try await ZMQSocketTests.until { pub.socket.subscriptionCount == 0 }
        try await onThread {
            sub.close()
            pub.close()
        }
    }
}
