import MartletBytes
import MartletCollections
public import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletMQTTProtocol
public import MartletNet
public import MartletShard

/// MQTT on one shard. A session is an endpoint whose queue it consumes; a topic filter is a binding of that queue to `amq.topic`;
/// QoS 0 passes the queue by. Packet identifiers live here, positions in the core.
///
/// Files: this one has the messages' path, `MQTTGateway+Sessions` who comes and goes, `MQTTServerChannel` the connection.
public final class MQTTGateway: Gateway {
    let options: MQTTGatewayOptions
    let log: Logger
    let hub: HubID
    let sessions = Pinned(Slab<MQTTSession>())
    private let frames = Pinned(EncodedFrames())
    private let seen = Pinned(MQTTCounters())
    /// Where the loop keeps what each connection will be sent.
    private let outputs: OutputTable
    /// Connections on this shard.
    public internal(set) var connectionCount = 0

    public init(_ shard: Shard, id: GatewayID, options: MQTTGatewayOptions) {
        self.options = options
        log = shard.log.labelled("mqtt")
        hub = shard.router.meetingPoint
        outputs = shard.loop.outputs
        super.init(shard, id: id)
    }

    /// What this shard's MQTT has seen.
    public internal(set) var counters: MQTTCounters {
        get { seen.value }
        set { seen.value = newValue }
    }

    /// Nobody is taken in any more.
    var isStopping = false

    // MARK: Connections

    public override func adopt(_ descriptor: Int32, from address: SocketAddress, unread: [UInt8]) { open(descriptor, unread: unread) }
    public override func endpointEnded(_ state: UInt32) { sessions.value.remove(state) }
    public override func stop() { sendAllAway() }

    // MARK: From a client

    @inline(__always)
    func publish(_ publish: MQTTPublish, in bytes: Span<UInt8>, _ session: UInt32, _ slot: UInt32, _ machine: inout MQTTServerMachine) {
        var header = MessageHeader(origin: id, flags: publish.qos == 0 ? .atMostOnce : .persistent)
        header.publisherQueue = sessions.value[session].queue
        let message = Message(
            hub: hub, address: bytes.at(publish.topic), properties: bytes.at(publish.properties), body: bytes.at(publish.payload), header: header)
        if publish.qos == 0 {
            _ = shard.publish(message, through: self)
            return
        }
        let publisher = publisher(of: session)
        if let outcome = shard.publish(message, through: self, from: publisher, tag: UInt64(publish.packetIdentifier)) {
            // v3.1.1 has no word for a refusal: without PUBACK the client keeps the message.
            guard machine.version == .v5 || outcome != .refused else { return }
            try? shard.loop.send(.puback(packetIdentifier: publish.packetIdentifier, reason: Self.reason(outcome)), through: &machine, slot: slot)
        }
    }

    @inline(__always) private func publisher(of session: UInt32) -> PublisherID {
        if sessions.value[session].publisher.isNone { sessions.value[session].publisher = shard.core.value.openPublisher(gateway: id, token: session) }
        return sessions.value[session].publisher
    }

    private static func reason(_ outcome: PublishOutcome) -> MQTTReason {
        switch outcome {
        case .routed: .success
        case .unroutable: .noMatchingSubscribers
        case .refused: .quotaExceeded
        }
    }

    public override func acknowledge(_ acknowledgement: Acknowledgement) {
        let slot = sessions.value[acknowledgement.token].slot
        guard let channel = shard.loop.channel(at: slot) as? MQTTServerChannel else { return }
        guard channel.machine.version == .v5 || acknowledgement.outcome != .refused else { return }
        let puback = MQTTServerOutgoing.puback(packetIdentifier: UInt16(acknowledgement.tag), reason: Self.reason(acknowledgement.outcome))
        try? shard.loop.send(puback, through: &channel.machine, slot: slot)
    }

    public override func slowDown(_ token: UInt32, for duration: Duration) {
        guard let channel = shard.loop.channel(at: sessions.value[token].slot) else { return }
        shard.holdBack(channel, for: duration)
    }

    /// PUBACK: the identifier is free again, and the queue may go on.
    @inline(__always) func acknowledged(_ identifier: UInt16, _ session: UInt32) {
        guard let position = sessions.value[session].identifiers.remove(UInt64(identifier)) else {
            counters.unknownPubacks += 1
            return
        }
        _ = shard.settle(sessions.value[session].queue, position, .accepted)
    }

    // MARK: To clients

    public override func deliver(_ range: Range<Int>, of message: borrowing Message) {
        if range.count > 1 { frames.value.removeAll() }
        for index in range {
            let delivery = shard.effects.value.deliveries[index]
            guard accepts(delivery, message) else { continue }
            if range.count == 1 { encode(message, for: delivery) } else { copy(message, for: delivery) }
        }
    }

