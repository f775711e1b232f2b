import MartletZMQ
import Testing

/// An XPUB whose owner decides, how much it is told, and REQ that supersedes.
@Suite struct ZMQPublishingTests {
    typealias Transport = ZMQSocketTests.Transport

    private func options(_ change: (inout ZMQSocketOptions) -> Void) -> ZMQSocketOptions {
        var options = ZMQSocketOptions()
        change(&options)
        return options
    }

    @Test(arguments: [Transport.tcp, .ipc, .inproc]) func `an owner accepts subscriptions, with topics of its own, or does not [ZMQ_XPUB_MANUAL]`(
        transport: Transport
    ) async throws {
        let pub = ZMQSocket(.xpub, options: options { $0.decidesSubscriptions = true }), sub = ZMQSocket(.xsub)
        try sub.connect("\(try await pub.bind(ZMQSocketTests.endpoint(transport)))")
        for topic in ["plain", "other", "refused"] { sub.subscribe(to: topic) }
        var asked = pub.subscriptions.makeAsyncIterator()
        for _ in 0..<3 {
            let subscription = try #require(try await asked.next())
            #expect(subscription.isOn)
            switch subscription.text {
            case "plain": subscription.accept()
            case "other": subscription.accept(as: [Array("A".utf8), Array("B".utf8)])
            default: #expect(subscription.text == "refused")
            }
        }
        #expect(pub.subscriptionCount == 3)
        for topic in ["plain", "other", "A", "refused", "B"] { try await pub.send(topic) }
        for topic in ["plain", "A", "B"] {
            let message = try await sub.receive()
            #expect(message.text == topic)
        }
        // A user's message is none of the subscriptions.
        try await sub.send(["hello", "publisher"])
        let message = try await pub.receive()
        #expect(message == ["hello", "publisher"])
        sub.unsubscribe(from: "other")
        let end = try #require(try await asked.next())
        #expect(!end.isOn && end.text == "other")
        end.accept(as: [Array("A".utf8)])
        for topic in ["A", "B"] { try await pub.send(topic) }
        let last = try await sub.receive()
        #expect(last.text == "B")
        await sub.close()
        let gone = [try await asked.next(), try await asked.next()]
        #expect(Set(gone.compactMap { $0?.text }) == ["plain", "refused"] && gone.allSatisfy { $0?.isOn == false })
        #expect(pub.subscriptionCount == 0)
        gone[0]?.accept(as: [[1]], isOn: true)
        #expect(pub.subscriptionCount == 0)
        await pub.close()
        let over = try await asked.next()
        #expect(over == nil)
    }

    @Test(arguments: [Transport.tcp, .inproc]) func `a newcomer gets the last value, and nobody else does`(transport: Transport) async throws {
        let pub = ZMQSocket(.xpub, options: options { $0.decidesSubscriptions = true })
        let endpoint = "\(try await pub.bind(ZMQSocketTests.endpoint(transport)))"
        let keeping = Task {
            let values = ["weather": ["weather", "rain"] as ZMQMessage, "sports": ["sports", "1:0"]]
            for try await subscription in pub.subscriptions where subscription.isOn {
                if let last = values[subscription.text] { try subscription.send(last) }
                subscription.accept()
            }
        }
        for _ in 0..<2 {
            for topic in ["weather", "sports"] {
                let sub = ZMQSocket(.sub)
                sub.subscribe(to: topic)
                try sub.connect(endpoint)
                let first = try await sub.receive()
                #expect(first.text(of: 0) == topic && first.count == 2)
                try await ZMQSocketTests.until { pub.subscriptionCount > 0 }
                try await pub.send([topic, "news"])
                let second = try await sub.receive()
                #expect(second == [topic, "news"] && sub.tryReceive() == nil)
                await sub.close()
                try await ZMQSocketTests.until { pub.subscriptionCount == 0 }
            }
        }
        await pub.close()
        try await keeping.value
    }

    @Test(arguments: [(ZMQVerbosity.changes, "+a -a"), (.subscriptions, "+a +a -a"), (.everything, "+a +a -a -a")])
    func `an owner is told of changes, of all subscriptions, or of everything`(verbosity: ZMQVerbosity, expected: String) async throws {
        let pub = ZMQSocket(.xpub, options: options { $0.verbosity = verbosity }), endpoint = "\(try await pub.bind("tcp://127.0.0.1:*"))"
        var notes: [String] = []
        let subs = [ZMQSocket(.sub), ZMQSocket(.sub)]
        for (number, sub) in subs.enumerated() {
            sub.subscribe(to: "a")
            try sub.connect(endpoint)
            try await ZMQSocketTests.until { pub.subscriptionCount == number + 1 }
        }
        subs[0].unsubscribe(from: "a")
        try await ZMQSocketTests.until { pub.subscriptionCount == 1 }
        await subs[1].close()
        try await ZMQSocketTests.until { pub.subscriptionCount == 0 }
        while let note = pub.tryReceive() { notes.append((note.text.first == "\u{1}" ? "+" : "-") + note.text.dropFirst()) }
        #expect(notes.joined(separator: " ") == expected)
        await subs[0].close()
        await pub.close()
    }

    @Test func `a welcome comes first, once, also in the process`() async throws {
        for transport in [Transport.tcp, .inproc] {
            let pub = ZMQSocket(.pub, options: options { $0.welcome = ["w", "welcome"] }), sub = ZMQSocket(.sub)
            for topic in ["w", "a", "b"] { sub.subscribe(to: topic) }
            try sub.connect("\(try await pub.bind(ZMQSocketTests.endpoint(transport)))")
            try await ZMQSocketTests.until { pub.subscriptionCount == 3 }
            try await pub.send("a")
            for expected in [["w", "welcome"], "a"] as [ZMQMessage] {
                let message = try await sub.receive()
                #expect(message == expected)
            }
            #expect(sub.tryReceive() == nil && pub.counters.sent == 2)
            await sub.close()
            await pub.close()
        }
    }

    @Test func `an owner that never looks is told so much, and who says more is turned away`() async throws {
        let pub = ZMQSocket(.xpub, options: options { $0.subscriptionsMax = 100 }), sub = ZMQSocket(.sub)
        try sub.connect("\(try await pub.bind("tcp://127.0.0.1:*"))")
        try await ZMQSocketTests.until { sub.peerCount == 1 }
        for _ in 0..<60 {
            sub.subscribe(to: "a")
            sub.unsubscribe(from: "a")
        }
        try await ZMQSocketTests.until { pub.counters.turnedAway > 0 }
        await sub.close()
        await pub.close()
    }

    @Test(arguments: [false, true]) func `a request takes the place of the one that is under way [ZMQ_REQ_RELAXED]`(isNumbered: Bool) async throws {
        let rep = ZMQSocket(.rep), req = ZMQSocket(.req, options: options { ($0.supersedesRequests, $0.correlatesRequests) = (true, isNumbered) })
        try req.connect("\(try await rep.bind("tcp://127.0.0.1:*"))")
        let first = Task { try await req.request("first") }
        let taken = try await rep.nextRequest()
        #expect(taken.message == "first")
        let second = Task { try await req.request("second") }
        await #expect(throws: ZMQError.superseded) { _ = try await first.value }
        try await taken.reply("to the first")
        let request = try await rep.nextRequest()
        #expect(request.message == "second")
        try await request.reply("to the second")
        let reply = try await second.value
        #expect(reply == "to the second")
        await req.close()
        await rep.close()
    }
}
