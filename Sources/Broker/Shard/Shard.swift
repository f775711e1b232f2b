public import MartletBytes
import MartletCollections
public import MartletCore
public import MartletEventLoop
public import MartletJournal
public import MartletLogging

/// One loop's share of the broker: a core, its journal, and the gateways that speak for it. Carries the core's effects out.
///
/// The path of a message: a gateway calls `publish`, the core answers with deliveries, `carryOut` hands them to the gateways of
/// their consumers, and at the end of the tick records go to the journal, letters to other shards, and bytes to the sockets.
/// Not here: what a protocol means (gateways), how things are routed (Core).
public final class Shard: LoopTenant {
    public let loop: EventLoop
    public let number: UInt8
    public let router: Router
    public let log: Logger
    /// Behind pointers: a class's `var` would pay for dynamic exclusivity at every message.
    public let core: Pinned<BrokerCore>
    public let effects: Pinned<Effects>
    let storage: Pinned<(any Journal)?>
    /// By number; our own among them.
    private let peers: [EventLoop]
    private let gateways = Pinned<[Gateway]>([])
    private var clock: ShardClock?
    /// Another shard has more unread letters than it should: publishers are held back.
    public private(set) var isCongested = false
    private var heldBack: [Channel] = []
    private var held: [Channel] = []
    private var slowed: [(channel: Channel, until: Instant)] = []
    private static let unreadLetterBytesMax = 1 << 20
    private var isAwaitingReaders = false
    private var undeliverable: [(QueueID, UInt64)] = []

    /// On the loop's own thread. `journal`: nil when there is no disk to wait for, or not before `begin`.
    public init(
        on loop: EventLoop, of peers: [EventLoop], router: Router, journal: (any Journal)? = nil, isJournaled: Bool = false, log: Logger,
        limits: CoreLimits = CoreLimits()
    ) {
        var limits = limits
        // What could not be read again stays in memory.
        if let journal, !journal.keepsRecords { limits.residentBytesMax = .max }
        self.loop = loop
        self.peers = peers
        self.router = router
        self.log = log
        storage = Pinned(journal)
        number = UInt8(loop.number)
        core = Pinned(BrokerCore(shard: number, shards: peers.count, router: router, isJournaled: isJournaled || journal != nil, limits: limits))
        effects = Pinned(Effects(shards: peers.count))
        if let journal { core.value.journalTail = JournalTail(journal.cursor) }
        core.value.isRestoring = isJournaled && journal == nil
        let clock = ShardClock(self)
        self.clock = clock
        loop.add(clock: clock)
    }

    /// Whether there is a disk. While the server starts there is none yet: nothing may be defined then, only ended.
    public var hasJournal: Bool { storage.value != nil }

    /// From here on there is a disk; what was restored has been.
    public func begin(_ journal: any Journal) {
        storage.value = journal
        core.value.begin(at: JournalTail(journal.cursor), into: &effects.value)
        for gateway in gateways.value { gateway.journalBegan() }
        // What expired while there was no server is gone before anybody asks for it.
        perform { $0.wake(at: loop.now, into: &$1) }
        loop.execute { _ in }
    }

    /// Adds a protocol; the answer is the gateway's.
    public func addGateway<Kind: Gateway>(_ make: (Shard, GatewayID) -> Kind) -> Kind {
        let gateway = make(self, GatewayID(UInt8(gateways.value.count)))
        gateways.value.append(gateway)
        return gateway
    }

    public func gateway(_ id: GatewayID) -> Gateway { gateways.value[Int(id.index)] }
    public var allGateways: [Gateway] { gateways.value }

    /// How many shards there are.
    public var count: Int { peers.count }

    /// The loop of another shard.
    public func loop(of shard: UInt8) -> EventLoop { peers[Int(shard)] }

    // MARK: Commands with effects

    /// Publishes a message that nobody acknowledges. `gateway` is the caller: most deliveries are its own, and it is at hand.
    @inline(__always) public func publish(_ message: borrowing Message, through gateway: Gateway) -> PublishOutcome {
        let outcome = core.value.publish(message, into: &effects.value)
        if !effects.value.deliveries.isEmpty { deliver(message, through: gateway) }
        return outcome
    }

    /// Publishes a message whose acknowledgement is called `tag`: what to say now, or nil if `Gateway.acknowledge` will.
    @inline(__always) public func publish(_ message: borrowing Message, through gateway: Gateway, from publisher: PublisherID, tag: UInt64) -> PublishOutcome? {
        let outcome = core.value.publish(message, from: publisher, tag: tag, into: &effects.value)
        if !effects.value.deliveries.isEmpty { deliver(message, through: gateway) }
        if !effects.value.crowding.isEmpty { slowDown() }
        return outcome
    }

    /// Settles a delivery; false if there was none at that position.
    @inline(__always) public func settle(_ queue: QueueID, _ position: UInt64, _ settlement: Settlement) -> Bool {
        let isKnown = core.value.settle(queue, position, settlement, into: &effects.value)
        carryOut()
        return isKnown
    }

