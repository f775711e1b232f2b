import MartletBytes
import MartletCollections
public import MartletCore
import MartletDriver
public import MartletEventLoop
import MartletLogging
import MartletMQTTProtocol
public import MartletShard

/// MQTT on one shard. A session is an endpoint whose queue it consumes; a topic filter is a binding of that queue to `amq.topic`,
/// a shared one its membership in a group; QoS 0 passes the queue by. Packet identifiers live here, positions in the core.
///
/// Files: this one has what clients publish and acknowledge, `MQTTDeliveries` what is sent to them, `MQTTGateway+Sessions` who comes and
/// goes, `MQTTGateway+Authentication` AUTH, `MQTTGateway+Subscriptions` what they want, `MQTTGateway+Definitions` what survives a restart and
/// what waits for the disk, `MQTTGateway+Restore` how it comes back, `MQTTServerChannel` the connection, `MQTTSystemTopics` what the server
/// says of itself.
public final class MQTTGateway: Gateway {
    let options: MQTTGatewayOptions
    let log: Logger
    let hub: HubID
    let sessions = Pinned(Slab<MQTTSession>())
    /// Of the sessions that survive a restart.
    let definitions = Pinned(Slab<MQTTDefinitions>())
    let pending = Pinned(MQTTPending())
    let seen = Pinned(MQTTCounters())
    private let deliveries = Pinned(MQTTDeliveries())
    /// Where the loop keeps what each connection will be sent.
    private let outputs: OutputTable
    private let unaliased = Pinned(UnaliasedProperties())
    /// Connections on this shard.
    public internal(set) var connectionCount = 0
    /// Sessions of this shard that a connection speaks for.
    var attachedCount = 0
    /// Subscriptions of this shard's sessions, shared ones too.
    var subscriptionCount = 0
    /// On the first shard.
    private(set) var systemTopics: MQTTSystemTopics?

    public init(_ shard: Shard, id: GatewayID, options: MQTTGatewayOptions) {
        self.options = options
        log = shard.log.labelled("mqtt")
        hub = shard.router.meetingPoint
        outputs = shard.loop.outputs
        super.init(shard, id: id)
        guard shard.number == 0, options.systemTopicsInterval > .zero else { return }
        let topics = MQTTSystemTopics(self, interval: options.systemTopicsInterval, version: options.serverVersion)
        systemTopics = topics
        shard.loop.add(clock: topics)
    }

    /// What this shard's MQTT has seen.
    public internal(set) var counters: MQTTCounters {
        get { seen.value }
        set { seen.value = newValue }
    }

    /// Connections that must end, because a refusal has no word before v5: when the effects that told of it have been carried out.
    private var unanswered: [MQTTServerChannel] = []

    /// Nobody is taken in any more.
    var isStopping = false

    // MARK: Gateway

    public override var name: String { "mqtt" }
    public override var samples: [(name: String, value: UInt64)] { allSamples }
    public override func queueSamples(max: Int) -> (queues: [QueueSample], leftOut: Int) { largestQueues(max) }
    public override func adopt(_ transport: Transport) { open(transport) }
    public override func endpointEnded(_ state: UInt32) { forget(state) }
    public override func stop() { sendAllAway() }

    public override func journalBegan() { restoreAbsences() }
    public override func restore(kind: UInt8, _ definition: Span<UInt8>, as name: JournalName) {
        if let kind = MQTTDefinitions.Kind(rawValue: kind) { restore(kind, definition, as: name) }
    }

    public override func endRestoring() { finishRestoring() }
    public override func tickEnded() {
        if !unanswered.isEmpty { endUnanswered() }
        define()
    }
    public override func journalCompleted(upTo ticket: UInt64) { sendWaiting(upTo: ticket) }

