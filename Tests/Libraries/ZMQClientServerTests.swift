import MartletZMQ
import Testing

/// CLIENT and SERVER (RFC 41), RADIO and DISH (RFC 48), between two of our sockets over each transport.
@Suite struct ZMQClientServerTests {
    typealias Transport = ZMQSocketTests.Transport

    private func pair<A: ZMQPattern, B: ZMQPattern>(
        _ a: A, _ b: B, _ transport: Transport, _ options: ZMQSocketOptions = ZMQSocketOptions(),
        _ use: (ZMQSocket<A>, ZMQSocket<B>) async throws -> Void
    ) async throws {
        let bound = ZMQSocket(a, options: options), other = ZMQSocket(b, options: options)
        let endpoint = try await bound.bind(ZMQSocketTests.endpoint(transport))
        try other.connect("\(endpoint)")
        try await use(bound, other)
        await other.close()
        await bound.close()
    }

    // MARK: CLIENT and SERVER

    @Test(arguments: Transport.allCases) func `SERVER answers each client by its number, in any order`(transport: Transport) async throws {
        try await pair(.server, .client, transport) { server, client in
            let other = ZMQSocket(.client)
            try other.connect("\(server.boundEndpoints[0])")
            try await client.send("one")
            let one = try await server.receive()
            try await other.send("two")
            let two = try await server.receive()
            #expect(one.text == "one" && two.text == "two" && one.client != two.client && one.client.rawValue != 0)
            try await server.send("for two", to: two.client)
            for number in 0..<3 { try await server.send("for one \(number)", to: one.client) }
            let answer = try await other.receive()
            #expect(answer == "for two")
            for number in 0..<3 {
                let answer = try await client.receive()
                #expect(answer == ZMQMessage("for one \(number)"))
            }
            await other.close()
            try await ZMQSocketTests.until { server.peerCount == 1 }
            await #expect(throws: ZMQError.noClient(two.client)) { try await server.send("gone", to: two.client) }
            await #expect(throws: ZMQError.noClient(ZMQClientID(rawValue: 0))) { try await server.disconnect(ZMQClientID(rawValue: 0)) }
        }
    }

    @Test func `a client that was disconnected comes again under another number`() async throws {
        try await pair(.server, .client, .tcp) { server, client in
            try await client.send("hello")
            let first = try await server.receive().client
            try await server.disconnect(first)
            try await ZMQSocketTests.until { (try? server.trySend([], to: first)) == nil }
            try await client.send("again")
            let second = try await server.receive()
            #expect(second.text == "again" && second.client != first)
        }
    }