    /// Any other command whose effects are wanted at once.
    public func perform<Answer>(_ command: (inout BrokerCore, inout Effects) -> Answer) -> Answer {
        let answer = command(&core.value, &effects.value)
        carryOut()
        return answer
    }

    /// Settles a delivery that its gateway cannot make, after the effects that are being carried out.
    public func settleSoon(_ delivery: Delivery) { undeliverable.append((delivery.queue, delivery.position)) }

    /// A queue's consumer is gone, whose name with its gateway was `token`: what was to be done about it is not, because both numbers
    /// may soon be another's.
    public func forget(_ queue: QueueID, _ gateway: GatewayID, _ token: UInt32) {
        undeliverable.removeAll { $0.0 == queue }
        effects.value.forgetOverflow(of: token, gateway)
    }

    // MARK: Effects

    /// The deliveries of the message that is being published, in runs of one gateway.
    @inline(__always) private func deliver(_ message: borrowing Message, through caller: Gateway) {
        let count = effects.value.deliveries.count
        var start = 0
        while start < count {
            let gateway = effects.value.deliveries[start].gateway
            var end = start + 1
            while end < count, effects.value.deliveries[end].gateway == gateway { end += 1 }
            if gateway == caller.id {
                caller.deliver(start..<end, of: message)
            } else {
                gateways.value[Int(gateway.index)].deliver(start..<end, of: message)
            }
            start = end
        }
        core.value.finish(&effects.value)
    }

    /// Everything the last commands led to: deliveries of stored messages, acknowledgements, ended endpoints.
    @inline(__always) public func carryOut() {
        if !effects.value.deliveries.isEmpty { deliverStored() }
        if !effects.value.acknowledgements.isEmpty || !effects.value.ended.isEmpty { announce() }
        if !effects.value.crowding.isEmpty { slowDown() }
    }

    private func deliverStored() {
        for index in 0..<effects.value.deliveries.count {
            let delivery = effects.value.deliveries[index]
            let gateway = gateways.value[Int(delivery.gateway.index)]
            core.value.withMessage(delivery.message) { gateway.deliver(index..<index + 1, of: $0) }
        }
        core.value.finish(&effects.value)
    }

    private func announce() {
        for index in 0..<effects.value.acknowledgements.count {
            let acknowledgement = effects.value.acknowledgements[index]
            gateways.value[Int(acknowledgement.gateway.index)].acknowledge(acknowledgement)
        }
        effects.value.removeAnnouncements { ended in gateways.value[Int(ended.gateway.index)].endpointEnded(ended.gatewayState) }
    }

    // MARK: The loop

    public func tickBegan(on loop: EventLoop) { core.value.heard(at: loop.now, loop.wallTime()) }

    public func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {
        var mail = ByteReader(letter)
        while let letter = PeerLetter(from: &mail) {
            core.value.receive(letter, from: UInt8(sender), into: &effects.value)
            if letter.hasMessage {
                if !effects.value.deliveries.isEmpty { deliver(letter.message, through: gateways.value[0]) }
            } else {
                carryOut()
            }
        }
    }

    public func tickEnded(on loop: EventLoop) {
        // While the journal's contents come back, entries have no names yet: what that leads to waits for `begin`.
        if core.value.isJournaled, storage.value == nil { return }
        while let (queue, position) = undeliverable.popLast() { _ = settle(queue, position, .accepted) }
        if !effects.value.overflowing.isEmpty { announceOverflows() }
        if let journal = storage.value { complete(journal) }
        if core.value.isUnfinished { perform { $0.continuePumping(into: &$1) } }
        for gateway in gateways.value { gateway.tickEnded() }
        // The next tick comes at once: its flush makes room for more.
        if core.value.isUnfinished { loop.execute { _ in } }
        // What was kept for deliveries that another shard makes has nobody else to end it.
        core.value.finish(&effects.value)
        if !undeliverable.isEmpty { loop.execute { _ in } }
        // Before the letters: what another shard writes because of one stands behind this.
        core.value.endBindings(into: &effects.value)
        if let journal = storage.value { write(to: journal) }
        for peer in 0..<peers.count where !effects.value.mail[UInt32(peer) + 1].isEmpty { post(to: peer) }
        if core.value.hubsInLettersCount > 0, !isAwaitingReaders { awaitReaders() }
        if let clock { loop.schedule(clock) }
    }

    public func ended(on loop: EventLoop) {
        guard let journal = storage.value else { return }
        write(to: journal)
        if !journal.finish(at: loop.now, within: Self.finishTime) {
            log.error("not everything could be written to the journal; nothing of that was acknowledged")
        }
    }

    /// What a disk may take for the last writes.
    private static var finishTime: Duration { .seconds(10) }

    /// A call that is passed from shard to shard stands behind the letters to each: when it is back, they have been read.
    private func awaitReaders() {
        isAwaitingReaders = true
        let count = core.value.hubsInLettersCount
        Self.pass(peers[...], home: loop) { shard in
            shard.isAwaitingReaders = false
            shard.core.value.lettersWereRead(hubs: count)
        }
    }

