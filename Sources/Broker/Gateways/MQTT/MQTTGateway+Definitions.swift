import MartletBytes
import MartletCollections
import MartletCore
import MartletEventLoop
import MartletMQTTProtocol
import MartletShard

/// Writing down what must survive a restart. A session without definitions costs nothing here: it ends with its connection, or there is no
/// journal.
extension MQTTGateway {
    func isDefined(_ session: UInt32) -> Bool { sessions.value[session].definitions != 0 }

    /// From now on the session's state is written down, if it is to survive a restart and there is a journal.
    func beginDefining(_ session: UInt32, _ clientID: [UInt8]) {
        guard shard.core.value.isJournaled, shard.core.value.policy(of: sessions.value[session].queue).isDurable else { return }
        sessions.value[session].definitions = definitions.value.insert(MQTTDefinitions(home: MQTTDefinitions.home(of: clientID.span)))
    }

    private func define(_ kind: MQTTDefinitions.Kind, of session: UInt32, replacing old: JournalName = .none, _ append: (inout ByteBuffer) -> Void)
        -> JournalName
    {
        beginDefinition(of: session)
        append(&pending.value.bytes)
        return define(kind, pending.value.bytes, replacing: old)
    }

    /// What each definition of a session begins with, into `pending`.
    private func beginDefinition(of session: UInt32) {
        pending.value.bytes.removeAll()
        pending.value.bytes.append(definitions.value[sessions.value[session].definitions].home)
        pending.value.bytes.append(shard.core.value.serial(of: sessions.value[session].queue))
    }

    private func define(_ kind: MQTTDefinitions.Kind, _ bytes: borrowing ByteBuffer, replacing old: JournalName) -> JournalName {
        shard.core.value.define(id, kind.rawValue, bytes.span, replacing: old, into: &shard.effects.value)
    }

    func undefine(_ name: JournalName) { shard.core.value.undefine(name, into: &shard.effects.value) }

    /// `ended`: when its connection did; `.never`: it has one.
    func defineSession(_ session: UInt32, ended: WallTime = .never) {
        guard isDefined(session) else { return }
        let number = sessions.value[session].definitions, endpoint = sessions.value[session].endpoint
        let lifetime = shard.core.value.lifetime(of: endpoint), clientID = shard.core.value.identity(of: endpoint)
        definitions.value[number].session = define(.session, of: session, replacing: definitions.value[number].session) {
            $0.append(UInt64(clamping: lifetime.components.seconds) * 1000)
            $0.append(UInt64(bitPattern: ended.milliseconds))
            $0.append(clientID.span)
        }
    }

    func defineWill(_ message: borrowing Message, delay: UInt32, lifetime: Duration?, of session: UInt32) -> JournalName {
        guard isDefined(session) else { return .none }
        beginDefinition(of: session)
        pending.value.bytes.append(delay)
        pending.value.bytes.append(UInt64(bitPattern: lifetime?.components.seconds ?? -1))
        pending.value.bytes.append(message.header.flags.rawValue)
        pending.value.bytes.append(UInt32(message.address.count))
        pending.value.bytes.append(UInt32(message.properties.count))
        pending.value.bytes.append(UInt32(message.body.count))
        pending.value.bytes.append(message.address)
        pending.value.bytes.append(message.properties)
        pending.value.bytes.append(message.body)
        return define(.will, pending.value.bytes, replacing: .none)
    }

    func defineSubscription(_ filter: [UInt8], _ wanted: MQTTSubscriptionOptions, _ identifier: UInt32, of session: UInt32) -> JournalName {
        guard isDefined(session) else { return .none }
        return define(.subscription, of: session) {
            $0.append(wanted.rawValue)
            $0.append(identifier)
            $0.append(filter.span)
        }
    }

    func defineReceived(_ identifier: UInt16, of session: UInt32) -> JournalName { define(.received, of: session) { $0.append(identifier) } }

    /// `opaque`: of the subscriptions as they are now. The message was perhaps written down for others: on another shard, before a SUBSCRIBE.
    func defineUnderWay(
        _ identifier: UInt16, order: UInt64, opaque: UInt16, isReceived: Bool, replacing old: JournalName = .none, of session: UInt32
    ) -> JournalName {
        define(.underWay, of: session, replacing: old) {
            $0.append(identifier)
            $0.append(isReceived ? 1 as UInt8 : 0)
            $0.append(order)
            $0.append(opaque)
        }
    }