    /// Whether the message may be written for this client now. What may not is dropped (QoS 0), or settled as if delivered when the
    /// client could never take it [MQTT-3.1.2-25].
    @inline(__always) private func accepts(_ delivery: Delivery, _ message: borrowing Message) -> Bool {
        let slot = sessions.value[delivery.token].slot
        shard.loop.willWrite(slot)
        if outputs[slot].count > options.outputBytesMax, !delivery.settles, !delivery.isReplay, !shard.loop.flushEarly(slot, limit: options.outputBytesMax) {
            seen.value.droppedSlow &+= 1
            return false
        }
        let sizeMax = sessions.value[delivery.token].packetSizeMax
        if sizeMax != .max, message.byteCount + 16 > Int(sizeMax) { return fits(delivery, message, Int(sizeMax)) }
        return true
    }

    @inline(never) private func fits(_ delivery: Delivery, _ message: borrowing Message, _ sizeMax: Int) -> Bool {
        let size = MQTTEncoder.publishSize(
            version: sessions.value[delivery.token].version, topicCount: message.address.count, propertyCount: message.properties.count,
            payloadCount: message.body.count, qos: delivery.settles ? 1 : 0)
        if size <= sizeMax { return true }
        seen.value.droppedOversized &+= 1
        if delivery.settles {
            if let identifier = sessions.value[delivery.token].takeIdentifierAgain(for: delivery.position) {
                _ = sessions.value[delivery.token].identifiers.remove(UInt64(identifier))
            }
            shard.settleSoon(delivery)
        }
        return false
    }

    /// One consumer: straight into its output. What it was given before comes again, under the identifier it had: it may have seen it.
    @inline(__always) private func encode(_ message: borrowing Message, for delivery: Delivery) {
        let session = delivery.token, slot = sessions.value[session].slot
        var identifier: UInt16 = 0, isDuplicate = false
        if delivery.settles {
            if delivery.isRedelivered, let again = sessions.value[session].takeIdentifierAgain(for: delivery.position) {
                (identifier, isDuplicate) = (again, true)
            } else {
                identifier = sessions.value[session].takeIdentifier(for: delivery.position)
            }
        }
        MQTTEncoder.publish(
            version: sessions.value[session].version, topic: message.address, properties: message.properties(of: id), payload: message.body,
            qos: delivery.settles ? 1 : 0, packetIdentifier: identifier, retain: false, duplicate: isDuplicate, into: &outputs[slot])
    }

    /// Many consumers: encoded once for each form they need, and copied.
    @inline(__always) private func copy(_ message: borrowing Message, for delivery: Delivery) {
        let session = delivery.token, slot = sessions.value[session].slot
        let version = sessions.value[session].version, qos: UInt8 = delivery.settles ? 1 : 0
        let form = EncodedFrames.form(version, qos)
        if frames.value.frames[form].isEmpty {
            frames.value.identifierOffsets[Int(form)] = MQTTEncoder.publish(
                version: version, topic: message.address, properties: message.properties(of: id), payload: message.body, qos: qos, packetIdentifier: 0,
                retain: false, duplicate: false, into: &frames.value.frames[form])
        }
        let start = outputs[slot].count
        outputs[slot].append(contentsOf: frames.value.frames[form])
        if qos > 0 {
            let identifier = sessions.value[session].takeIdentifier(for: delivery.position)
            outputs[slot].set(identifier, at: start + frames.value.identifierOffsets[Int(form)])
        }
    }

    func outputBlocked(_ session: UInt32, _ blocked: Bool) {
        let consumer = sessions.value[session].consumer
        guard !consumer.isNone else { return }
        shard.perform { $0.pause(consumer, blocked, into: &$1) }
    }

    public override var samples: [(name: String, value: UInt64)] {
        [
            ("connections", UInt64(connectionCount)), ("connectionsAccepted", counters.connectionsAccepted),
            ("connectionsRefused", counters.connectionsRefused),
            ("violations", counters.violations), ("droppedSlow", counters.droppedSlow), ("droppedOversized", counters.droppedOversized),
            ("unknownPubacks", counters.unknownPubacks),
        ]
    }
}

/// One message in each form that its receivers of this moment need: by protocol version and QoS.
struct EncodedFrames: ~Copyable {
    var frames = Slab<ByteBuffer>()
    /// Where the packet identifier stands in each.
    var identifierOffsets = [0, 0, 0, 0, 0]

    init() { for _ in 0..<4 { _ = frames.insert(ByteBuffer()) } }

    @inline(__always) static func form(_ version: MQTTVersion, _ qos: UInt8) -> UInt32 { 1 + (version == .v5 ? 2 : 0) + UInt32(qos) }

    mutating func removeAll() { for form in 1...4 as ClosedRange<UInt32> { frames[form].removeAll() } }
}