    private static func pass(_ loops: ArraySlice<EventLoop>, home: EventLoop, _ body: @escaping @Sendable (Shard) -> Void) {
        guard let first = loops.first else { return home.execute { if let shard = $0.tenant as? Shard { body(shard) } } }
        first.execute { _ in pass(loops.dropFirst(), home: home, body) }
    }

    private func announceOverflows() {
        let all = (0..<effects.value.overflowing.count).map { effects.value.overflowing[$0] }
        effects.value.removeOverflowing()
        for one in all where one.token != 0 { gateways.value[Int(one.gateway.index)].overflowed(one.token) }
    }

    private func post(to peer: Int) {
        peers[peer].post(&effects.value.mail[UInt32(peer) + 1], from: Int(number))
        guard !isCongested, peers[peer].unreadLetterBytes > Self.unreadLetterBytesMax else { return }
        isCongested = true
        // This call stands behind the letters: when it is made, they have been read.
        let loop = loop
        peers[peer].execute { _ in loop.execute { ($0.tenant as? Shard)?.endCongestion() } }
    }

    /// Stops reading from a connection that publishes while another shard cannot keep up; it goes on when that one can.
    public func holdBack(_ channel: Channel) {
        loop.pauseReading(channel.slot, true)
        heldBack.append(channel)
    }

    /// The same for a while: a queue that its messages go to is filling up.
    public func holdBack(_ channel: Channel, for duration: Duration) {
        loop.pauseReading(channel.slot, true)
        let until = loop.now + duration
        if let last = slowed.indices.last, slowed[last].channel === channel { slowed[last].until = until } else { slowed.append((channel, until)) }
    }

    /// Stops reading from a connection until `release`.
    public func hold(_ channel: Channel) {
        loop.pauseReading(channel.slot, true)
        held.append(channel)
    }

    /// Reads on, unless there is another reason not to.
    public func release(_ channel: Channel) {
        held.removeAll { $0 === channel }
        resume(channel)
    }

    /// The fuller the queue, the longer its publishers wait, so that a consumer that reads at all keeps up: at 50 ms a read of
    /// 64 KiB, a publisher sends some 20,000 small messages a second.
    private func slowDown() {
        for index in 0..<effects.value.crowding.count {
            let crowding = effects.value.crowding[index]
            // One entry a message: the last of a publisher's run says enough.
            if index + 1 < effects.value.crowding.count, effects.value.crowding[index + 1].token == crowding.token { continue }
            gateways.value[Int(crowding.gateway.index)].slowDown(crowding.token, for: .microseconds(200 * Int(crowding.degree)))
        }
        effects.value.removeCrowding()
    }

    private func resumeSlowed() {
        let due = slowed.filter { $0.until <= loop.now }
        slowed.removeAll { $0.until <= loop.now }
        for (channel, _) in due { resume(channel) }
    }

    private func endCongestion() {
        isCongested = false
        let channels = heldBack
        heldBack.removeAll()
        for channel in channels { resume(channel) }
    }

    /// Reads from a connection again unless it is held back for another reason.
    private func resume(_ channel: Channel) {
        guard channel.slot != 0, !slowed.contains(where: { $0.channel === channel }) else { return }
        guard !heldBack.contains(where: { $0 === channel }), !held.contains(where: { $0 === channel }) else { return }
        loop.pauseReading(channel.slot, false)
    }

    /// Everything that this tick wrote down, as one block.
    private func write(to journal: any Journal) {
        for index in 0..<effects.value.reads.count {
            let read = effects.value.reads[index]
            journal.read(read.id, segment: read.segment, offset: read.offset)
        }
        effects.value.reads.removeAll()
        guard !effects.value.records.isEmpty else { return }
        journal.append(&effects.value.records, upTo: effects.value.lastTicket, order: effects.value.blockOrder, at: loop.now)
        core.value.journalTail = JournalTail(journal.cursor)
    }

    private func complete(_ journal: any Journal) {
        let durable = journal.completed(at: loop.now)
        core.value.isJournalFull = journal.isFull
        if durable > core.value.durableTicket {
            for gateway in gateways.value { gateway.journalCompleted(upTo: durable) }
            perform { $0.journalCompleted(upTo: durable, into: &$1) }
        }
        journal.takeReads { core.value.arrived($0, $1, into: &effects.value) }
        carryOut()
    }

    fileprivate var deadline: Instant {
        var nearest = min(core.value.deadline, storage.value?.deadline ?? .never)
        for (_, until) in slowed { nearest = min(nearest, until) }
        return nearest
    }

    fileprivate func wake() {
        resumeSlowed()
        perform { $0.wake(at: loop.now, into: &$1) }
    }
}

/// The shard's place in the loop's timers.
private final class ShardClock: Channel {
    private unowned let shard: Shard
    init(_ shard: Shard) {
        self.shard = shard
        super.init()
    }
    override var deadline: Instant { shard.deadline }
    override func wake(on loop: EventLoop) { shard.wake() }
}