    @Test(arguments: [Transport.tcp, .inproc]) func `SERVER waits for a client above the mark, and only for that one [RFC 41]`(transport: Transport)
        async throws
    {
        var options = ZMQSocketOptions()
        (options.sendHighWaterMark, options.receiveHighWaterMark) = (10, 10)
        try await pair(.server, .client, transport, options) { server, client in
            let other = ZMQSocket(.client, options: options)
            try other.connect("\(server.boundEndpoints[0])")
            try await client.send("slow")
            let slow = try await server.receive().client
            try await other.send("quick")
            let quick = try await server.receive().client
            let large = [UInt8](repeating: 7, count: 200_000)
            var sent = 0
            while try server.trySend(large, to: slow) { sent += 1 }
            await #expect(throws: ZMQError.timedOut) {
                while true { try await server.send(large, to: slow, timeout: .milliseconds(50)); sent += 1 }
            }
            for number in 0..<100 {
                try await server.send("\(number)", to: quick)
                let answer = try await other.receive()
                #expect(answer == ZMQMessage("\(number)"))
            }
            async let last: Void = server.send("last", to: slow)
            for _ in 0..<sent {
                let answer = try await client.receive()
                #expect(answer.byteCount == large.count)
            }
            let end = try await client.receive()
            try await last
            #expect(end == "last" && server.counters.droppedAtMark == 0)
            await other.close()
        }
    }

    // MARK: RADIO and DISH

    @Test(arguments: Transport.allCases) func `DISH gets the messages to its groups, matched whole`(transport: Transport) async throws {
        try await pair(.radio, .dish, transport) { radio, dish in
            #expect(dish.join("weather") && dish.join("") && dish.join("sports"))
            let isTwice = dish.join("sports")
            #expect(!isTwice)
            try await ZMQSocketTests.until { radio.memberCount == 3 }
            for group in ["weather", "weath", "weather2", "", "sports"] as [ZMQGroup] { try await radio.send("to \(group)", to: group) }
            for group in ["weather", "", "sports"] as [ZMQGroup] {
                let message = try await dish.receive()
                #expect(message == ZMQGroupMessage(group: group, body: Array("to \(group)".utf8)))
            }
            #expect(dish.leave("weather") && !dish.leave("weather"))
            try await ZMQSocketTests.until { radio.memberCount == 2 }
            try await radio.send("nobody", to: "weather")
            try await radio.send("end", to: "sports")
            for try await message in dish.messages {
                #expect(message.text == "end" && message.group == "sports")
                break
            }
            #expect(radio.counters.droppedUnroutable == 3 && radio.counters.sent == 4)
        }
    }

    @Test(arguments: [Transport.tcp, .inproc]) func `RADIO drops for a DISH above the mark, and counts`(transport: Transport) async throws {
        var options = ZMQSocketOptions()
        (options.sendHighWaterMark, options.receiveHighWaterMark) = (10, 10)
        try await pair(.radio, .dish, transport, options) { radio, dish in
            dish.join("g")
            try await ZMQSocketTests.until { radio.memberCount == 1 }
            let large = [UInt8](repeating: 7, count: 100_000)
            for _ in 0..<1_000 { try await radio.send(large, to: "g") }
            let dropped = radio.counters.droppedAtMark
            #expect(dropped > 0 && radio.counters.sent + dropped == 1_000)
            for _ in 0..<radio.counters.sent {
                let message = try await dish.receive()
                #expect(message.body.count == large.count)
            }
            #expect(dish.tryReceive() == nil)
        }
    }

    @Test func `a DISH that connects again is in its groups again`() async throws {
        let endpoint = ZMQSocketTests.endpoint(.ipc), dish = ZMQSocket(.dish)
        dish.join("g")
        try dish.connect(endpoint)
        for number in 0..<3 {
            try await withZMQSocket(.radio, bind: endpoint) { radio in
                try await ZMQSocketTests.until { radio.memberCount == 1 }
                try await radio.send("\(number)", to: "g")
                let message = try await dish.receive()
                #expect(message.text == "\(number)")
            }
        }
        await dish.close()
    }

    @Test func `a group has at most 255 bytes, and no zero [RFC 48]`() throws {
        #expect(throws: ZMQError.groupInvalid) { try ZMQGroup([1, 0]) }
        #expect(throws: ZMQError.groupInvalid) { try ZMQGroup([UInt8](repeating: 1, count: 256)) }
        #expect(try ZMQGroup([UInt8](repeating: 1, count: 255)).bytes.count == 255)
        #expect("a" as ZMQGroup == (try ZMQGroup([97])) && ("a" as ZMQGroup).description == "a")
    }

    // MARK: What nobody reads

    @Test(arguments: [Transport.tcp, .inproc]) func `a SUB that reads nothing holds no PUB up`(transport: Transport) async throws {
        try await pair(.pub, .sub, transport) { pub, sub in
            sub.subscribe(to: "")
            try await ZMQSocketTests.until { pub.subscriptionCount == 1 }
            let payload = [UInt8](repeating: 7, count: 10_000)
            for _ in 0..<10_000 { try await pub.send(payload) }
            let counters = pub.counters
            #expect(counters.droppedAtMark > 0 && counters.sent + counters.droppedAtMark == 10_000)
        }
    }

    @Test(arguments: [Transport.tcp, .inproc]) func `what a PUB is sent is thrown away, and its peer is not held up`(transport: Transport) async throws {
        var options = ZMQSocketOptions()
        (options.sendHighWaterMark, options.receiveHighWaterMark) = (10, 10)
        try await pair(.pub, .xsub, transport, options) { pub, xsub in
            try await ZMQSocketTests.until { pub.peerCount == 1 && xsub.peerCount == 1 }
            for number in 0..<100 {
                let large = ZMQMessage(frames: [[9], [UInt8](repeating: 9, count: 10_000)])
                try await xsub.send(large)
                try await ZMQSocketTests.until { pub.counters.droppedUnwanted == number + 1 }
            }
            xsub.subscribe(to: "a")
            try await ZMQSocketTests.until { pub.subscriptionCount == 1 }
        }
    }
}
