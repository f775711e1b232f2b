import Testing

@testable import MartletZMQ

/// The pattern cores against models, without a socket.
@Suite struct ZMQStateTests {
    private func text(_ batches: inout [Batch]) -> [String] {
        var reading: [String] = [], turn = 0
        while !batches.isEmpty {
            if turn >= batches.count { turn = 0 }
            reading.append(batches[turn].next().description)
            if batches[turn].isAtEnd { batches.remove(at: turn) } else { turn += 1 }
        }
        return reading
    }

    private func taken(_ state: inout SocketState) -> [String] {
        var batches: [Batch] = [], spare = Inbox(), resumed: [PeerName] = [], credits: [(InprocLink, Int)] = []
        state.take(into: &batches, spare: &spare, resumed: &resumed, credits: &credits)
        return text(&batches)
    }

    private func state(_ type: ZMTPSocketType, peers: Int, _ change: (inout ZMQSocketOptions) -> Void = { _ in }) -> SocketState {
        var options = ZMQSocketOptions()
        change(&options)
        var state = SocketState(type: type, options: options)
        for _ in 0..<peers {
            guard let index = state.addPeer(isLasting: false, isStream: true) else { continue }
            _ = state.connected(index, identity: [])
        }
        return state
    }

    private func outboxes(_ state: borrowing SocketState) -> [Int] { state.peers.map { $0.outbox.count } }

    private func expect(_ state: inout SocketState, _ message: ZMQMessage, _ outcome: SocketState.Outcome, at place: SourceLocation = #_sourceLocation) {
        let became = state.offer(message)
        #expect(became == outcome, sourceLocation: place)
    }

    // MARK: Subscriptions

    private func notes(_ state: inout SocketState) -> [String] { taken(&state).map { "\($0.first == "\u{1}" ? "+" : "-")\($0.dropFirst())" } }

    @Test func `XPUB's owner reads a prefix's first subscription and its last end, also of a peer that goes [RFC 29]`() {
        var state = state(.xpub, peers: 2)
        for (topic, isOn, index) in [("a", true, 0), ("a", true, 1), ("a", false, 0), ("b", true, 0), ("x", false, 0), ("a", true, 0)] {
            let isTaken = state.heardSubscription(Array(topic.utf8), isOn: isOn, from: index)
            #expect(isTaken)
        }
        var read = notes(&state)
        #expect(read == ["+a", "+b"] && state.subscriptions.count == 3)
        state.disconnected(0)
        read = notes(&state)
        #expect(read == ["-b"])
        state.disconnected(1)
        read = notes(&state)
        #expect(read == ["-a"] && state.subscriptions.isEmpty)
    }

    @Test func `a peer may want so many prefixes and bytes, and no more`() {
        var state = state(.pub, peers: 1) {
            $0.subscriptionsMax = 3
            $0.subscriptionBytesMax = 5
        }
        var answers: [Bool] = []
        for (topic, isOn) in [("aa", true), ("bb", true), ("cc", true), ("bb", false), ("c", true), ("", true), ("", true)] {
            answers.append(state.heardSubscription(Array(topic.utf8), isOn: isOn, from: 0))
        }
        #expect(answers == [true, true, false, true, true, true, false] && state.counters.turnedAway == 2)
    }

    @Test func `inverted, PUB sends to those who do not want it`() {
        var state = state(.pub, peers: 3) { $0.invertsMatching = true }
        _ = state.heardSubscription(Array("a".utf8), isOn: true, from: 1)
        expect(&state, "ab", .sent)
        expect(&state, "b", .sent)
        #expect(outboxes(state) == [2, 1, 2])
    }

    // MARK: Sending

    @Test func `PUSH gives in turn to those that have room, and is full when none has [RFC 30]`() {
        var state = state(.push, peers: 3) { $0.sendHighWaterMark = 2 }
        for _ in 0..<4 { expect(&state, "m", .sent) }
        #expect(outboxes(state) == [2, 1, 1])
        for _ in 0..<2 { expect(&state, "m", .sent) }
        #expect(state.hasRoom == false)
        expect(&state, "m", .full)
        #expect(outboxes(state) == [2, 2, 2] && state.counters.sent == 6)
        state.peers[1].pending = 0
        #expect(state.hasRoom == true)
        expect(&state, "m", .sent)
        #expect(state.peers[1].outbox.count == 3)
    }