    public override func deliver(_ range: Range<Int>, of message: borrowing Message) {
        guard !message.address.isEmpty else { return refuse(range) }
        if message.hub == hub { return deliveries.value.deliver(range, of: message, from: self, outputs) }
        let address = Address.convert(message.address, to: .slashes)
        deliveries.value.deliver(range, of: respelled(message, address.span), from: self, outputs)
    }

    /// It came from a hub that is bound to this one and spells addresses its own way.
    @_lifetime(copy message, copy address)
    private func respelled(_ message: borrowing Message, _ address: Span<UInt8>) -> Message {
        Message(hub: hub, address: address, properties: message.properties, body: message.body, header: message.header)
    }

    /// Sends what has waited for the disk.
    func send(_ message: borrowing Message, _ delivery: Delivery, _ identifier: UInt16, isDuplicate: Bool) {
        if message.hub == hub { return deliveries.value.send(message, delivery, (identifier, isDuplicate), self, outputs) }
        let address = Address.convert(message.address, to: .slashes)
        deliveries.value.send(respelled(message, address.span), delivery, (identifier, isDuplicate), self, outputs)
    }

    /// Whether more may be written to a connection now.
    func hasRoom(_ slot: UInt32) -> Bool {
        shard.loop.willWrite(slot)
        return outputs[slot].count <= options.outputBytesMax || shard.loop.flushEarly(slot, limit: options.outputBytesMax)
    }

    /// A topic has at least one character (5.0 section 4.7.3); an address of another protocol may have none.
    private func refuse(_ range: Range<Int>) {
        for index in range {
            let delivery = shard.effects.value.deliveries[index]
            seen.value.droppedOversized &+= 1
            if delivery.settles { shard.settleSoon(delivery) }
        }
    }

    public override func slowDown(_ token: UInt32, for duration: Duration) {
        guard let channel = shard.loop.channel(at: sessions.value[token].reach.slot) else { return }
        shard.holdBack(channel, for: duration)
    }

    public override func overflowed(_ token: UInt32) {
        guard let channel = shard.loop.channel(at: sessions.value[token].reach.slot) as? MQTTServerChannel else { return }
        counters.disconnectedSlow += 1
        sendAway(channel, .quotaExceeded, "more messages wait for it than its queue holds")
    }

    /// Sends one packet, of any type but PUBLISH. What its connection's state does not allow any more is not said.
    @inline(__always) func say(_ packet: MQTTServerOutgoing, _ machine: inout MQTTServerMachine, _ slot: UInt32) {
        seen.value.answersSent &+= 1
        try? shard.loop.send(packet, through: &machine, slot: slot)
    }

    func count(_ packets: UInt64, _ publishes: UInt64, tolerated: UInt8) {
        seen.value.packetsReceived &+= packets
        seen.value.publishesReceived &+= publishes
        seen.value.tolerated &+= UInt64(tolerated)
    }

    // MARK: From a client

    /// PUBLISH. False: the connection must end, as `unpublished` says.
    @inline(__always)
    func publish(_ publish: MQTTPublish, in bytes: Span<UInt8>, _ channel: MQTTServerChannel, _ session: UInt32, _ machine: inout MQTTServerMachine) -> Bool {
        if publish.topicAlias != 0 { return publishAliased(publish, in: bytes, channel, session, &machine) }
        return self.publish(publish, bytes.at(publish.topic), bytes.at(publish.properties), bytes.at(publish.payload), session, channel.slot, &machine)
    }

    /// Before v5 there are no topic aliases, and there is no word for a refusal. Without an end what comes next would be taken, and what was
    /// refused would come after it when the client sends it again.
    func unpublished(_ slot: UInt32, _ machine: inout MQTTServerMachine) -> ConnectionEnd {
        machine.version == .v5 ? disconnect(.topicAliasInvalid, slot, &machine) : .close(.refused(Self.noRoom))
    }
    private func endUnanswered() {
        let channels = unanswered
        unanswered = []
        for channel in channels where channel.slot != 0 { shard.loop.finish(channel, .refused(Self.noRoom)) }
    }
    private static var noRoom: String { "there is no room for its message" }

