import MartletBytes
import MartletCollections
import MartletCore
import MartletEventLoop
import MartletMQTTProtocol
import MartletShard

/// What a gateway writes to its clients: PUBLISH packets. One message for many clients is encoded once for each form they need, and
/// copied; a client that wants something of its own in it (topic alias, subscription identifiers) gets its own.
///
/// Not here: which session gets what (the core), and when packet identifiers are free again (`MQTTSession`).
struct MQTTDeliveries: ~Copyable {
    private var frames = Slab<ByteBuffer>()
    /// Where the packet identifier stands in each.
    private var identifierOffsets = [Int](repeating: 0, count: Form.count + 1)
    /// Which frames hold the message of now, a bit each.
    private var encoded: UInt16 = 0
    /// Properties for one client, in front of the message's own.
    private var prefix = ByteBuffer()

    /// How a packet looks, but for its identifier.
    private struct Form {
        let version: MQTTVersion
        let qos: UInt8
        let retain: Bool
        static let count = 12
        @inline(__always) var number: UInt32 { 1 + (version == .v5 ? 6 : 0) + UInt32(qos) * 2 + (retain ? 1 : 0) }
    }

    /// What a message says to all its receivers.
    private struct Traits {
        let isRetained, isExactlyOnce, expires: Bool
        @inline(__always) init(_ header: MessageHeader) {
            isRetained = header.flags.contains(.retained)
            isExactlyOnce = header.flags.contains(.exactlyOnce)
            expires = header.expiry != .never
        }
    }

    init() { for _ in 0..<Form.count { _ = frames.insert(ByteBuffer()) } }

    @inline(__always)
    mutating func deliver(_ range: Range<Int>, of message: borrowing Message, from gateway: MQTTGateway, _ outputs: OutputTable) {
        encoded = 0
        let shard = gateway.shard, loop = shard.loop
        let traits = Traits(message.header), isForMany = range.count > 1, outputBytesMax = gateway.options.outputBytesMax
        var sent: UInt64 = 0
        for index in range {
            let delivery = shard.effects.value.deliveries[index]
            let reach = gateway.sessions.value[delivery.token].reach
            loop.willWrite(reach.slot)
            // A replay waits by itself for a client that reads slowly.
            if outputs[reach.slot].count > outputBytesMax, !delivery.settles, !delivery.isReplay, !loop.flushEarly(reach.slot, limit: outputBytesMax) {
                gateway.seen.value.droppedSlow &+= 1
                continue
            }
            if reach.packetSizeMax != .max, !fits(delivery, message, reach, gateway) { continue }
            let form = Self.form(of: delivery, traits, reach.version)
            if traits.isExactlyOnce, form.qos == 2, gateway.isDefined(delivery.token) {
                let (identifier, isDuplicate) = identifier(for: delivery, form, gateway)
                gateway.hold(delivery, identifier, isDuplicate: isDuplicate)
                continue
            }
            sent &+= 1
            if reach.version == .v5, !delivery.matches.isNone || reach.takesAliases || traits.expires && !delivery.message.isNone {
                encodeOwn(message, form, identifier(for: delivery, form, gateway), for: delivery, reach.slot, gateway, &outputs[reach.slot])
            } else if isForMany {
                copy(message, form, for: delivery, gateway, &outputs[reach.slot])
            } else {
                encode(message, form, identifier(for: delivery, form, gateway), gateway, &outputs[reach.slot])
            }
        }
        gateway.seen.value.publishesSent &+= sent
        gateway.seen.value.publishBytesSent &+= sent &* UInt64(message.body.count)
    }

