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
    var backlogs = Slab<Backlog>()
    var consumers = Slab<Consumer>()
    var credits = Slab<Credit>()
    var publishers = Slab<Publisher>()
    var endpoints = Slab<Endpoint>()
    /// Groups whose queue is here, their consumers, and this shard's queues that are members of groups anywhere (Groups.swift).
    var groups: [GroupKey: QueueID] = [:]
    var groupKeys: [QueueID: GroupKey] = [:]
    /// Of those that survive a restart, their definitions in the journal.
    var groupNames: [QueueID: JournalName] = [:]
    var feeds = Slab<Feed>()
    var feedNumbers: [Feed.Name: UInt32] = [:]
    var memberships: [UInt64: Membership] = [:]
    var membershipsOfQueue: [QueueID: [UInt64]] = [:]
    var lastMembership: UInt64 = 0
    var origins = Slab<Origin>()
    var messages = Slab<StoredMessage>()
    /// By hub: stored messages that were published to it.
    var storedOfHub: [UInt32] = []
    /// Removed, but something stored came through them; and those of which that is over.
    var removedHubs: Set<HubID> = []
    var forgottenHubs: [HubID] = []
    /// Like those, but letters under way may name them.
    var hubsInLetters: [HubID] = []
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
    /// What stored messages take, with what keeping and queueing one costs beside its bytes: small messages are mostly that.
    public var memoryBytes: Int { storedBytes + messages.count * 128 }

    /// Whether there is a disk to wait for.
    public let isJournaled: Bool
    /// Where this tick's records will lie.
    public var journalTail = JournalTail(segment: 1, offset: 0, ordinal: 0)
    /// The journal's contents come back: there is a disk, but nothing can be written yet, so nothing has a name (`begin`).
    public var isRestoring = false
    /// Groups that were opened meanwhile.
    var undefinedGroups: [QueueID] = []
    /// Nothing more can be written to it than what makes room.
    public var isJournalFull = false
    /// Entries in other shards' segments that ended here, until that is on disk.
    var endedElsewhere = Ring<EndedElsewhere>()
    /// Definitions of bindings may have ended (`endBindings`).
    var haveBindingsChanged = false
    /// What is being read again for queues, by number; and the last of those.
    var readings: [UInt64: Reading] = [:]
    var lastReading: UInt64 = 0
    /// What was published before the server started has no later order.
    var restoredOrder: UInt64 = 0
    /// Where the last record that was read again came from, as it says so itself; nil when that hub goes.
    var lastRestoredHub: (names: [UInt8], hub: HubID)?
    /// While the server starts.
    var restoring = Restoring()
    /// The ticket of what was written down last.
    public internal(set) var lastTicket: UInt64 = 0
    /// Shards that hold entries which wait for one of our tickets, a bit each.
    var shardsAwaitingDisk: UInt64 = 0
    var publisherGeneration: UInt64 = 0
    /// By shard: everything up to this ticket of its is on disk.
    var durableTickets: [UInt64]
    /// Queues with entries that wait for the disk.
    var undurableQueues: [QueueID] = []
    /// Goes up whenever queues may give out more: with each tick, and when those that were cut short go on.
    var turn: UInt64 = 1
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
        turn &+= 1
        self.now = now
        self.wallTime = wallTime
    }

    /// Up to which of this shard's tickets everything is on disk.
    public var durableTicket: UInt64 { durableTickets[Int(shard)] }

    /// When `wake` wants to be called.
    public var deadline: Instant { endpointSchedule.first ?? .never }

    // MARK: Queues

    /// `serial`: of a queue that was there before a restart.
    public mutating func openQueue(_ policy: QueuePolicy, serial: UInt64? = nil) -> QueueID {
        let number = policies.firstIndex(of: policy) ?? policies.count
        if number == policies.count { policies.append(policy) }
        let id = QueueID(queues.insert(Queue(policy: UInt16(number), serial: serial ?? router.nextSerial())))
        if let serial { router.restored(serial, as: id, on: shard) }
        return id
    }

    /// Names a queue for ever, over restarts and on all shards.
    public func serial(of queue: QueueID) -> UInt64 { queues[queue.number].serial }

    /// Removes a hub with its bindings. Only queues of this shard may be bound to it. Stored messages that came through it name it
    /// still, so its number is not another's before `takeForgottenHubs` says so.
    public mutating func removeHub(_ hub: HubID) {
        for (target, chain) in router.removeHub(hub) {
            guard case .queue(let queue, shard) = target else { preconditionFailure("a queue of another shard is bound to a hub that goes") }
            queues[queue.number].bindingChain = chain
        }
        removedHubs.insert(hub)
        lastRestoredHub = nil
        forgetHub(hub)
        haveBindingsChanged = isJournaled
    }

    /// Removed hubs that nothing stored came through any more.
    private mutating func forgetHub(_ hub: HubID) {
        guard Int(hub.number) >= storedOfHub.count || storedOfHub[Int(hub.number)] == 0 else { return }
        removedHubs.remove(hub)
        lastRestoredHub = nil
        if durableTickets.count == 1 { forgottenHubs.append(hub) } else { hubsInLetters.append(hub) }
    }

    /// Every other shard has read all letters that there were when `hubsInLetters` had `count` hubs.
    public mutating func lettersWereRead(hubs count: Int) {
        forgottenHubs += hubsInLetters.prefix(count)
        hubsInLetters.removeFirst(count)
    }
    /// Removed hubs that only letters under way may name.
    public var hubsInLettersCount: Int { hubsInLetters.count }

    /// Hands out the removed hubs whose numbers nothing names any more; they may be given to others when `body` returns.
    public mutating func takeForgottenHubs(_ body: (HubID) -> Void) {
        for hub in forgottenHubs {
            body(hub)
            router.forgetHub(hub)
        }
        forgottenHubs.removeAll()
    }
    public var hasForgottenHubs: Bool { !forgottenHubs.isEmpty }

    /// The hubs that a queue is bound to.
    public func hubs(of queue: QueueID) -> [HubID] { router.hubs(of: queues[queue.number].bindingChain) }

    /// Removes a queue with its bindings, consumers and messages.
    public mutating func deleteQueue(_ id: QueueID, into effects: inout Effects) {
        if queues[id.number].replay != 0 { endReplays(of: id) }
        router.unbindAll(chain: &queues[id.number].bindingChain)
        haveBindingsChanged = isJournaled
        if queues[id.number].isMember { leaveAll(id, &effects) }
        var credits: Set<CreditID> = []
        while queues[id.number].nextConsumer != 0 {
            let consumer = ConsumerID(queues[id.number].nextConsumer), credit = consumers[consumer.number].credit
            if !credit.isNone { credits.insert(credit) }
            removeConsumer(consumer)
        }
        credits.formUnion(removeBacklog(of: id, &effects))
        queues.remove(id.number)
        for credit in credits.sorted(by: { $0.number < $1.number }) { offer(credit, &effects) }
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
        return count + (backlogs[number].isPaged ? endPaged(of: id, isAll: false, &effects) : 0)
    }

    /// The answer: shared limits that have room again.
    private mutating func removeBacklog(of id: QueueID, _ effects: inout Effects) -> Set<CreditID> {
        let number = queues[id.number].backlog
        guard number != 0 else { return [] }
        var credits: Set<CreditID> = []
        if backlogs[number].isPaged { endPaged(of: id, isAll: true, &effects) }
        var backlog = backlogs.remove(number)
        for position in backlog.unsettled.positions {
            guard let unsettled = backlog.unsettled.value(at: position) else { continue }
            drop(unsettled.entry, &effects)
            guard !unsettled.consumer.isNone else { continue }
            if !consumers[unsettled.consumer.number].credit.isNone { credits.insert(consumers[unsettled.consumer.number].credit) }
            returnCredit(of: unsettled.consumer)
        }
        while !backlog.ready.isEmpty { drop(backlog.ready.removeFirst(), &effects) }
        while !backlog.requeued.isEmpty { drop(backlog.requeued.removeFirst().entry, &effects) }
        undurableQueues.removeAll { $0 == id }
        unfinishedQueues.removeAll { $0 == id }
        queues[id.number].backlog = 0
        return credits
    }

    mutating func drop(_ entry: Entry, _ effects: inout Effects) {
        release(entry.message)
        release(entry.matches)
        settleOrigin(entry.origin, .accepted, &effects)
        end(entry.name, &effects)
    }

    public func policy(of queue: QueueID) -> QueuePolicy { policies[Int(queues[queue.number].policy)] }

    /// Messages that wait for a consumer, and those a consumer has not settled.
    public func depth(of queue: QueueID) -> (ready: Int, unsettled: Int) {
        let backlog = queues[queue.number].backlog
        guard backlog != 0 else { return (0, 0) }
        return (backlogs[backlog].waiting, backlogs[backlog].unsettled.count)
    }

    /// Bytes of those messages, address, properties and body.
    public func bytes(of queue: QueueID) -> UInt64 {
        let backlog = queues[queue.number].backlog
        return backlog == 0 ? 0 : backlogs[backlog].bytes
    }

    /// What all queues of this shard hold together, and how many there are. Looks at each.
    public var depth: (queues: Int, ready: Int, unsettled: Int, bytes: UInt64) {
        var depth = (queues: queues.count, ready: 0, unsettled: 0, bytes: UInt64(0))
        backlogs.forEach { _, backlog in
            depth.ready += backlog.waiting
            depth.unsettled += backlog.unsettled.count
            depth.bytes += backlog.bytes
        }
        return depth
    }

    /// The groups whose queue is here.
    public func forEachGroup(_ body: (_ name: [UInt8], _ pattern: [UInt8], QueueID) -> Void) {
        for (key, queue) in groups { body(key.name, key.pattern, queue) }
    }

    // MARK: Bindings of this shard's queues

    /// True if the queue was not yet bound to the hub under this pattern.
    /// `replay`: whether the queue is given what the hub keeps; that comes in this and later ticks (`continuePumping`). `record`: the
    /// binding's definition in the journal (`define`), which ends with it.
    @discardableResult
    public mutating func bind(
        _ queue: QueueID, to hub: HubID, _ pattern: Pattern, _ options: BindingOptions = BindingOptions(), replay: RetainedReplay = .none,
        record: JournalName = .none
    ) -> Bool {
        var options = options
        if policy(of: queue).isDurable { options.flags.insert(.durable) }
        let bound = router.bind(
            hub, pattern, to: .queue(queue, shard: shard), options, replay: replay, by: queues[queue.number].serial, record: record,
            chain: &queues[queue.number].bindingChain)
        haveBindingsChanged = isJournaled
        if let walk = bound.walk { beginReplay(walk, through: bound.number, options, into: queue) }
        return bound.isNew
    }

    /// False if it was not bound so.
    @discardableResult
    public mutating func unbind(_ queue: QueueID, from hub: HubID, _ pattern: Pattern) -> Bool {
        let binding = router.remove(hub, pattern, from: .queue(queue, shard: shard), chain: &queues[queue.number].bindingChain)
        if let replay = replayOfBinding.value(at: UInt64(binding)) { endReplay(replay) }
        haveBindingsChanged = isJournaled
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
            ("waitingPublishers", waitingPublishers.all.count), ("removedHubs", removedHubs.count + hubsInLetters.count), ("readings", readings.count),
            ("endedElsewhere", endedElsewhere.count),
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
        let hub = Int(message.hub.number)
        if hub >= storedOfHub.count { storedOfHub += Array(repeating: 0, count: hub + 1 - storedOfHub.count) }
        storedOfHub[hub] &+= 1
        return MessageID(messages.insert(StoredMessage(copying: message)))
    }

    mutating func release(_ id: MessageID) {
        guard !id.isNone else { return }
        messages[id.number].owners -= 1
        if messages[id.number].owners == 0 {
            storedBytes -= messages[id.number].byteCount
            let hub = messages[id.number].hub
            messages.remove(id.number)
            storedOfHub[Int(hub.number)] &-= 1
            if storedOfHub[Int(hub.number)] == 0, !removedHubs.isEmpty, removedHubs.contains(hub) { forgetHub(hub) }
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
