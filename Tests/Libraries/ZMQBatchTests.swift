import MartletZMQ
import Testing

/// Reading what has come in place.
@Suite struct ZMQBatchTests {
    private func texts(_ batch: inout ZMQBatch, atMost most: Int = .max) -> [String] {
        var texts: [String] = []
        while texts.count < most, batch.next() {
            var frames: [String] = []
            for frame in 0..<batch.count {
                let span = batch.span(of: frame)
                var bytes: [UInt8] = []
                for at in span.indices { bytes.append(span[at]) }
                frames.append(bytes.count > 100 ? "\(bytes.count)" : String(decoding: bytes, as: UTF8.self))
            }
            texts.append(frames.joined(separator: "|"))
        }
        return texts
    }

    private func read(_ count: Int, _ socket: ZMQSocket<some ZMQReceiver>) async throws -> [String] {
        var read: [String] = []
        while read.count < count { read += try await socket.withBatch { texts(&$0) } }
        return read
    }

    @Test(arguments: ZMQSocketTests.Transport.allCases) func `a batch has the messages in their order, frame by frame`(transport: ZMQSocketTests.Transport)
        async throws
    {
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push)
        try push.connect("\(try await pull.bind(ZMQSocketTests.endpoint(transport)))")
        var sent: [String] = []
        for number in 0..<500 {
            let large = [UInt8](repeating: 1, count: 5_000)
            let frames = [[Array("\(number)".utf8)], [[], Array("\(number)".utf8), []], [large], [Array("a".utf8), large]][number % 4]
            try await push.send(ZMQMessage(frames: frames))
            sent.append(frames.map { $0.count > 100 ? "\($0.count)" : String(decoding: $0, as: UTF8.self) }.joined(separator: "|"))
        }
        let received = try await read(500, pull)
        #expect(received == sent)
        await push.close()
        await pull.close()
        await #expect(throws: ZMQError.closed) { try await pull.withBatch { _ in } }
    }

    @Test func `what was not looked at comes again, in its order`() async throws {
        let pull = ZMQSocket(.pull), push = ZMQSocket(.push)
        try push.connect("\(try await pull.bind(ZMQSocketTests.endpoint(.inproc)))")
        for number in 0..<10 { try await push.send("\(number)") }
        let first = try await pull.withBatch { texts(&$0, atMost: 3) }
        #expect(first == ["0", "1", "2"])
        struct Enough: Error {}
        await #expect(throws: Enough.self) {
            try await pull.withBatch { batch in
                _ = batch.next()
                throw Enough()
            }
        }
        let fifth = try await pull.receive()
        #expect(fifth == "4")
        let rest = try await pull.withBatch { texts(&$0) }
        #expect(rest == ["5", "6", "7", "8", "9"])
        await #expect(throws: ZMQError.timedOut) { try await pull.withBatch(timeout: .milliseconds(10)) { _ in } }
        await push.close()
        await pull.close()
    }

    @Test func `peers have their turns, and a ROUTER's first frame names them`() async throws {
        let router = ZMQSocket(.router), endpoint = ZMQSocketTests.endpoint(.inproc)
        try await router.bind(endpoint)
        var dealers: [ZMQSocket<ZMQDealer>] = []
        for name in ["a", "b", "c"] {
            var options = ZMQSocketOptions()
            options.routingID = Array(name.utf8)
            let dealer = ZMQSocket(.dealer, options: options)
            try dealer.connect(endpoint)
            dealers.append(dealer)
        }
        for (dealer, count) in zip(dealers, [4, 1, 2]) { for number in 0..<count { try await dealer.send("\(number)") } }
        let received = try await read(7, router)
        #expect(received.sorted() == ["a|0", "a|1", "a|2", "a|3", "b|0", "c|0", "c|1"])
        #expect(Set(received.prefix(3).map { $0.prefix(1) }) == ["a", "b", "c"] && received.suffix(2) == ["a|2", "a|3"])
        for dealer in dealers { await dealer.close() }
        await router.close()
    }

    @Test func `a SUB's batch has what it subscribes to alone`() async throws {
        let pub = ZMQSocket(.pub), sub = ZMQSocket(.sub)
        try sub.connect("\(try await pub.bind(ZMQSocketTests.endpoint(.inproc)))")
        for topic in ["a", "b"] { sub.subscribe(to: topic) }
        for text in ["a1", "b1", "a2", "b2"] { try await pub.send(text) }
        sub.unsubscribe(from: "b")
        let received = try await read(2, sub)
        #expect(received == ["a1", "a2"])
        await sub.close()
        await pub.close()
    }
}