    @Test func `PUB drops for whom there is no room and counts each, and nobody else goes without [RFC 29]`() {
        var state = state(.pub, peers: 2) { $0.sendHighWaterMark = 3 }
        for index in 0..<2 { _ = state.heardSubscription(Array("a".utf8), isOn: true, from: index) }
        _ = state.heardSubscription(Array("ab".utf8), isOn: true, from: 0)
        for _ in 0..<3 { expect(&state, "abc", .sent) }
        #expect(outboxes(state) == [3, 3])
        // Above the mark the loop has to look first: only then it is the peer that is slow.
        expect(&state, "abc", .full)
        (state.unpumped, state.unpumpedBytes) = (0, 0)
        state.peers[1].pending = 0
        expect(&state, "abc", .sent)
        #expect(outboxes(state) == [3, 4] && state.counters.droppedAtMark == 1)
        expect(&state, "b", .dropped)
        #expect(state.counters.droppedUnroutable == 1)
    }

    @Test func `ROUTER finds its peer by the first frame, and drops or refuses what has none [RFC 28]`() {
        for isMandatory in [false, true] {
            var options = ZMQSocketOptions()
            options.isRouterMandatory = isMandatory
            var state = SocketState(type: .router, options: options)
            let index = state.addPeer(isLasting: false, isStream: true)!
            let isKnown = state.connected(index, identity: Array("me".utf8))
            #expect(isKnown)
            expect(&state, ["me", "", "hello"], .sent)
            #expect(state.peers[index].outbox.bytes == [1, 0, 0, 5] + Array("hello".utf8))
            expect(&state, ["you", "hello"], (isMandatory ? .noPeer : .dropped))
            let other = state.addPeer(isLasting: false, isStream: true)!
            let isTwice = state.connected(other, identity: Array("me".utf8))
            #expect(!isTwice && state.counters.turnedAway == 1)
            state.disconnected(index)
            expect(&state, ["me", "hello"], (isMandatory ? .noPeer : .dropped))
        }
    }

    @Test func `a peer's messages that were not sent are counted when it goes for good`() {
        var state = state(.push, peers: 1)
        for _ in 0..<5 { _ = state.offer("m") }
        state.disconnected(0)
        expect(&state, "m", .full)
        #expect(state.counters.droppedUnsent == 5)
    }

    // MARK: Receiving

    @Test func `fair queueing takes one of each in turn [RFC 30]`() {
        var state = state(.pull, peers: 3)
        for (index, count) in [4, 1, 2].enumerated() {
            var staging = Inbox()
            for number in 0..<count { staging.append(nil, ZMQMessage("\(index).\(number)"), from: 0) }
            let isPaused = state.deliver(&staging, from: index)
            #expect(!isPaused && staging.isEmpty)
        }
        let order = taken(&state)
        #expect(order == ["0.0", "1.0", "2.0", "0.1", "2.1", "0.2", "0.3"] && !state.hasMessages)
    }

    @Test func `above the mark a peer pauses until its messages were taken`() {
        var state = state(.pull, peers: 1) { $0.receiveHighWaterMark = 2 }
        var staging = Inbox()
        staging.append(nil, "a", from: 0)
        let first = state.deliver(&staging, from: 0)
        staging.append(nil, "b", from: 0)
        let second = state.deliver(&staging, from: 0)
        #expect(!first && second)
        var batches: [Batch] = [], spare = Inbox(), resumed: [PeerName] = [], credits: [(InprocLink, Int)] = []
        state.take(into: &batches, spare: &spare, resumed: &resumed, credits: &credits)
        let order = text(&batches)
        #expect(resumed == [state.name(0)] && order == ["a", "b"])
    }