    @inline(__always)
    private func publish(
        _ publish: MQTTPublish, _ topic: Span<UInt8>, _ properties: Span<UInt8>, _ payload: Span<UInt8>, _ session: UInt32, _ slot: UInt32,
        _ machine: inout MQTTServerMachine
    ) -> Bool {
        var header = MessageHeader(origin: id, flags: Self.flags(qos: publish.qos, retain: publish.retain))
        header.publisherQueue = sessions.value[session].queue
        seen.value.publishBytesReceived &+= UInt64(payload.count)
        if publish.messageExpiry != .max { header.expiry = shard.core.value.wallTime.advanced(bySeconds: Int(publish.messageExpiry)) }
        let message = Message(hub: hub, address: topic, properties: properties, body: payload, header: header)
        if topic[0] == UInt8(ascii: "$"), isReserved(topic) {
            refuse(publish, slot, &machine)
            return true
        }
        switch publish.qos {
        case 0: _ = shard.publish(message, through: self)
        case 1:
            if let outcome = shard.publish(message, through: self, from: publisher(of: session), tag: UInt64(publish.packetIdentifier)) {
                return acknowledge(publish.packetIdentifier, outcome, slot, &machine)
            }
        default: return publishOnce(message, publish.packetIdentifier, session, slot, &machine)
        }
        return true
    }

    @inline(__always) static func flags(qos: UInt8, retain: Bool) -> MessageHeader.Flags {
        var flags: MessageHeader.Flags = qos == 0 ? .atMostOnce : qos == 1 ? .persistent : [.persistent, .exactlyOnce]
        if retain { flags.insert(.retained) }
        return flags
    }

    /// Topics that the server alone publishes.
    func isReserved(_ topic: Span<UInt8>) -> Bool {
        let prefix: [UInt8] = Array("$SYS/".utf8)
        return topic.count >= 5 && topic.extracting(0..<5).equals(prefix.span)
    }

    /// A PUBLISH that this client must not send. Before v5 there is no word for it: it is taken and dropped: 3.1.1 [MQTT-3.3.5-2].
    private func refuse(_ publish: MQTTPublish, _ slot: UInt32, _ machine: inout MQTTServerMachine) {
        counters.publishesRefused += 1
        let reason: MQTTReason = machine.version == .v5 ? .notAuthorized : .success
        if publish.qos == 1 { say(.puback(packetIdentifier: publish.packetIdentifier, reason: reason), &machine, slot) }
        if publish.qos == 2 { say(.pubrec(packetIdentifier: publish.packetIdentifier, reason: reason), &machine, slot) }
    }

    /// A topic alias is good on its connection alone: it is set or resolved, and taken out of the properties. False: it stands for nothing.
    @inline(never)
    private func publishAliased(
        _ publish: MQTTPublish, in bytes: Span<UInt8>, _ channel: MQTTServerChannel, _ session: UInt32, _ machine: inout MQTTServerMachine
    ) -> Bool {
        if !publish.topic.isEmpty { channel.setAlias(publish.topicAlias, bytes.at(publish.topic).array) }
        guard let topic = channel.topic(of: publish.topicAlias) else { return false }
        unaliased.value.take(publish.properties, in: bytes)
        return unaliased.value.read { self.publish(publish, topic.span, $0, bytes.at(publish.payload), session, channel.slot, &machine) }
    }

    @inline(__always) func publisher(of session: UInt32) -> PublisherID {
        if sessions.value[session].publisher.isNone { sessions.value[session].publisher = shard.core.value.openPublisher(gateway: id, token: session) }
        return sessions.value[session].publisher
    }

    // MARK: QoS 2 from a client

