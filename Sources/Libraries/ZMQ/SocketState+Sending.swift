internal import MartletZMTPProtocol

/// Who gets a message.
extension SocketState {
    @inline(__always) func hasRoom(_ index: Int) -> Bool {
        peers[index].canTake && (peers[index].markLimit == 0 || peers[index].pending < peers[index].markLimit)
    }

    /// There is enough for a write that is worth it, or for half of a peer's mark.
    var isHeapLarge: Bool {
        unpumpedBytes >= options.handoverBytesMax / 4 || options.sendHighWaterMark > 0 && unpumpedCount * 2 >= options.sendHighWaterMark
    }

    /// The loop has enough to do before it gets more.
    var isLoopBehind: Bool { unpumpedBytes >= options.handoverBytesMax }

    /// Whom a message waits for.
    enum Addressee: Sendable {
        /// Whoever the pattern chooses.
        case any
        case route([UInt8])
        case client(ZMQClientID)
        case peer(PeerName)
    }

    /// Whether a message that was `full` may have better luck: whoever asks tries again.
    func hasRoom(for addressee: Addressee) -> Bool {
        guard !isLoopBehind else { return false }
        let index: Int?
        switch addressee {
        case .any: return hasRoom
        case .route(let id): index = routes[id]
        case .client(let id): index = clients[id]
        case .peer(let name): index = isThere(name) ? name.index : nil
        }
        // Whoever has gone is waited for no longer.
        guard let index, peers[index].canTake else { return true }
        return hasRoom(index)
    }

    /// The same for whoever the pattern chooses.
    var hasRoom: Bool {
        guard !isLoopBehind else { return false }
        switch type {
        case .pub, .xpub, .radio:
            guard unpumped < max(options.sendHighWaterMark, 1) else { return false }
            return !options.waitsForSubscribers || peers.indices.allSatisfy { !peers[$0].canTake || hasRoom($0) }
        default: return peers.indices.contains { hasRoom($0) }
        }
    }

    /// Gives a message to whom the pattern says. `deliveries` are then to be carried out, of one peer's messages in their order.
    @inline(__always) mutating func offer(_ message: ZMQMessage, _ prefix: ZMQMessage? = nil) -> Outcome {
        switch type {
        case .push, .dealer, .req, .pair, .client, .scatter, .channel: return offerInTurn(message, prefix)
        case .pub, .xpub: return publish(message, to: nil)
        case .radio: return publish(message, to: prefix)
        case .xsub: return offerToAll(message)
        case .router, .server, .peer: return route(message)
        case .rep, .sub, .pull, .dish, .gather: return .dropped
        }
    }

    /// Round robin over those that have room (RFC 28, RFC 30).
    private mutating func offerInTurn(_ message: ZMQMessage, _ prefix: ZMQMessage?) -> Outcome {
        if isLoopBehind { return .full }
        let count = peers.count
        for _ in 0..<count {
            if turn >= count { turn = 0 }
            let index = turn
            turn &+= 1
            guard hasRoom(index) else { continue }
            lastTaker = index
            give(message, prefix, from: 0, to: index)
            return .sent
        }
        return .full
    }
    private mutating func offerToAll(_ message: ZMQMessage) -> Outcome {
        if isLoopBehind { return .full }
        for index in peers.indices where peers[index].canTake {
            if hasRoom(index) { give(message, nil, from: 0, to: index) } else { counters.droppedAtMark += 1 }
        }
        return .sent
    }

    /// To the peer that the first frame names, without that frame (RFC 28).
    private mutating func route(_ message: ZMQMessage) -> Outcome {
        guard let index = routes[message[0]], message.count > 1, peers[index].canTake else {
            if options.isRouterMandatory || isRaw { return .noPeer }
            counters.droppedUnroutable += 1
            return .dropped
        }
        if isLoopBehind { return .full }
        guard hasRoom(index) else {
            if options.isRouterMandatory || isRaw { return .full }
            counters.droppedAtMark += 1
            return .dropped
        }
        if isRaw, message.byteCount == message.ends[0] {
            finish(index)
            return .sent
        }
        give(message, nil, from: 1, to: index)
        return .sent
    }

    /// STREAM: nothing more is for this peer.
    private mutating func finish(_ index: Int) {
        peers[index].isFinishing = true
        peers[index].canTake = false
        if peers[index].outbox.count == 0 { filled.append(index) }
        unpumpedBytes &+= 1
    }

    /// REP: to the peer whose request it answers; dropped if that has gone (RFC 28).
    mutating func reply(_ message: ZMQMessage, _ envelope: ZMQMessage, to name: PeerName) -> Outcome {
        guard isThere(name), peers[name.index].canTake else {
            counters.droppedUnroutable += 1
            return .dropped
        }
        guard hasRoom(name.index), !isLoopBehind else { return .full }
        give(message, envelope, from: 0, to: name.index)
        return .sent
    }

    @inline(__always) mutating func give(_ message: ZMQMessage, _ prefix: ZMQMessage?, from first: Int, to index: Int) {
        counters.sent &+= 1
        if peers[index].isStream {
            if options.isConflating { conflate(index) }
            peers[index].pending &+= 1
            if peers[index].outbox.count == 0 { filled.append(index) }
            if isRaw { peers[index].outbox.append(bare: message, from: first) } else { peers[index].outbox.append(prefix, message, from: first) }
            unpumpedCount &+= 1
            unpumpedBytes &+= message.byteCount &+ 9 &+ (prefix?.byteCount ?? 0)
            return
        }
        peers[index].pending &+= 1
        if let link = peers[index].link {
            if delivery == nil { delivery = link } else { deliveries.append(link) }
        } else {
            peers[index].waiting.append(joined(message, prefix, from: first))
        }
    }

    /// REQ: a request that was given up before it left need not leave.
    mutating func dropUnsent(to name: PeerName) {
        guard isThere(name), peers[name.index].isStream else { return }
        counters.droppedUnsent &+= UInt64(peers[name.index].outbox.count)
        peers[name.index].outbox.removeAll()
        peers[name.index].pending = 0
    }

    private mutating func conflate(_ index: Int) {
        counters.droppedAtMark &+= UInt64(peers[index].outbox.count)
        peers[index].outbox.removeAll()
        peers[index].pending = 0
    }

    private func joined(_ message: ZMQMessage, _ prefix: ZMQMessage?, from first: Int) -> ZMQMessage {
        guard prefix != nil || first > 0 else { return message }
        return ZMQMessage(frames: (prefix?.frames ?? []) + message.suffix(from: first).frames)
    }
}