    /// PUBREC: the message is the client's, its identifier still in use.
    func defineReceipt(_ identifier: UInt16, _ session: UInt32) {
        let number = sessions.value[session].definitions
        guard number != 0, let name = definitions.value[number].underWay.value(at: UInt64(identifier)) else { return }
        let received = defineUnderWay(identifier, order: 0, opaque: 0, isReceived: true, replacing: name, of: session)
        _ = definitions.value[number].underWay.update(UInt64(identifier)) { $0 = received }
    }

    /// PUBCOMP: the identifier is free.
    func undefineUnderWay(_ identifier: UInt16, _ session: UInt32) {
        if let name = definitions.value[sessions.value[session].definitions].underWay.remove(UInt64(identifier)) { undefine(name) }
    }

    /// The same while the core gives messages out.
    func undefineSoon(_ identifier: UInt16, _ session: UInt32) {
        guard isDefined(session) else { return }
        if let name = definitions.value[sessions.value[session].definitions].underWay.remove(UInt64(identifier)) { pending.value.ending.append(name) }
    }

    /// Identifiers that are free without a word of the client's: what they stood for is not the session's any more.
    func undefineFree(_ session: UInt32) {
        guard isDefined(session) else { return }
        for identifier in definitions.value[sessions.value[session].definitions].underWay.positions {
            let identifier = UInt16(truncatingIfNeeded: identifier)
            if !sessions.value[session].isInUse(identifier) { undefineUnderWay(identifier, session) }
        }
    }

    /// A session is no more: nothing of it is. Its will, its subscriptions and its messages end with its endpoint.
    func endDefinitions(of session: UInt32) {
        guard isDefined(session) else { return }
        let number = sessions.value[session].definitions
        if !pending.value.absent.isEmpty { pending.value.absent.removeAll { $0.session == session } }
        pending.value.ending.append(definitions.value[number].session)
        for identifier in definitions.value[number].underWay.positions {
            if let name = definitions.value[number].underWay.value(at: identifier) { pending.value.ending.append(name) }
        }
        pending.value.ending += sessions.value[session].unreleasedNames
        if definitions.value[number].isWaiting { pending.value.waiting.removeAll { $0 == session } }
        if definitions.value[number].isUnwritten { pending.value.unwritten.removeAll { $0 == session } }
        definitions.value.remove(number)
    }

    // MARK: What waits for the disk

    /// A QoS 2 PUBLISH leaves when its identifier is on disk: after a crash it is not another message's. It must not be defined here and now,
    /// because the core is giving it out.
    func hold(_ delivery: Delivery, _ identifier: UInt16, isDuplicate: Bool) {
        wait(MQTTDefinitions.Waiting(isRelease: false, identifier: identifier, isDuplicate: isDuplicate, position: delivery.position), delivery.token)
    }

    private func wait(_ packet: MQTTDefinitions.Waiting, _ session: UInt32) {
        let number = sessions.value[session].definitions
        definitions.value[number].waiting.append(packet)
        if !definitions.value[number].isWaiting { pending.value.waiting.append(session) }
        if !definitions.value[number].isUnwritten { pending.value.unwritten.append(session) }
        definitions.value[number].isWaiting = true
        definitions.value[number].isUnwritten = true
    }

    /// PUBREL leaves when it is on disk that PUBREC has come.
    func release(_ identifier: UInt16, _ session: UInt32, _ slot: UInt32, _ machine: inout MQTTServerMachine) {
        let number = sessions.value[session].definitions
        guard number != 0, !definitions.value[number].waiting.isEmpty || shard.core.value.lastTicket > shard.core.value.durableTicket else {
            return say(.pubrel(packetIdentifier: identifier, reason: .success), &machine, slot)
        }
        wait(MQTTDefinitions.Waiting(isRelease: true, identifier: identifier, isDuplicate: false, position: 0), session)
    }

    /// The connection is gone, and what waited to be sent on it.
    func forgetWaiting(_ session: UInt32) {
        guard isDefined(session) else { return }
        definitions.value[sessions.value[session].definitions].waiting = Ring()
        definitions.value[sessions.value[session].definitions].answers = []
    }

    /// SUBACK or UNSUBACK: the client may rely on it when it is on disk.
    func answer(_ answer: MQTTServerOutgoing, _ session: UInt32, _ slot: UInt32, _ machine: inout MQTTServerMachine) {
        guard isDefined(session), shard.core.value.confirm(publisher(of: session), tag: Self.answerTag) == nil else { return say(answer, &machine, slot) }
        definitions.value[sessions.value[session].definitions].answers.append(answer)
    }

    func takeAnswer(_ session: UInt32) -> MQTTServerOutgoing? {
        let number = sessions.value[session].definitions
        guard number != 0, !definitions.value[number].answers.isEmpty else { return nil }
        return definitions.value[number].answers.removeFirst()
    }

