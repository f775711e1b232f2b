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
        guard isOn else {
            let change = subscriptions.remove(topic.span, for: peer)
            if change != .missing {
                peers[index].subscriptionBytes -= topic.count
                note(topic, isOn: false, change)
            }
            return true
        }
        let bytes = peers[index].subscriptionBytes + topic.count
        guard subscriptions.count(of: peer) < options.subscriptionsMax, bytes <= options.subscriptionBytesMax else {
            counters.turnedAway += 1
            return false
        }
        peers[index].subscriptionBytes = bytes
        let change = subscriptions.add(topic.span, for: peer)
        if let welcome = options.welcome, hasRoom(index) { give(welcome, nil, from: 0, to: index) }
        note(topic, isOn: true, change)
        return true
    }

    /// XPUB: what its owner reads of a subscription.
    private mutating func note(_ topic: [UInt8], isOn: Bool, _ change: ZMTPSubscriptions.Change) {
        guard type == .xpub, change != .shared || options.isVerbose else { return }
        notes.append(nil, ZMQMessage([isOn ? 1 : 0] + topic), from: 0)
    }

    /// A peer has gone, and all that it wanted.
    mutating func forgetSubscriptions(of index: Int) {
        peers[index].subscriptionBytes = 0
        var ended: [[UInt8]] = []
        let isNoted = type == .xpub
        subscriptions.removeAll(for: UInt32(truncatingIfNeeded: index)) { topic, change in if isNoted, change == .last { ended.append(topic.array) } }
        for topic in ended { note(topic, isOn: false, .last) }
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
