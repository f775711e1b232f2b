internal import MartletBytes
internal import MartletCollections
internal import MartletZMTPProtocol

/// PUB, XPUB: who wants what begins how, and gets it (RFC 29). RADIO: who has joined which group (RFC 48).
extension SocketState {
    // MARK: Subscriptions

    /// A peer wants what begins so, or is sent to this group, or no longer. Answers false if it wants too much.
    mutating func heardSubscription(_ topic: [UInt8], isOn: Bool, from index: Int) -> Bool {
        guard peers[index].isLive else { return true }
        let peer = UInt32(truncatingIfNeeded: index)
        let count = decides ? wishes.count(of: peer) : subscriptions.count(of: peer), bytes = peers[index].subscriptionBytes + (isOn ? topic.count : 0)
        // An owner that does not look is no reason to keep all that a peer says and takes back.
        let unread = notes.count + asked.count - askedTaken
        guard !isOn || count < options.subscriptionsMax, bytes <= options.subscriptionBytesMax, unread <= options.subscriptionsMax else {
            counters.turnedAway += 1
            return false
        }
        let change =
            switch (decides, isOn) {
            case (false, true): subscriptions.add(topic.span, for: peer)
            case (false, false): subscriptions.remove(topic.span, for: peer)
            case (true, true): wishes.add(topic.span, for: peer)
            case (true, false): wishes.remove(topic.span, for: peer)
            }
        guard change != .missing else { return true }
        peers[index].subscriptionBytes = isOn ? bytes : bytes - topic.count
        note(topic, isOn: isOn, change, of: index)
        return true
    }

    private var decides: Bool { type == .xpub && options.decidesSubscriptions }

    /// XPUB: what its owner reads of a subscription.
    private mutating func note(_ topic: [UInt8], isOn: Bool, _ change: ZMTPSubscriptions.Change, of index: Int) {
        guard type == .xpub else { return }
        if decides { return asked.append(Asked(peer: name(index), topic: topic, isOn: isOn)) }
        switch options.verbosity {
        case .changes: guard change != .shared else { return }
        case .subscriptions: guard isOn || change != .shared else { return }
        case .everything: break
        }
        notes.append(nil, ZMQMessage([isOn ? 1 : 0] + topic), from: 0)
    }

    /// A peer has gone, and all that it wanted.
    mutating func forgetSubscriptions(of index: Int) {
        peers[index].subscriptionBytes = 0
        var ended: [(topic: [UInt8], change: ZMTPSubscriptions.Change)] = []
        let peer = UInt32(truncatingIfNeeded: index), isNoted = type == .xpub
        if decides {
            wishes.removeAll(for: peer) { topic, change in ended.append((topic.array, change)) }
            subscriptions.removeAll(for: peer) { _, _ in }
        } else {
            subscriptions.removeAll(for: peer) { topic, change in if isNoted { ended.append((topic.array, change)) } }
        }
        for (topic, change) in ended { note(topic, isOn: false, change, of: index) }
    }

    /// What the owner of an XPUB has not looked at yet.
    mutating func takeAsked() -> Asked? {
        guard askedTaken < asked.count else { return nil }
        defer {
            askedTaken += 1
            if askedTaken == asked.count {
                asked.removeAll(keepingCapacity: asked.count <= 1_024)
                askedTaken = 0
            }
        }
        return asked[askedTaken]
    }

    /// XPUB's owner: a peer gets what begins so, or no longer.
    mutating func decide(_ topic: [UInt8], isOn: Bool, for index: Int) {
        let peer = UInt32(truncatingIfNeeded: index)
        _ = isOn ? subscriptions.add(topic.span, for: peer) : subscriptions.remove(topic.span, for: peer)
    }

    /// A message to one peer, whatever it wants; dropped where it has no room.
    mutating func send(_ message: ZMQMessage, toOne name: PeerName) -> Outcome {
        guard isThere(name), peers[name.index].canTake else {
            counters.droppedUnroutable += 1
            return .dropped
        }
        guard hasRoom(name.index) else {
            counters.droppedAtMark += 1
            return .dropped
        }
        give(message, nil, from: 0, to: name.index)
        return .sent
    }

    // MARK: Messages

    /// To everyone who wants it; whoever has no room goes without. `group`: RADIO's, a frame in front.
    @inline(__always) mutating func publish(_ message: ZMQMessage, to group: ZMQMessage?) -> Outcome {
        if isLoopBehind || unpumped >= max(options.sendHighWaterMark, 1) { return .full }
        matched.removeAll()
        if let group {
            subscriptions.match(whole: group.span(of: 0), into: &matched)
            for index in everywhere { matched.append(index) }
        } else {
            subscriptions.match(message.span(of: 0), into: &matched)
        }
        if options.invertsMatching { invertMatch() }
        guard !matched.isEmpty else {
            counters.droppedUnroutable += 1
            return .dropped
        }
        if options.waitsForSubscribers, !matchedHaveRoom { return .full }
        let before = unpumpedBytes
        for at in 0..<matched.count {
            let index = Int(matched[at])
            if hasRoom(index) {
                give(message, group, from: 0, to: index)
            } else {
                counters.droppedAtMark += 1
            }
        }
        // What went to nobody's connection is no work for the loop, and nobody would tell it.
        if unpumpedBytes != before { unpumped &+= 1 }
        return .sent
    }

    private mutating func invertMatch() {
        matched.removeAll()
        for index in peers.indices where peers[index].canTake {
            let peer = UInt32(truncatingIfNeeded: index)
            if !subscriptions.isMatched(peer) { matched.append(peer) }
        }
    }

    private var matchedHaveRoom: Bool {
        for at in 0..<matched.count where peers[Int(matched[at])].canTake && !hasRoom(Int(matched[at])) { return false }
        return true
    }
}