    /// In a tag, above the packet identifier: what is owed. PUBACK has none of them.
    private static var pubrecTag: UInt64 { 1 << 16 }
    private static var pubcompTag: UInt64 { 2 << 16 }
    /// SUBACK or UNSUBACK, whichever is next.
    static var answerTag: UInt64 { 3 << 16 }
    /// PUBREC for what was refused, and of which nothing is left.
    private static var refusalTag: UInt64 { 4 << 16 }

    /// Publishes it, unless it came before: then its PUBREC leaves again, as soon as what was published is on disk. Its identifier is
    /// written down with it, or neither is; what is refused leaves none: it is as new when it comes again.
    private func publishOnce(
        _ message: borrowing Message, _ identifier: UInt16, _ session: UInt32, _ slot: UInt32, _ machine: inout MQTTServerMachine
    ) -> Bool {
        let publisher = publisher(of: session), tag = Self.pubrecTag | UInt64(identifier)
        let isNew = sessions.value[session].receive(identifier)
        var outcome =
            isNew
            ? shard.publish(message, through: self, from: publisher, tag: tag)
            : shard.core.value.confirm(publisher, tag: tag)
        if isNew, shard.effects.value.outcome == .refused {
            _ = sessions.value[session].forget(identifier)
            if outcome == nil { shard.core.value.renameAcknowledgement(of: publisher, Self.refusalTag | UInt64(identifier)) }
        } else if isNew, isDefined(session) {
            sessions.value[session].name(identifier, defineReceived(identifier, of: session))
            if let now = outcome {
                outcome = shard.core.value.confirm(publisher, tag: tag, now)
            } else {
                shard.core.value.holdAcknowledgement(of: publisher)
            }
        }
        return outcome.map { sayReceived(identifier, $0, slot, &machine) } ?? true
    }

    /// What another shard has refused is forgotten. The client may give the identifier to another message as soon as it has heard of it: by then
    /// it is on disk that it is free.
    private func acknowledgeOnce(
        _ identifier: UInt16, _ outcome: PublishOutcome, _ session: UInt32, _ slot: UInt32, _ machine: inout MQTTServerMachine
    ) -> Bool {
        if outcome == .refused, let name = sessions.value[session].forget(identifier), !name.isNone {
            undefine(name)
            if shard.core.value.confirm(publisher(of: session), tag: Self.refusalTag | UInt64(identifier), outcome) == nil { return true }
        }
        return sayReceived(identifier, outcome, slot, &machine)
    }

    /// PUBREC. False: there is no word for it, and the connection must end; the client keeps the message: 3.1.1 [MQTT-3.3.5-2].
    private func sayReceived(_ identifier: UInt16, _ outcome: PublishOutcome, _ slot: UInt32, _ machine: inout MQTTServerMachine) -> Bool {
        guard machine.version == .v5 || outcome != .refused else { return false }
        say(.pubrec(packetIdentifier: identifier, reason: Self.reason(outcome)), &machine, slot)
        return true
    }

    /// PUBREL. The client may use the identifier again as soon as PUBCOMP has come: by then it is on disk that it is free.
    func released(_ identifier: UInt16, _ session: UInt32, _ slot: UInt32, _ machine: inout MQTTServerMachine) {
        let name = sessions.value[session].forget(identifier), outcome: PublishOutcome = name == nil ? .unroutable : .routed
        guard isDefined(session) else { return complete(identifier, outcome, slot, &machine) }
        if let name { undefine(name) }
        if let outcome = shard.core.value.confirm(publisher(of: session), tag: Self.pubcompTag | UInt64(identifier), outcome) {
            complete(identifier, outcome, slot, &machine)
        }
    }

    /// PUBCOMP; `.unroutable`: for nothing that was received.
    private func complete(_ identifier: UInt16, _ outcome: PublishOutcome, _ slot: UInt32, _ machine: inout MQTTServerMachine) {
        say(.pubcomp(packetIdentifier: identifier, reason: outcome == .routed ? .success : .packetIdentifierNotFound), &machine, slot)
    }

    // MARK: Acknowledgements of what a client has published

