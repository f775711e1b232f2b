internal import MartletBytes
internal import MartletZMTPProtocol

/// A socket's pattern: who its peers are, who gets a message, who is full, and what has come. No I/O, clock, lock or task.
///
/// Whoever has it carries out what its answers say. Not here: connections (`SocketHost`), waiting tasks (`SocketCore`).
struct SocketState: Sendable {
    struct Peer: Sendable {
        var serial: UInt32 = 0
        var isLive = false
        /// A connection, or a place for the messages of one that comes.
        var isStream = true
        /// Messages may be given to it.
        var canTake = false
        /// It was made by `connect`, and stays when its connection goes.
        var isLasting = false
        var outbox = Outbox()
        /// Messages that are not known to have left.
        var pending = 0
        var inbox = Inbox()
        /// Nothing more is read from it, or given to it in the process.
        var isPaused = false
        var routingID: [UInt8] = []
        /// The other end in the process, and messages that waited for it.
        var link: InprocLink?
        var waiting: [ZMQMessage] = []
        var isConnected = false
        var subscriptions = 0, subscriptionBytes = 0
        var inboxLimit = 0
        var markLimit = 0
    }
    /// What became of a message.
    enum Outcome: Sendable, Equatable {
        case sent
        /// Nobody has room: the same again when there is.
        case full
        case dropped
        case noPeer
    }

    let type: ZMTPSocketType
    let options: ZMQSocketOptions
    var peers: [Peer] = []
    private var free: [Int] = []
    private var nextSerial: UInt32 = 1
    private var nextRoutingID: UInt32 = 1
    private(set) var liveCount = 0
    private var turn = 0
    /// Messages published, and messages and bytes given to connections, since the loop last took them.
    var unpumped = 0, unpumpedCount = 0, unpumpedBytes = 0
    var routes: [[UInt8]: Int] = [:]
    /// PUB, XPUB: what the peers want.
    var trie = SubscriptionTrie()
    private var matched: [Int] = []
    private var stamps: [UInt32] = []
    private var stamp: UInt32 = 0
    /// SUB, XSUB: what is asked of every peer.
    var wanted: [[UInt8]: Int] = [:]
    /// Where messages have come: in the order in which they are read.
    private(set) var readable: [Int] = []
    /// XPUB: subscriptions as messages, from no peer.
    var notes = Inbox()
    var counters = ZMQCounters()
    /// Ends in the process that the last message is to be delivered to: the first, and the others.
    var delivery: InprocLink?
    var deliveries: [InprocLink] = []
    /// Peers whose outbox was empty until the loop last looked.
    var filled: [Int] = []

    init(type: ZMTPSocketType, options: ZMQSocketOptions) {
        self.type = type
        self.options = options
    }

    func name(_ index: Int) -> PeerName { PeerName(index: index, serial: peers[index].serial) }
    func isThere(_ name: PeerName) -> Bool { peers.indices.contains(name.index) && peers[name.index].isLive && peers[name.index].serial == name.serial }

    /// Whether one peer is all that the pattern has.
    var isExclusive: Bool { type == .pair }

    // MARK: Peers

    /// Nil when there are as many as there may be.
    mutating func addPeer(isLasting: Bool, isStream: Bool) -> Int? {
        guard liveCount < (isExclusive ? 1 : options.peersMax) else {
            counters.turnedAway += 1
            return nil
        }
        let index = free.popLast() ?? peers.count
        if index == peers.count {
            peers.append(Peer())
            stamps.append(0)
        }
        peers[index] = Peer()
        peers[index].serial = nextSerial
        nextSerial &+= 1
        peers[index].isLive = true
        peers[index].isStream = isStream
        peers[index].isLasting = isLasting
        peers[index].canTake = isLasting && !options.isImmediate && !needsHandshake
        peers[index].markLimit = options.sendHighWaterMark
        liveCount += 1
        return index
    }

    /// What a message's way depends on is known only after the handshake.
    private var needsHandshake: Bool { type == .router || type == .pub || type == .xpub || type == .rep || type == .server }

    /// A handshake has ended well. Answers false if the peer cannot be had.
    mutating func connected(_ index: Int, identity: [UInt8]) -> Bool {
        counters.handshakes += 1
        if type == .router {
            guard let id = routingID(for: identity, index) else {
                counters.turnedAway += 1
                return false
            }
            peers[index].routingID = id
            routes[id] = index
        }
        peers[index].isConnected = true
        peers[index].canTake = true
        return true
    }