    @Test func `a message that goes on waits for its last frame`() {
        var inbox = Inbox(), staging = Inbox()
        staging.append(Array("one".utf8).span, more: false)
        staging.append(Array("two".utf8).span, more: true)
        inbox.take(wholeOf: &staging)
        #expect(inbox.count == 1 && staging.count == 0)
        inbox.append(Array("x".utf8).span, more: false)
        staging.append(Array("three".utf8).span, more: false)
        inbox.take(wholeOf: &staging)
        var batch = Batch(peer: PeerName(index: 0, serial: 1), routingID: Array("id".utf8))
        swap(&batch.inbox, &inbox)
        var found: [ZMQMessage] = []
        while !batch.isAtEnd { found.append(batch.next()) }
        #expect(found == [["id", "one"], ["id", "x"], ["id", "two", "three"]])
    }

    @Test func `large messages in the process are handed over in their order`() {
        var inbox = Inbox()
        let large = ZMQMessage([UInt8](repeating: 1, count: Inbox.handedMin))
        for message in ["a", large, "b", large, large] as [ZMQMessage] { inbox.append(nil, message, from: 0) }
        var batch = Batch(peer: PeerName(index: 0, serial: 1), routingID: [])
        batch.inbox.take(wholeOf: &inbox)
        var found: [ZMQMessage] = []
        while !batch.isAtEnd { found.append(batch.next()) }
        #expect(found == ["a", large, "b", large, large])
    }

    @Test func `the last message is kept, with all its frames`() {
        let large = ZMQMessage([UInt8](repeating: 1, count: Inbox.handedMin))
        for last in ["x", ["two", "frames"], large] as [ZMQMessage] {
            var inbox = Inbox()
            for message in ["a", ["b", "c"], large, last] as [ZMQMessage] { inbox.append(nil, message, from: 0) }
            let dropped = inbox.keepLast()
            #expect(dropped == 3 && inbox.count == 1)
            inbox.append(nil, "next", from: 0)
            var batch = Batch(peer: PeerName(index: 0, serial: 1), routingID: [])
            swap(&batch.inbox, &inbox)
            let first = batch.next(), second = batch.next()
            #expect(first == last && second == "next" && batch.isAtEnd)
        }
    }

    // MARK: When the loop looks

    @Test func `a stream is what comes in many messages, again and again`() {
        var rhythm = PumpRhythm()
        // One at a time, as requests come, however often.
        for _ in 0..<100 {
            let begins = rhythm.told(1)
            #expect(!begins)
        }
        for count in [16, 15, 16] {
            let begins = rhythm.told(count)
            #expect(!begins)
        }
        let begins = rhythm.told(16)
        #expect(begins && rhythm.isStreaming)
        // Told of a large heap meanwhile, and then of nothing.
        _ = rhythm.told(500)
        let goesOn = rhythm.looked(0)
        #expect(goesOn)
        let ends = !rhythm.looked(99)
        #expect(ends && !rhythm.isStreaming)
        // Now it has to show more.
        var looks = 0
        while !rhythm.told(1_000) { looks += 1 }
        #expect(looks == 3)
    }

    // MARK: What has not left

    @Test func `of a run that was cut, whole messages come back from the one that was cut`() {
        var outbox = Outbox()
        let messages: [ZMQMessage] = ["a", ["b", "c"], ZMQMessage([UInt8](repeating: 7, count: 300)), "d"]
        var ends: [Int] = []
        for message in messages {
            outbox.append(nil, message, from: 0)
            ends.append(outbox.bytes.count)
        }
        for offset in 0...outbox.bytes.count {
            let first = ends.firstIndex { $0 > offset } ?? 4
            let (bytes, count) = Outbox.messages(of: outbox.bytes, from: offset)
            #expect(count == 4 - first)
            #expect(bytes.count == outbox.bytes.count - (first == 0 ? 0 : ends[first - 1]))
        }
    }

    @Test func `messages have frames, in any number and any size`() {
        let message = ZMQMessage(frames: [[], [1], [], [2, 3]])
        #expect(message.count == 4 && message.frames == [[], [1], [], [2, 3]] && message[3] == [2, 3])
        #expect(message.suffix(from: 2) == ZMQMessage(frames: [[], [2, 3]]) && message.prefix(2) == ZMQMessage(frames: [[], [1]]))
        #expect(ZMQMessage(frames: []).count == 1 && ZMQMessage("x").text == "x")
        var grown = ZMQMessage()
        grown.append(Array("y".utf8))
        #expect(grown == ["", "y"])
    }
}
