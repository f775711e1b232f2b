internal import MartletBytes
internal import MartletCollections
internal import MartletZMTPProtocol

/// A socket's pattern: who its peers are, who gets a message, who is full, and what has come. No I/O, clock, lock or task.
///
/// Whoever has it carries out what its answers say. Not here: connections (`SocketHost`), waiting tasks (`SocketCore`).
struct SocketState: ~Copyable {
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
        /// STREAM: its connection ends when all has left.
        var isFinishing = false
        var routingID: [UInt8] = []
        /// The other end in the process, and messages that waited for it.
        var link: InprocLink?
        /// It was told all that is wanted, and hears what changes.
        var knowsWanted = false
        var waiting: [ZMQMessage] = []
        /// Messages that were taken, and that the other end does not know of yet.
        var owed = 0
        var isConnected = false
        var subscriptionBytes = 0
        var markLimit = 0
    }
    /// A subscription that waits for its answer, or the end of one.
    struct Asked: Sendable {
        let peer: PeerName
        let topic: [UInt8]
        let isOn: Bool
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
    /// STREAM: messages are bare bytes.
    let isRaw: Bool
    var peers: [Peer] = []
    var free: [Int] = []
    private var nextSerial: UInt32 = 1
    private var nextRoutingID: UInt32 = 1
    private(set) var liveCount = 0
    var turn = 0
    /// Who got the last message of a round.
    var lastTaker = 0
    /// Messages published, and messages and bytes given to connections, since the loop last took them.
    var unpumped = 0, unpumpedCount = 0, unpumpedBytes = 0
    var routes: [[UInt8]: Int] = [:]
    /// SERVER.
    var clients: [ZMQClientID: Int] = [:]
    /// PUB, XPUB, RADIO: what the peers want.
    var subscriptions = ZMTPSubscriptions(seed: .random(in: .min ... .max))
    /// XPUB that decides: what the peers ask for, and what its owner has not looked at yet.
    var wishes = ZMTPSubscriptions(seed: .random(in: .min ... .max))
    var asked: [Asked] = []
    var askedTaken = 0
    /// Peers that want the message.
    var matched = Scratch<UInt32>()
    /// RADIO: peers that get the messages to every group, since they cannot say what they want.
    var everywhere: [UInt32] = []
    /// SUB, XSUB, DISH: what is asked of every peer.
    var wanted: [[UInt8]: Int] = [:]
    /// Where messages have come: in the order in which they are read.
    var readable: [Int] = []
    /// XPUB: subscriptions as messages, from no peer.
    var notes = Inbox()
    var counters = ZMQCounters()
    /// Ends in the process that the last message is to be delivered to: the first, and the others.
    var delivery: InprocLink?
    var deliveries: [InprocLink] = []
    /// Peers whose outbox was empty until the loop last looked.
    var filled: [Int] = []
    /// ROUTER: whose routing id another has taken over; its connection is to end.
    var dispossessed: PeerName?

    init(type: ZMTPSocketType, options: ZMQSocketOptions, isRaw: Bool = false) {
        self.type = type
        self.isRaw = isRaw
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
        if index == peers.count { peers.append(Peer()) }
        peers[index] = Peer()
        peers[index].serial = nextSerial
        nextSerial = nextSerial == .max ? 1 : nextSerial + 1
        peers[index].isLive = true
        peers[index].isStream = isStream
        peers[index].isLasting = isLasting
        peers[index].canTake = isLasting && !options.isImmediate && !needsHandshake
        peers[index].markLimit = options.sendHighWaterMark
        liveCount += 1
        return index
    }

    /// What a message's way depends on is known only after the handshake.
    private var needsHandshake: Bool {
        switch type {
        case .router, .pub, .xpub, .rep, .server, .peer, .radio: true
        case .pair, .sub, .req, .dealer, .pull, .push, .xsub, .client, .dish, .scatter, .gather, .channel: false
        }
    }

    /// Nobody reads what comes.
    var isDeaf: Bool { type == .pub || type == .push || type == .radio || type == .scatter }

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
        if type == .server { clients[ZMQClientID(rawValue: peers[index].serial)] = index }
        peers[index].isConnected = true
        peers[index].canTake = true
        if tellsOfPeers { tell(of: index) }
        return true
    }

    /// RFC 28: it begins with a zero, so that it is nobody's own choice.
    private mutating func madeRoutingID() -> [UInt8] {
        defer { nextRoutingID &+= 1 }
        return [0] + stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: nextRoutingID >> $0) }
    }

    /// What the peer will be called; nil if that name is taken.
    private mutating func routingID(for identity: [UInt8], _ index: Int) -> [UInt8]? {
        guard !identity.isEmpty else {
            // A peer that was connected to keeps the name that it was given.
            return peers[index].routingID.first == 0 ? peers[index].routingID : madeRoutingID()
        }
        guard let other = routes[identity], other != index else { return identity }
        guard options.handsRoutingIDOver else { return nil }
        peers[other].routingID = madeRoutingID()
        peers[other].canTake = false
        dispossessed = name(other)
        return identity
    }

    /// Its connection has gone; the place stays if it is to be made again.
    mutating func disconnected(_ index: Int) {
        if peers[index].isConnected, tellsOfPeers, !peers[index].isFinishing { tell(of: index) }
        peers[index].isConnected = false
        if isRaw { dropUnsent(to: name(index)) }
        if routes[peers[index].routingID] == index { routes[peers[index].routingID] = nil }
        if type == .server { clients[ZMQClientID(rawValue: peers[index].serial)] = nil }
        forgetSubscriptions(of: index)
        guard peers[index].isLasting else { return remove(index) }
        peers[index].canTake = !options.isImmediate && !needsHandshake
    }

    private var tellsOfPeers: Bool { type == .router && options.tellsOfPeers ?? isRaw }

    /// An empty message of a peer: it has come, or gone.
    private mutating func tell(of index: Int) {
        if peers[index].inbox.isEmpty { readable.append(index) }
        peers[index].inbox.append(nil, ZMQMessage(), from: 0)
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
}