    // MARK: CONNACK

    /// What CONNECT has begun, changed or ended is on disk before the client hears of it: a session that it knows to be over does not come back,
    /// one that it knows to be there does. Nothing is read from it, and nothing else sent to it, meanwhile.
    func hold(_ connack: MQTTConnack, _ channel: MQTTServerChannel) {
        let consumer = sessions.value[channel.session].consumer
        channel.greeting = connack
        pending.value.greetings.append((channel, .max))
        shard.hold(channel)
        shard.perform { $0.pause(consumer, true, into: &$1) }
    }

    func forgetGreeting(of channel: MQTTServerChannel) {
        channel.greeting = nil
        pending.value.greetings.removeAll { $0.channel === channel }
        shard.release(channel)
    }

    private func greet() {
        while let (channel, ticket) = pending.value.greetings.first, ticket <= shard.core.value.durableTicket {
            guard let connack = channel.greeting else { return }
            forgetGreeting(of: channel)
            say(.connack(connack), &channel.machine, channel.slot)
            resume(channel.session, &channel.machine)
            shard.loop.schedule(channel)
            shard.loop.showAgain(channel.slot)
        }
    }

    // MARK: The tick

    /// Everything that this tick's block is to hold is written down.
    func define() {
        if !pending.value.greetings.isEmpty { greet() }
        if !pending.value.unwritten.isEmpty { defineWaiting() }
        if !pending.value.ending.isEmpty {
            for name in pending.value.ending { undefine(name) }
            pending.value.ending.removeAll(keepingCapacity: true)
        }
        for index in pending.value.greetings.indices.reversed() {
            guard pending.value.greetings[index].ticket == .max else { break }
            pending.value.greetings[index].ticket = shard.core.value.lastTicket
        }
    }

    private func defineWaiting() {
        let sessions = pending.value.unwritten
        pending.value.unwritten.removeAll(keepingCapacity: true)
        for session in sessions {
            let number = self.sessions.value[session].definitions
            definitions.value[number].isUnwritten = false
            var first = definitions.value[number].waiting.count
            while first > 0, definitions.value[number].waiting[first - 1].ticket == .max { first -= 1 }
            for index in first..<definitions.value[number].waiting.count {
                let packet = definitions.value[number].waiting[index]
                if !packet.isRelease { define(packet, of: session) }
                definitions.value[number].waiting[index].ticket = shard.core.value.lastTicket
            }
        }
        sendWaiting(upTo: shard.core.value.durableTicket)
    }

    /// It may have been given before, and have its definition; or be settled already.
    private func define(_ packet: MQTTDefinitions.Waiting, of session: UInt32) {
        let number = sessions.value[session].definitions, queue = sessions.value[session].queue
        guard definitions.value[number].underWay.value(at: UInt64(packet.identifier)) == nil else { return }
        guard let delivery = shard.core.value.delivery(of: queue, at: packet.position) else { return }
        let order = shard.core.value.own(queue, at: packet.position, into: &shard.effects.value)
        let name = defineUnderWay(packet.identifier, order: order, opaque: delivery.opaque, isReceived: false, of: session)
        definitions.value[number].underWay.insert(name, at: UInt64(packet.identifier))
    }

    func sendWaiting(upTo ticket: UInt64) {
        guard !pending.value.waiting.isEmpty else { return }
        let sessions = pending.value.waiting
        pending.value.waiting.removeAll(keepingCapacity: true)
        for session in sessions {
            sendWaiting(of: session, upTo: ticket)
            let number = self.sessions.value[session].definitions
            definitions.value[number].isWaiting = !definitions.value[number].waiting.isEmpty
            if definitions.value[number].isWaiting { pending.value.waiting.append(session) }
        }
    }

    /// As far as its output has room.
    func sendWaiting(of session: UInt32, upTo ticket: UInt64) {
        let number = sessions.value[session].definitions, slot = sessions.value[session].reach.slot
        guard let channel = shard.loop.channel(at: slot) as? MQTTServerChannel else { return }
        while let packet = definitions.value[number].waiting.first, packet.ticket <= ticket {
            guard hasRoom(slot) else { return }
            definitions.value[number].waiting.removeFirst()
            if packet.isRelease {
                say(.pubrel(packetIdentifier: packet.identifier, reason: .success), &channel.machine, slot)
            } else if let delivery = shard.core.value.delivery(of: sessions.value[session].queue, at: packet.position) {
                shard.core.value.withMessage(delivery.message) { send($0, delivery, packet.identifier, isDuplicate: packet.isDuplicate) }
            }
        }
    }
}
