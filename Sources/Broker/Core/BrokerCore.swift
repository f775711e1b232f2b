public import MartletBytes
import MartletCollections
import Synchronization

/// What one loop owns of the broker: its queues, consumers, publishers and endpoints. A machine: commands and time in, effects out.
///
/// The path of a message: `publish` (Publish.swift) -> `route` (MatchCache.swift) -> `enqueue`, `handOut` (Deliver.swift) -> `settle` (Settle.swift).
/// Invariants: what a queue took stays until it is settled, expires or makes room by the queue's own policy; a queue's order is kept; nothing is allocated per message that nobody keeps.
/// Not here: any protocol's word, sockets, clocks, threads, the disk. What crosses to another shard is the caller's to send (`PeerMail`).
public struct BrokerCore: ~Copyable {
    public let shard: UInt8
    public let router: Router
    public let limits: CoreLimits
    public internal(set) var counters = CoreCounters()

    var queues = Slab<Queue>()
    var lastSerial: UInt64 = 0
    var backlogs = Slab<Backlog>()
    var consumers = Slab<Consumer>()
    var credits = Slab<Credit>()
    var publishers = Slab<Publisher>()
    var endpoints = Slab<Endpoint>()
    /// Groups whose queue is here, their consumers, and this shard's queues that are members of groups anywhere (Groups.swift).
    var groups: [GroupKey: QueueID] = [:]
    var groupKeys: [QueueID: GroupKey] = [:]
    var feeds = Slab<Feed>()
    var feedNumbers: [Feed.Name: UInt32] = [:]
    var memberships: [UInt64: Membership] = [:]
    var membershipsOfQueue: [QueueID: [UInt64]] = [:]
    var lastMembership: UInt64 = 0
    var origins = Slab<Origin>()
    var messages = Slab<StoredMessage>()
    var matchLists = Slab<MatchList>()
    var policies: [QueuePolicy] = []
    var cache = MatchCache()
    /// `findRoute`'s, kept from message to message.
    var routeMatches: [RouteMatch] = []
    var routeTargets: [RouteTarget] = []
    /// The place of a route that must be forgotten after its message; -1: none.
    var uncacheablePlace = -1
    /// Bytes of all stored messages.
    public internal(set) var storedBytes = 0

    /// Whether there is a disk to wait for.
    let isJournaled: Bool
    var lastTicket: UInt64 = 0
    /// Shards that hold entries which wait for one of our tickets, a bit each.
    var shardsAwaitingDisk: UInt64 = 0
    var publisherGeneration: UInt64 = 0
    /// By shard: everything up to this ticket of its is on disk.
    var durableTickets: [UInt64]
    /// Queues with entries that wait for the disk.
    var undurableQueues: [QueueID] = []
    /// Queues whose pump was cut short.
    var unfinishedQueues: [QueueID] = []
    /// Messages given out for good; freed when the effects have been carried out.
    var spent: [MessageID] = []
    var spentLists: [MatchListID] = []
    var replays = Slab<Replay>()
    /// Binding -> its replay, while there is one.
    var replayOfBinding = PositionTable<UInt32>()
    /// Queues whose replays are to go on.
    var replayingQueues: [QueueID] = []
    /// Publishers with acknowledgements owed.
    var waitingPublishers = WaitingPublishers()
    var endpointSchedule = EndpointSchedule()
    public internal(set) var now = Instant(nanoseconds: 0)
    public internal(set) var wallTime = WallTime(milliseconds: 0)

    public init(shard: UInt8 = 0, shards: Int = 1, router: Router, isJournaled: Bool = false, limits: CoreLimits = CoreLimits()) {
        precondition(shards <= 64 && shard < 64)
        self.shard = shard
        self.router = router
        self.limits = limits
        self.isJournaled = isJournaled
        durableTickets = Array(repeating: 0, count: shards)
        cache.generation = router.generation.load(ordering: .acquiring)
    }

    /// Time as of now, once a tick.
    public mutating func heard(at now: Instant, _ wallTime: WallTime) {
        self.now = now
        self.wallTime = wallTime
    }

    /// Up to which of this shard's tickets everything is on disk.
    public var durableTicket: UInt64 { durableTickets[Int(shard)] }

    /// When `wake` wants to be called.
    public var deadline: Instant { endpointSchedule.first ?? .never }

    // MARK: Queues

    public mutating func openQueue(_ policy: QueuePolicy) -> QueueID {
        let number = policies.firstIndex(of: policy) ?? policies.count
        if number == policies.count { policies.append(policy) }
        lastSerial += 1
        return QueueID(queues.insert(Queue(policy: UInt16(number), serial: UInt64(shard) << 56 | lastSerial)))
    }

    /// Removes a queue with its bindings, consumers and messages.
    public mutating func deleteQueue(_ id: QueueID, into effects: inout Effects) {
        if queues[id.number].replay != 0 { endReplays(of: id) }
        router.unbindAll(chain: &queues[id.number].bindingChain)
        if queues[id.number].isMember { leaveAll(id, &effects) }
        while queues[id.number].nextConsumer != 0 { removeConsumer(ConsumerID(queues[id.number].nextConsumer)) }
        removeBacklog(of: id, &effects)
        queues.remove(id.number)
    }