    /// One message whose packet identifier has been chosen.
    mutating func send(
        _ message: borrowing Message, _ delivery: Delivery, _ identifier: (UInt16, isDuplicate: Bool), _ gateway: MQTTGateway, _ outputs: OutputTable
    ) {
        let reach = gateway.sessions.value[delivery.token].reach, form = Self.form(of: delivery, Traits(message.header), reach.version)
        gateway.shard.loop.willWrite(reach.slot)
        if reach.version == .v5 {
            encodeOwn(message, form, identifier, for: delivery, reach.slot, gateway, &outputs[reach.slot])
        } else {
            encode(message, form, identifier, gateway, &outputs[reach.slot])
        }
        gateway.seen.value.publishesSent &+= 1
        gateway.seen.value.publishBytesSent &+= UInt64(message.body.count)
    }

    /// QoS: the lower of the message's and the subscription's. RETAIN: set on what was kept, and on what says so where the
    /// subscription wants it as published [MQTT-3.3.1-12], [MQTT-3.3.1-13].
    @inline(__always) private static func form(of delivery: Delivery, _ traits: Traits, _ version: MQTTVersion) -> Form {
        let wanted = MQTTBindingOptions(opaque: delivery.opaque)
        let qos: UInt8 = !delivery.settles ? 0 : traits.isExactlyOnce && wanted.qos == 2 ? 2 : 1
        return Form(version: version, qos: qos, retain: delivery.isReplay || traits.isRetained && wanted.retainAsPublished)
    }

    /// Whether the client takes a packet of this size. What it could never take is settled as if delivered [MQTT-3.1.2-25].
    @inline(never) private mutating func fits(
        _ delivery: Delivery, _ message: borrowing Message, _ reach: MQTTSession.Reach, _ gateway: MQTTGateway
    ) -> Bool {
        prefix.removeAll()
        appendIdentifiers(delivery, gateway)
        let size = MQTTEncoder.publishSize(
            version: reach.version, topicCount: message.address.count,
            propertyCount: prefix.count + message.properties(of: gateway.id).count, payloadCount: message.body.count, qos: delivery.settles ? 1 : 0)
        if size <= Int(reach.packetSizeMax) { return true }
        gateway.seen.value.droppedOversized &+= 1
        if delivery.settles {
            if let identifier = gateway.sessions.value[delivery.token].takeIdentifierAgain(for: delivery.position) {
                _ = gateway.sessions.value[delivery.token].freeIdentifier(identifier)
                gateway.undefineSoon(identifier, delivery.token)
            }
            gateway.shard.settleSoon(delivery)
        }
        return false
    }

    /// What it was given before comes again, under the identifier it had: it may have seen it. Over a restart, QoS 1 may have another; a
    /// QoS 2 message that has none then was not given before.
    @inline(__always)
    private func identifier(for delivery: Delivery, _ form: Form, _ gateway: MQTTGateway) -> (UInt16, isDuplicate: Bool) {
        guard delivery.settles else { return (0, false) }
        if delivery.isRedelivered, let again = gateway.sessions.value[delivery.token].takeIdentifierAgain(for: delivery.position) { return (again, true) }
        return (gateway.sessions.value[delivery.token].takeIdentifier(for: delivery.position), delivery.isRedelivered && form.qos == 1)
    }

    /// One client: straight into its output.
    @inline(__always)
    private func encode(
        _ message: borrowing Message, _ form: Form, _ identifier: (UInt16, isDuplicate: Bool), _ gateway: MQTTGateway, _ output: inout ByteBuffer
    ) {
        MQTTEncoder.publish(
            version: form.version, topic: message.address, properties: message.properties(of: gateway.id), payload: message.body, qos: form.qos,
            packetIdentifier: identifier.0, retain: form.retain, duplicate: identifier.isDuplicate, into: &output)
    }

    /// Many clients: encoded once for each form they need, and copied.
    @inline(__always)
    private mutating func copy(_ message: borrowing Message, _ form: Form, for delivery: Delivery, _ gateway: MQTTGateway, _ output: inout ByteBuffer) {
        let number = form.number
        if encoded & 1 << UInt16(truncatingIfNeeded: number) == 0 { encodeFrame(message, form, gateway) }
        let start = output.count
        output.append(contentsOf: frames[number])
        if form.qos > 0 {
            let identifier = gateway.sessions.value[delivery.token].takeIdentifier(for: delivery.position)
            output.set(identifier, at: start + identifierOffsets[Int(number)])
        }
    }

