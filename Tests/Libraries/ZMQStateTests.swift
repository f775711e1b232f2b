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

    private func outboxes(_ state: SocketState) -> [Int] { state.peers.map { $0.outbox.count } }

    private func expect(_ state: inout SocketState, _ message: ZMQMessage, _ outcome: SocketState.Outcome, at place: SourceLocation = #_sourceLocation) {
        let became = state.offer(message)
        #expect(became == outcome, sourceLocation: place)
    }

    // MARK: Subscriptions

    @Test(arguments: 0..<8 as Range<UInt64>) func `a trie matches what a list of prefixes does`(seed: UInt64) {
        var random = SplitMix(seed: seed)
        var trie = SubscriptionTrie(), model: [(prefix: [UInt8], peer: Int)] = []
        for _ in 0..<2_000 {
            let prefix = (0..<Int.random(in: 0...4, using: &random)).map { _ in [0, 7, 97, 255].randomElement(using: &random)! as UInt8 }
            let peer = Int.random(in: 0..<3, using: &random)
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<9:
                let isFirst = !model.contains { $0.prefix == prefix }
                let answer = trie.insert(prefix.span, for: peer)
                #expect(answer == isFirst)
                model.append((prefix, peer))
            case 9..<18:
                let at = model.firstIndex { $0.prefix == prefix && $0.peer == peer }
                let answer = trie.remove(prefix.span, for: peer)
                if let at {
                    model.remove(at: at)
                    #expect(answer == !model.contains { $0.prefix == prefix })
                } else {
                    #expect(answer == nil)
                }
            default:
                let ended = Set(model.filter { $0.peer == peer }.map(\.prefix)).filter { prefix in !model.contains { $0.prefix == prefix && $0.peer != peer } }
                let answer = Set(trie.removeAll(of: peer))
                #expect(answer == ended)
                model.removeAll { $0.peer == peer }
            }
            var matched: [Int] = []
            trie.collect(matching: prefix.span, into: &matched)
            #expect(Set(matched) == Set(model.filter { prefix.starts(with: $0.prefix) }.map(\.peer)))
            let isMatched = trie.matches(prefix.span)
            #expect(isMatched == !matched.isEmpty)
        }
        #expect(Set(trie.prefixes) == Set(model.map(\.prefix)))
    }

    @Test func `a long prefix is no deep recursion`() {
        var trie = SubscriptionTrie()
        let long = [UInt8](repeating: 9, count: 200_000)
        trie.insert(long.span, for: 1)
        #expect(trie.prefixes == [long])
        let ended = trie.removeAll(of: 1)
        #expect(ended == [long] && trie.isEmpty)
    }

    // MARK: Sending

    @Test func `PUSH gives in turn to those that have room, and is full when none has [RFC 30]`() {
        var state = state(.push, peers: 3) { $0.sendHighWaterMark = 2 }
        for _ in 0..<4 { expect(&state, "m", .sent) }
        #expect(outboxes(state) == [2, 1, 1])
        for _ in 0..<2 { expect(&state, "m", .sent) }
        #expect(!state.hasRoom)
        expect(&state, "m", .full)
        #expect(outboxes(state) == [2, 2, 2] && state.counters.sent == 6)
        state.peers[1].pending = 0
        #expect(state.hasRoom)
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
            _ = state.disconnected(index)
            expect(&state, ["me", "hello"], (isMandatory ? .noPeer : .dropped))
        }
    }

    @Test func `a peer's messages that were not sent are counted when it goes for good`() {
        var state = state(.push, peers: 1)
        for _ in 0..<5 { _ = state.offer("m") }
        _ = state.disconnected(0)
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

private struct SplitMix: RandomNumberGenerator {
    var seed: UInt64
    mutating func next() -> UInt64 {
        seed &+= 0x9E37_79B9_7F4A_7C15
        var z = (seed ^ (seed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