    /// Drops what waits in a queue and answers how many that were; what is unsettled stays with its consumers.
    @discardableResult public mutating func purge(_ id: QueueID, into effects: inout Effects) -> Int {
        let number = queues[id.number].backlog
        guard number != 0 else { return 0 }
        if queues[id.number].replay != 0 { scheduleReplays(of: id) }
        var count = 0
        // What waits for the disk has an acknowledgement to come, and stays.
        while backlogs[number].hasDeliverable {
            let (_, entry) = backlogs[number].takeNext()
            guard !entry.message.isNone else { continue }
            backlogs[number].bytes -= UInt64(messages[entry.message.number].byteCount)
            drop(entry, &effects)
            count += 1
        }
        return count
    }

    private mutating func removeBacklog(of id: QueueID, _ effects: inout Effects) {
        let number = queues[id.number].backlog
        guard number != 0 else { return }
        var backlog = backlogs.remove(number)
        for position in backlog.unsettled.positions {
            if let unsettled = backlog.unsettled.value(at: position) { drop(unsettled.entry, &effects) }
        }
        while !backlog.ready.isEmpty { drop(backlog.ready.removeFirst(), &effects) }
        while !backlog.requeued.isEmpty { drop(backlog.requeued.removeFirst().entry, &effects) }
        undurableQueues.removeAll { $0 == id }
        unfinishedQueues.removeAll { $0 == id }
        queues[id.number].backlog = 0
    }

    mutating func drop(_ entry: Entry, _ effects: inout Effects) {
        release(entry.message)
        release(entry.matches)
        settleOrigin(entry.origin, .accepted, &effects)
    }

    public func policy(of queue: QueueID) -> QueuePolicy { policies[Int(queues[queue.number].policy)] }

    /// Messages that wait for a consumer, and those a consumer has not settled.
    public func depth(of queue: QueueID) -> (ready: Int, unsettled: Int) {
        let backlog = queues[queue.number].backlog
        guard backlog != 0 else { return (0, 0) }
        return (backlogs[backlog].ready.count + backlogs[backlog].requeued.count, backlogs[backlog].unsettled.count)
    }

    // MARK: Bindings of this shard's queues

    /// True if the queue was not yet bound to the hub under this pattern.
    /// `replay`: whether the queue is given what the hub keeps; that comes in this and later ticks (`continuePumping`).
    @discardableResult
    public mutating func bind(
        _ queue: QueueID, to hub: HubID, _ pattern: Pattern, _ options: BindingOptions = BindingOptions(), replay: RetainedReplay = .none
    ) -> Bool {
        var options = options
        if policy(of: queue).isDurable { options.flags.insert(.durable) }
        let bound = router.bind(
            hub, pattern, to: .queue(queue, shard: shard), options, replay: replay, by: queues[queue.number].serial,
            chain: &queues[queue.number].bindingChain)
        if let walk = bound.walk { beginReplay(walk, through: bound.number, options, into: queue) }
        return bound.isNew
    }

    /// False if it was not bound so.
    @discardableResult
    public mutating func unbind(_ queue: QueueID, from hub: HubID, _ pattern: Pattern) -> Bool {
        let binding = router.remove(hub, pattern, from: .queue(queue, shard: shard), chain: &queues[queue.number].bindingChain)
        if let replay = replayOfBinding.value(at: UInt64(binding)) { endReplay(replay) }
        return binding != 0
    }

    /// Messages kept on this shard, in whatever number of queues.
    public var storedCount: Int { messages.count }
    /// Memberships of this shard's queues in groups.
    public var membershipCount: Int { memberships.count }

    /// How many there are of everything: all zero when nobody is left.
    public var tableCounts: [(name: String, count: Int)] {
        [
            ("queues", queues.count), ("backlogs", backlogs.count), ("consumers", consumers.count), ("credits", credits.count),
            ("publishers", publishers.count), ("endpoints", endpoints.count), ("groups", groups.count), ("groupKeys", groupKeys.count),
            ("feeds", feeds.count), ("feedNumbers", feedNumbers.count), ("memberships", memberships.count),
            ("membershipsOfQueue", membershipsOfQueue.count), ("origins", origins.count), ("messages", messages.count),
            ("matchLists", matchLists.count), ("replays", replays.count), ("undurableQueues", undurableQueues.count),
            ("unfinishedQueues", unfinishedQueues.count), ("spent", spent.count + spentLists.count), ("replayingQueues", replayingQueues.count),
            ("waitingPublishers", waitingPublishers.all.count),
        ]
    }

    /// Routes in the match cache.
    public var cachedRoutes: Int { cache.routes.count }

    // MARK: Stored messages

    /// Shows a stored message, as it came.
    public func withMessage(_ id: MessageID, _ body: (borrowing Message) -> Void) { body(messages[id.number].message) }

    /// The bindings a delivery came through.
    public func matches(_ id: MatchListID) -> [BindingMatch] {
        (0..<matchLists[id.number].matches.count).map { matchLists[id.number].matches[$0] }
    }

    mutating func store(_ message: borrowing Message) -> MessageID {
        storedBytes += message.byteCount
        return MessageID(messages.insert(StoredMessage(copying: message)))
    }

    mutating func release(_ id: MessageID) {
        guard !id.isNone else { return }
        messages[id.number].owners -= 1
        if messages[id.number].owners == 0 {
            storedBytes -= messages[id.number].byteCount
            messages.remove(id.number)
        }
    }

    /// The effects were carried out: what was only kept for them goes.
    @inline(__always) public mutating func finish(_ effects: inout Effects) {
        effects.deliveries.removeAll()
        if !spent.isEmpty || !spentLists.isEmpty { releaseSpent() }
    }

    @inline(never) private mutating func releaseSpent() {
        for message in spent { release(message) }
        spent.removeAll(keepingCapacity: true)
        for list in spentLists { release(list) }
        spentLists.removeAll(keepingCapacity: true)
    }
}