    /// What the peer will be called; nil if that name is taken.
    private mutating func routingID(for identity: [UInt8], _ index: Int) -> [UInt8]? {
        guard !identity.isEmpty else {
            // RFC 28: a zero, so that it is nobody's own choice.
            defer { nextRoutingID &+= 1 }
            return [0] + stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: nextRoutingID >> $0) }
        }
        guard let other = routes[identity], other != index else { return identity }
        guard options.handsRoutingIDOver else { return nil }
        peers[other].routingID = []
        peers[other].canTake = false
        return identity
    }

    /// Its connection has gone; the place stays if it is to be made again. Answers the prefixes that nobody wants any more.
    mutating func disconnected(_ index: Int) -> [[UInt8]] {
        peers[index].isConnected = false
        if routes[peers[index].routingID] == index { routes[peers[index].routingID] = nil }
        let ended = peers[index].subscriptions > 0 ? trie.removeAll(of: index) : []
        (peers[index].subscriptions, peers[index].subscriptionBytes) = (0, 0)
        guard peers[index].isLasting else {
            remove(index)
            return ended
        }
        peers[index].canTake = !options.isImmediate && !needsHandshake
        return ended
    }

    /// It is gone for good. What it sent can still be read.
    mutating func remove(_ index: Int) {
        guard peers[index].isLive else { return }
        counters.droppedUnsent += UInt64(peers[index].outbox.count + peers[index].waiting.count)
        peers[index].isLive = false
        peers[index].canTake = false
        peers[index].outbox.removeAll()
        peers[index].waiting = []
        peers[index].link = nil
        liveCount -= 1
        if peers[index].inbox.isEmpty { free.append(index) }
    }

    /// PUB, XPUB: a peer wants what begins so, or no longer. Answers false if it wants too much.
    mutating func heardSubscription(_ topic: [UInt8], isOn: Bool, from index: Int) -> Bool {
        guard peers[index].isLive else { return true }
        var isNews = false
        if isOn {
            let bytes = peers[index].subscriptionBytes + topic.count
            guard peers[index].subscriptions < options.subscriptionsMax, bytes <= options.subscriptionBytesMax else {
                counters.turnedAway += 1
                return false
            }
            peers[index].subscriptions += 1
            peers[index].subscriptionBytes = bytes
            isNews = trie.insert(topic.span, for: index)
            if let welcome = options.welcome, hasRoom(index) { give(welcome, nil, from: 0, to: index) }
        } else if let wasLast = trie.remove(topic.span, for: index) {
            peers[index].subscriptions -= 1
            peers[index].subscriptionBytes -= topic.count
            isNews = wasLast
        } else {
            return true
        }
        if type == .xpub, isNews || options.isVerbose { note(topic, isOn: isOn) }
        return true
    }

    /// XPUB: what its owner reads of a subscription (RFC 29).
    mutating func note(_ topic: [UInt8], isOn: Bool) { notes.append(nil, ZMQMessage([isOn ? 1 : 0] + topic), from: 0) }

    // MARK: Sending

    @inline(__always) private func hasRoom(_ index: Int) -> Bool {
        peers[index].canTake && (peers[index].markLimit == 0 || peers[index].pending < peers[index].markLimit)
    }

    /// There is enough for a write that is worth it, or for half of a peer's mark.
    var isHeapLarge: Bool {
        unpumpedBytes >= options.handoverBytesMax / 4 || unpumpedCount * 2 >= max(options.sendHighWaterMark, 1) && options.sendHighWaterMark > 0
    }

    /// The loop has enough to do before it gets more.
    private var isLoopBehind: Bool { unpumpedBytes >= options.handoverBytesMax }

    /// Whether a message that was `full` may have better luck: whoever asks tries again.
    var hasRoom: Bool {
        guard !isLoopBehind else { return false }
        switch type {
        case .pub, .xpub, .radio:
            guard unpumped < max(options.sendHighWaterMark, 1) else { return false }
            return !options.waitsForSubscribers || peers.indices.allSatisfy { !peers[$0].canTake || hasRoom($0) }
        case .router, .server, .peer, .rep: return peers.indices.allSatisfy { !peers[$0].canTake || hasRoom($0) }
        default: return peers.indices.contains { hasRoom($0) }
        }
    }

    /// Gives a message to whom the pattern says. `deliveries` are then to be carried out, of one peer's messages in their order.
    @inline(__always) mutating func offer(_ message: ZMQMessage, _ prefix: ZMQMessage? = nil) -> Outcome {
        switch type {
        case .push, .dealer, .req, .pair, .client, .scatter, .channel: return offerInTurn(message, prefix)
        case .pub, .xpub, .radio: return publish(message)
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
    /// Who got the last message of a round.
    private(set) var lastTaker = 0

    /// To everyone who wants it; whoever has no room goes without (RFC 29).
    private mutating func publish(_ message: ZMQMessage) -> Outcome {
        if isLoopBehind || unpumped >= max(options.sendHighWaterMark, 1) { return .full }
        matched.removeAll(keepingCapacity: true)
        if options.invertsMatching {
            var excluded: [Int] = []
            trie.collect(matching: message.span(of: 0), into: &excluded)
            for index in peers.indices where peers[index].canTake && !excluded.contains(index) { matched.append(index) }
        } else {
            trie.collect(matching: message.span(of: 0), into: &matched)
        }
        guard !matched.isEmpty else {
            counters.droppedUnroutable += 1
            return .dropped
        }
        if options.waitsForSubscribers, matched.contains(where: { peers[$0].canTake && !hasRoom($0) }) { return .full }
        stamp &+= 1
        unpumped &+= 1
        for index in matched where stamps[index] != stamp {
            stamps[index] = stamp
            if hasRoom(index) {
                give(message, nil, from: 0, to: index)
            } else {
                counters.droppedAtMark += 1
            }
        }
        return .sent
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
            if options.isRouterMandatory { return .noPeer }
            counters.droppedUnroutable += 1
            return .dropped
        }
        if isLoopBehind { return .full }
        guard hasRoom(index) else {
            if options.isRouterMandatory { return .full }
            counters.droppedAtMark += 1
            return .dropped
        }
        give(message, nil, from: 1, to: index)
        return .sent
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
            peers[index].outbox.append(prefix, message, from: first)
            unpumpedCount &+= 1
            unpumpedBytes &+= message.byteCount &+ 9
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

    // MARK: Receiving

    /// Takes what a peer's connection has read. Answers whether reading it must pause.
    mutating func deliver(_ staging: inout Inbox, from index: Int) -> Bool {
        counters.received &+= UInt64(staging.count)
        if options.isConflating { counters.droppedAtMark &+= UInt64(peers[index].inbox.count) }
        if options.isConflating { peers[index].inbox.removeAll() }
        if peers[index].inbox.isEmpty { readable.append(index) }
        peers[index].inbox.take(wholeOf: &staging)
        if isFull(index) { peers[index].isPaused = true }
        return peers[index].isPaused
    }

    /// Takes a message of a socket in the process.
    mutating func deliver(_ message: ZMQMessage, _ prefix: ZMQMessage?, from first: Int, to index: Int) {
        counters.received &+= 1
        if peers[index].inbox.isEmpty { readable.append(index) }
        peers[index].inbox.append(prefix, message, from: first)
    }

    private func isFull(_ index: Int) -> Bool {
        let mark = options.receiveHighWaterMark
        return mark > 0 && peers[index].inbox.count >= mark || peers[index].inbox.size >= options.receiveBytesMax
    }

    /// Moves all that has come into `batches`, which must be empty. Answers whom to read from again, and whom to give credit for how much.
    mutating func take(into batches: inout [Batch], spare: inout Inbox, resumed: inout [PeerName], credits: inout [(InprocLink, Int)]) {
        if !notes.isEmpty {
            var batch = Batch(peer: PeerName(index: -1, serial: 0), routingID: [])
            batch.inbox.take(wholeOf: &notes)
            batches.append(batch)
        }
        for index in readable {
            var batch = Batch(peer: name(index), routingID: peers[index].routingID)
            if let link = peers[index].link { credits.append((link, peers[index].inbox.count)) }
            swap(&batch.inbox, &peers[index].inbox)
            swap(&spare, &peers[index].inbox)
            batches.append(batch)
            if peers[index].isPaused {
                peers[index].isPaused = false
                resumed.append(name(index))
            }
            if !peers[index].isLive { free.append(index) }
        }
        readable.removeAll(keepingCapacity: true)
    }

    var hasMessages: Bool { !readable.isEmpty || !notes.isEmpty }
}

/// The other end of a pair of peers in the process.
struct InprocLink: Sendable {
    let core: SocketCore
    let peer: PeerName
}