    private static func reason(_ outcome: PublishOutcome) -> MQTTReason {
        switch outcome {
        case .routed: .success
        case .unroutable: .noMatchingSubscribers
        case .refused: .quotaExceeded
        }
    }

    /// PUBACK. False: as of PUBREC.
    @inline(__always) private func acknowledge(_ identifier: UInt16, _ outcome: PublishOutcome, _ slot: UInt32, _ machine: inout MQTTServerMachine) -> Bool {
        guard machine.version == .v5 || outcome != .refused else { return false }
        say(.puback(packetIdentifier: identifier, reason: Self.reason(outcome)), &machine, slot)
        return true
    }

    public override func acknowledge(_ acknowledgement: Acknowledgement) {
        let session = acknowledgement.token, slot = sessions.value[session].reach.slot
        guard let channel = shard.loop.channel(at: slot) as? MQTTServerChannel else { return }
        let identifier = UInt16(truncatingIfNeeded: acknowledgement.tag)
        var goesOn = true
        switch acknowledgement.tag & ~UInt64(UInt16.max) {
        case 0: goesOn = acknowledge(identifier, acknowledgement.outcome, slot, &channel.machine)
        case Self.pubrecTag: goesOn = acknowledgeOnce(identifier, acknowledgement.outcome, session, slot, &channel.machine)
        case Self.refusalTag: goesOn = sayReceived(identifier, acknowledgement.outcome, slot, &channel.machine)
        case Self.pubcompTag: complete(identifier, acknowledgement.outcome, slot, &channel.machine)
        default: if let answer = takeAnswer(session) { say(answer, &channel.machine, slot) }
        }
        if !goesOn { unanswered.append(channel) }
    }

    // MARK: Acknowledgements of what a client was sent

    /// PUBACK, PUBCOMP: the identifier is free again, and the queue may go on.
    @inline(__always) func acknowledged(_ identifier: UInt16, _ session: UInt32) {
        guard let position = sessions.value[session].freeIdentifier(identifier) else {
            counters.unknownAcknowledgements += 1
            return
        }
        if isDefined(session) { undefineUnderWay(identifier, session) }
        _ = shard.settle(sessions.value[session].queue, position, .accepted)
    }

    /// PUBREC: the client has the message. One that refuses it is done with it [MQTT-4.8.2-6].
    func received(_ identifier: UInt16, _ reason: MQTTReason, _ session: UInt32, _ slot: UInt32, _ machine: inout MQTTServerMachine) {
        if reason.isFailure { return acknowledged(identifier, session) }
        guard let (position, isFirst) = sessions.value[session].release(identifier) else {
            counters.unknownAcknowledgements += 1
            say(.pubrel(packetIdentifier: identifier, reason: .packetIdentifierNotFound), &machine, slot)
            return
        }
        if isFirst {
            defineReceipt(identifier, session)
            _ = shard.settle(sessions.value[session].queue, position, .received)
        }
        release(identifier, session, slot, &machine)
    }

    func outputBlocked(_ session: UInt32, _ blocked: Bool) {
        let consumer = sessions.value[session].consumer
        guard !consumer.isNone else { return }
        if !blocked, isDefined(session) { sendWaiting(of: session, upTo: shard.core.value.durableTicket) }
        shard.perform { $0.pause(consumer, blocked, into: &$1) }
    }
}

/// The properties of one PUBLISH without its topic alias.
struct UnaliasedProperties: ~Copyable {
    private var bytes = ByteBuffer()

    func read<Answer>(_ body: (Span<UInt8>) -> Answer) -> Answer { body(bytes.span) }

    mutating func take(_ properties: ByteRange, in packet: Span<UInt8>) {
        bytes.removeAll()
        var cursor = MQTTPropertyCursor(properties, in: packet)
        while let property = cursor.next() { if property.identifier != .topicAlias { bytes.append(packet.at(property.whole)) } }
    }
}