    @inline(never) private mutating func encodeFrame(_ message: borrowing Message, _ form: Form, _ gateway: MQTTGateway) {
        let number = form.number
        encoded |= 1 << UInt16(number)
        frames[number].removeAll()
        identifierOffsets[Int(number)] = MQTTEncoder.publish(
            version: form.version, topic: message.address, properties: message.properties(of: gateway.id), payload: message.body, qos: form.qos,
            packetIdentifier: 0, retain: form.retain, duplicate: false, into: &frames[number])
    }

    // MARK: What one client wants for itself

    @inline(never)
    private mutating func encodeOwn(
        _ message: borrowing Message, _ form: Form, _ identifier: (UInt16, isDuplicate: Bool), for delivery: Delivery, _ slot: UInt32,
        _ gateway: MQTTGateway, _ output: inout ByteBuffer
    ) {
        prefix.removeAll()
        appendIdentifiers(delivery, gateway)
        let properties = message.properties(of: gateway.id)
        let isKnown = canAlias(message, form, delivery, gateway) && appendAlias(of: message.address, slot, gateway)
        MQTTEncoder.publish(
            version: .v5, topic: isKnown ? Span() : message.address, prefix: prefix.span, properties: properties, payload: message.body, qos: form.qos,
            packetIdentifier: identifier.0, retain: form.retain, duplicate: identifier.isDuplicate, into: &output)
        // It was kept, so some of its expiry interval may be over.
        if message.header.expiry != .never, !delivery.message.isNone {
            lowerExpiry(of: message, properties, at: output.count - message.body.count - properties.count, gateway, &output)
        }
    }

    private mutating func appendIdentifiers(_ delivery: Delivery, _ gateway: MQTTGateway) {
        guard !delivery.matches.isNone else { return }
        for match in gateway.shard.core.value.matches(delivery.matches) where match.tag != 0 {
            MQTTEncoder.property(.subscriptionIdentifier, match.tag, into: &prefix)
        }
    }

    /// Whether the client takes aliases, and the packet with one more property.
    private func canAlias(_ message: borrowing Message, _ form: Form, _ delivery: Delivery, _ gateway: MQTTGateway) -> Bool {
        guard gateway.sessions.value[delivery.token].reach.takesAliases else { return false }
        let sizeMax = gateway.sessions.value[delivery.token].reach.packetSizeMax
        let size = MQTTEncoder.publishSize(
            version: .v5, topicCount: message.address.count, propertyCount: prefix.count + 3 + message.properties(of: gateway.id).count,
            payloadCount: message.body.count, qos: form.qos)
        return size <= Int(sizeMax)
    }

    /// True: the client knows the topic by the alias.
    private mutating func appendAlias(of topic: Span<UInt8>, _ slot: UInt32, _ gateway: MQTTGateway) -> Bool {
        guard let channel = gateway.shard.loop.channel(at: slot) as? MQTTServerChannel, let (alias, isKnown) = channel.alias(for: topic) else { return false }
        MQTTEncoder.property(.topicAlias, UInt32(alias), into: &prefix)
        return isKnown
    }

    /// The interval less the time it has waited [MQTT-3.3.2-6], in whole seconds, the last of which counts as one.
    private func lowerExpiry(of message: borrowing Message, _ properties: Span<UInt8>, at start: Int, _ gateway: MQTTGateway, _ output: inout ByteBuffer) {
        var cursor = MQTTPropertyCursor(ByteRange(0, properties.count), in: properties)
        guard let expiry = cursor.first(.messageExpiryInterval) else { return }
        let left = UInt32(clamping: max(1, (message.header.expiry.milliseconds - gateway.shard.core.value.wallTime.milliseconds + 999) / 1000))
        let place = start + expiry.valueOffset
        output.set(UInt16(left >> 16), at: place)
        output.set(UInt16(truncatingIfNeeded: left), at: place + 2)
    }
}
