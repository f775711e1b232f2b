import MartletBytes
import MartletCollections
import MartletCore

/// A core with a router of its own, driven by hand: what goes in and what comes out, without any protocol.
final class CoreBench {
    let router: Router
    let core: Pinned<BrokerCore>
    let effects: Pinned<Effects>
    let gateway = GatewayID(0)

    init(shard: UInt8 = 0, shards: Int = 1, router: Router = Router(), isJournaled: Bool = false, limits: CoreLimits = CoreLimits()) {
        self.router = router
        core = Pinned(BrokerCore(shard: shard, shards: shards, router: router, isJournaled: isJournaled, limits: limits))
        effects = Pinned(Effects(shards: shards))
    }

    /// A delivery as a test looks at it: to whom, what, where.
    struct Given: Equatable, CustomStringConvertible {
        var token: UInt32
        var text: String
        var position: UInt64
        var isRedelivered = false
        var isReplay = false
        var description: String { "\(token):\(text)@\(position)\(isRedelivered ? "!" : "")" }
    }

    /// The deliveries so far, which are then done with. `text`: the body of the message that is being published.
    func take(_ text: String = "") -> [Given] {
        var given: [Given] = []
        for index in 0..<effects.value.deliveries.count {
            let delivery = effects.value.deliveries[index]
            var body = text
            if !delivery.message.isNone { core.value.withMessage(delivery.message) { body = $0.body.text } }
            given.append(
                Given(token: delivery.token, text: body, position: delivery.position, isRedelivered: delivery.isRedelivered, isReplay: delivery.isReplay))
        }
        core.value.finish(&effects.value)
        return given
    }

    /// Acknowledgements so far: tag and outcome.
    func takeAcknowledgements() -> [(tag: UInt64, outcome: PublishOutcome)] {
        let all = (0..<effects.value.acknowledgements.count).map { (effects.value.acknowledgements[$0].tag, effects.value.acknowledgements[$0].outcome) }
        effects.value.removeAnnouncements { _ in }
        return all
    }

    @discardableResult
    func publish(
        _ text: String, to address: String = "a/b", hub: HubID? = nil, flags: MessageHeader.Flags = [], properties: [UInt8] = [], priority: UInt8 = 4,
        expiry: WallTime = .never, publisherQueue: QueueID = .none
    ) -> (outcome: PublishOutcome, given: [Given]) {
        var header = MessageHeader(origin: gateway, flags: flags)
        header.priority = priority
        header.expiry = expiry
        header.publisherQueue = publisherQueue
        let address = Array(address.utf8), body = Array(text.utf8)
        let message = Message(hub: hub ?? router.meetingPoint, address: address.span, properties: properties.span, body: body.span, header: header)
        let outcome = core.value.publish(message, into: &effects.value)
        return (outcome, take(text))
    }

    /// With an acknowledgement; nil: it comes later.
    func publish(_ text: String, to address: String = "a/b", from publisher: PublisherID, tag: UInt64, flags: MessageHeader.Flags = .persistent)
        -> PublishOutcome?
    {
        let address = Array(address.utf8), body = Array(text.utf8)
        let message = Message(
            hub: router.meetingPoint, address: address.span, properties: Span(), body: body.span, header: MessageHeader(origin: gateway, flags: flags))
        return core.value.publish(message, from: publisher, tag: tag, into: &effects.value)
    }

    func queue(_ change: (inout QueuePolicy) -> Void = { _ in }) -> QueueID {
        var policy = QueuePolicy()
        change(&policy)
        return core.value.openQueue(policy)
    }

    @discardableResult
    func bind(_ queue: QueueID, _ pattern: String, hub: HubID? = nil, _ options: BindingOptions = BindingOptions(), replay: RetainedReplay = .none) -> Bool {
        core.value.bind(queue, to: hub ?? router.meetingPoint, .address(Array(pattern.utf8)), options, replay: replay)
    }

    /// The ticks after this one, until nothing is unfinished; the deliveries of all.
    func finishTicks() -> [Given] {
        var given: [Given] = []
        while core.value.isUnfinished {
            core.value.continuePumping(into: &effects.value)
            given += take()
        }
        return given
    }

    func consumer(_ queue: QueueID, token: UInt32, settles: Bool = true, limit: UInt32 = 0, credit: CreditID = .none) -> ConsumerID {
        core.value.addConsumer(to: queue, gateway: gateway, token: token, settles: settles, limit: limit, credit: credit)
    }

    @discardableResult
    func settle(_ queue: QueueID, _ position: UInt64, _ settlement: Settlement) -> [Given]? {
        core.value.settle(queue, position, settlement, into: &effects.value) ? take() : nil
    }

    func pump(_ queue: QueueID) -> [Given] {
        core.value.pump(queue, into: &effects.value)
        return take()
    }

    private static func bytes(_ buffer: borrowing ByteBuffer) -> [UInt8] { buffer.span.array }

    /// Carries the letters of this shard to another, and answers its deliveries.
    func send(to other: CoreBench) -> [Given] {
        let shard = UInt32(other.core.value.shard) + 1
        var given: [Given] = []
        let mail = Self.bytes(effects.value.mail[shard])
        effects.value.mail[shard].removeAll()
        var reader = ByteReader(mail.span)
        while let letter = PeerLetter(from: &reader) {
            other.core.value.receive(letter, from: core.value.shard, into: &other.effects.value)
            given += other.take(letter.hasMessage ? letter.message.body.text : "")
        }
        return given
    }
}

extension CoreBench {
    func depth(_ queue: QueueID) -> (Int, Int) {
        let depth = core.value.depth(of: queue)
        return (depth.ready, depth.unsettled)
    }

    func token(_ consumer: ConsumerID) -> UInt32 { core.value.token(of: consumer) }
}
