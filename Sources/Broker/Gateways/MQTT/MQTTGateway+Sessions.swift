import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletMQTTProtocol
import MartletNet
import MartletShard

/// Who comes and goes.
extension MQTTGateway {
    enum ConnectionEnd { case close(CloseReason), moved(shard: UInt8) }
    enum ConnectAnswer { case accepted(UInt32), over(ConnectionEnd) }

    func open(_ descriptor: Int32, unread: [UInt8]) {
        guard !isStopping else { return shard.loop.discard(descriptor) }
        let channel = MQTTServerChannel(self)
        guard shard.loop.add(channel, descriptor: descriptor) != nil else {
            counters.connectionsRefused += 1
            return
        }
        connectionCount += 1
        shard.loop.replay(unread, to: channel)
    }

    // MARK: CONNECT

    func connect(_ connect: MQTTConnect, in bytes: Span<UInt8>, _ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine) -> ConnectAnswer {
        guard options.authenticate(connect.userName.map { bytes.at($0).array }, connect.password.map { bytes.at($0).array }) else {
            return refuse(channel, &machine, connect.userName == nil ? .notAuthorized : .badUserNameOrPassword, "not authorized")
        }
        if connect.clientID.isEmpty, connect.version != .v5, !connect.cleanStart {
            return refuse(channel, &machine, .clientIdentifierNotValid, "no client identifier for a session that is to last")  // [MQTT-3.1.3-8]
        }
        if connect.authenticationMethod != nil { return refuse(channel, &machine, .badAuthenticationMethod, "an unknown authentication method") }
        if connect.version == .v5, connect.will?.qos == 2 {
            return refuse(channel, &machine, .qosNotSupported, "a will of QoS 2")  // [MQTT-3.2.2-12]
        }
        if connect.version == .v5, connect.will?.retain == true {
            return refuse(channel, &machine, .retainNotSupported, "a retained will, which this server does not keep")  // [MQTT-3.2.2-13]
        }
        let assigned = connect.clientID.isEmpty ? Self.makeIdentifier() : []
        let clientID = connect.clientID.isEmpty ? assigned : bytes.at(connect.clientID).array
        guard let (existing, owner) = claim(clientID, cleanStart: connect.cleanStart) else {
            return refuse(channel, &machine, .serverBusy, "its session is being ended again and again")
        }
        guard owner == shard.number else { return .over(.moved(shard: owner)) }

        let session = attach(existing, clientID, connect, channel)
        setWill(connect.will, in: bytes, session)
        var connack = MQTTConnack(reason: .success, sessionPresent: !existing.isNone)
        connack.maximumQoS = 1
        connack.retainAvailable = false
        connack.subscriptionIdentifiersAvailable = false
        connack.sharedAvailable = false
        if !assigned.isEmpty { connack.assignedClientID = assigned }
        let lifetime = lifetime(connect)
        if connect.version == .v5, lifetime < .seconds(Int64(connect.sessionExpiry)) { connack.sessionExpiry = UInt32(lifetime.components.seconds) }
        try? shard.loop.send(.connack(connack), through: &machine, slot: channel.slot)
        counters.connectionsAccepted += 1
        log.info("client connected", metadata: ["client": clientID.span.text, "address": address(channel), "version": connect.version == .v5 ? "5" : "3.1.1"])
        resume(session)
        return .accepted(session)
    }

    private func refuse(_ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine, _ reason: MQTTReason, _ text: String) -> ConnectAnswer {
        counters.connectionsRefused += 1
        try? shard.loop.send(.connack(MQTTConnack(reason: reason)), through: &machine, slot: channel.slot)
        return .over(.close(.refused(text)))
    }

    private func address(_ channel: MQTTServerChannel) -> String { SocketAddress.peer(of: shard.loop.descriptor(of: channel.slot))?.description ?? "gone" }

    static func makeIdentifier() -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return Array("auto-".utf8) + (0..<16).map { _ in digits[Int.random(in: 0..<16)] }
    }

    /// The endpoint of this identity, if one goes on, and the shard it must be served on. A connection that speaks for it already
    /// is sent away [MQTT-3.1.4-3]; a clean start ends what was there.
    private func claim(_ clientID: [UInt8], cleanStart: Bool) -> (EndpointID, UInt8)? {
        for _ in 0..<3 {
            let (owner, endpoint) = shard.router.claim(clientID.span, for: shard.number)
            guard owner == shard.number, !endpoint.isNone else { return (.none, owner) }
            let session = shard.core.value.gatewayState(of: endpoint)
            if sessions.value[session].slot != 0 {
                takeOver(session)
            } else if cleanStart {
                shard.perform { $0.deleteEndpoint(endpoint, into: &$1) }
                sessions.value.remove(session)
            } else {
                return (endpoint, owner)
            }
        }
        return nil
    }

    private func takeOver(_ session: UInt32) {
        guard let old = shard.loop.channel(at: sessions.value[session].slot) as? MQTTServerChannel else { return }
        try? shard.loop.send(.disconnect(reason: .sessionTakenOver, text: ""), through: &old.machine, slot: old.slot)
        shard.loop.finish(old, .refused("another connection took the session over"))
    }

    /// v5: as the client asks; v3.1.1: for ever, unless it is clean. Neither beyond the limit.
    private func lifetime(_ connect: MQTTConnect) -> Duration {
        switch connect.version {
        case .v5: min(options.sessionExpiryMax, .seconds(Int64(connect.sessionExpiry)))
        case .v3_1, .v3_1_1: connect.cleanStart ? .zero : options.sessionExpiryMax
        }
    }

    private func attach(_ existing: EndpointID, _ clientID: [UInt8], _ connect: MQTTConnect, _ channel: MQTTServerChannel) -> UInt32 {
        let lifetime = lifetime(connect), slot = channel.slot
        var session: UInt32
        if existing.isNone {
            let policy = options.queuePolicy(isDurable: lifetime > .zero)
            let endpoint = shard.core.value.openEndpoint(clientID.span, gateway: id, queue: policy, lifetime: lifetime)
            session = sessions.value.insert(MQTTSession(endpoint: endpoint, queue: shard.core.value.queue(of: endpoint)))
        } else {
            session = shard.core.value.gatewayState(of: existing)
        }
        sessions.value[session].slot = slot
        sessions.value[session].version = connect.version
        sessions.value[session].packetSizeMax = connect.packetSizeMax
        let endpoint = sessions.value[session].endpoint, queue = sessions.value[session].queue
        shard.core.value.attach(endpoint, token: slot, gatewayState: session, lifetime: lifetime)
        let limit = UInt32(min(options.receiveMaximum, connect.receiveMaximum))
        sessions.value[session].consumer = shard.core.value.addConsumer(to: queue, gateway: id, token: session, limit: limit)
        channel.session = session
        return session
    }

    private func setWill(_ will: MQTTWill?, in bytes: Span<UInt8>, _ session: UInt32) {
        let endpoint = sessions.value[session].endpoint
        guard let will else { return shard.core.value.clearFarewell(endpoint) }
        let header = MessageHeader(origin: id, flags: will.qos == 0 ? .atMostOnce : .persistent)
        // The delay is said to the server, not to subscribers.
        let properties = forwarded(will.properties, in: bytes, without: .willDelayInterval)
        let message = Message(hub: hub, address: bytes.at(will.topic), properties: properties.span, body: bytes.at(will.payload), header: header)
        shard.core.value.setFarewell(endpoint, message)
    }

    private func forwarded(_ properties: ByteRange, in bytes: Span<UInt8>, without left: MQTTPropertyIdentifier) -> [UInt8] {
        var kept: [UInt8] = []
        var cursor = MQTTPropertyCursor(properties, in: bytes)
        while let property = cursor.next() { if property.identifier != left { kept += bytes.at(property.whole).array } }
        return kept
    }

    /// What the client may not have got, again and in order, as far as its window goes; then what has come since.
    private func resume(_ session: UInt32) {
        sessions.value[session].beginResuming()
        let queue = sessions.value[session].queue
        shard.perform { $0.pump(queue, into: &$1) }
    }

    // MARK: Subscriptions

    func subscribe(_ session: UInt32, _ filters: consuming MQTTFilterCursor, _ bytes: Span<UInt8>, _ version: MQTTVersion) -> [MQTTReason] {
        var reasons: [MQTTReason] = []
        while let (filter, wanted) = filters.next() { reasons.append(subscribe(session, bytes.at(filter).array, wanted, version)) }
        return reasons
    }

    private func subscribe(_ session: UInt32, _ filter: [UInt8], _ wanted: MQTTSubscriptionOptions, _ version: MQTTVersion) -> MQTTReason {
        if version == .v5, filter.starts(with: "$share/".utf8) { return .sharedSubscriptionsNotSupported }
        guard sessions.value[session].subscriptions < options.subscriptionsMax else { return .quotaExceeded }
        let qos = min(wanted.qos, 1)
        var flags: BindingOptions.Flags = .sparesReserved
        if qos == 0 { flags.insert(.atMostOnce) }
        if wanted.noLocal { flags.insert(.noLocal) }
        let binding = BindingOptions(flags: flags)
        if shard.core.value.bind(sessions.value[session].queue, to: hub, .address(filter), binding) { sessions.value[session].subscriptions += 1 }
        return qos == 0 ? .grantedQoS0 : .grantedQoS1
    }

    func unsubscribe(_ session: UInt32, _ filters: consuming MQTTFilterCursor, _ bytes: Span<UInt8>) -> [MQTTReason] {
        var reasons: [MQTTReason] = []
        while let (filter, _) = filters.next() {
            let wasThere = shard.core.value.unbind(sessions.value[session].queue, from: hub, .address(bytes.at(filter).array))
            if wasThere { sessions.value[session].subscriptions -= 1 }
            reasons.append(wasThere ? .success : .noSubscriptionExisted)
        }
        return reasons
    }

    // MARK: The end

    /// v5: the client asks for what CONNACK said there is not.
    func refuse(_ what: MQTTReason, _ text: String, slot: UInt32, _ machine: inout MQTTServerMachine) -> ConnectionEnd {
        try? shard.loop.send(.disconnect(reason: what, text: text), through: &machine, slot: slot)
        return .close(.refused(text))
    }

    /// DISCONNECT with a new session expiry.
    func disconnecting(_ session: UInt32, _ sessionExpiry: UInt32?) {
        guard let sessionExpiry else { return }
        shard.core.value.setLifetime(sessions.value[session].endpoint, min(options.sessionExpiryMax, .seconds(Int64(sessionExpiry))))
    }

    /// The handling of a read came to an end: answers how many bytes are done with.
    func end(_ channel: MQTTServerChannel, _ end: ConnectionEnd, _ bytes: Span<UInt8>) -> Int {
        switch end {
        case .close(let reason): shard.loop.finish(channel, reason)
        case .moved(let owner): move(channel, to: owner, bytes)
        }
        return bytes.count
    }

    /// The session lives on another shard: the connection goes there, with its CONNECT.
    private func move(_ channel: MQTTServerChannel, to owner: UInt8, _ bytes: Span<UInt8>) {
        let address = SocketAddress.peer(of: shard.loop.descriptor(of: channel.slot)) ?? .nameless
        let (descriptor, unread) = shard.loop.surrender(channel, unread: bytes)
        connectionCount -= 1
        let number = id
        shard.loop(of: owner).execute { loop in
            guard let shard = loop.tenant as? Shard else { return loop.discard(descriptor) }
            shard.gateway(number).adopt(descriptor, from: address, unread: unread)
        }
    }

    func violated(_ channel: MQTTServerChannel, _ violation: MQTTViolation) {
        counters.violations += 1
        log.debug("protocol violation", metadata: ["address": address(channel), "reason": "\(violation)"])
        shard.loop.finish(channel, .refused("\(violation)"))
    }

    func closed(_ channel: MQTTServerChannel, _ reason: CloseReason) {
        connectionCount -= 1
        let session = channel.session
        guard session != 0 else { return }
        channel.session = 0
        let endpoint = sessions.value[session].endpoint
        log.info(
            "client disconnected",
            metadata: [
                "client": shard.core.value.identity(of: endpoint).span.text, "address": address(channel), "reason": "\(reason)",
            ])
        let consumer = sessions.value[session].consumer, publisher = sessions.value[session].publisher
        sessions.value[session].slot = 0
        sessions.value[session].consumer = .none
        sessions.value[session].publisher = .none
        if !publisher.isNone { shard.core.value.closePublisher(publisher) }
        shard.core.value.removeConsumer(consumer)
        let isOver = shard.perform { $0.detach(endpoint, lost: reason != .finished, into: &$1) }
        guard isOver else { return }
        shard.forgetUndeliverable(of: sessions.value[session].queue)
        sessions.value.remove(session)
    }

    func sendAllAway() {
        isStopping = true
        for channel in shard.loop.channels(of: MQTTServerChannel.self) {
            try? shard.loop.send(.disconnect(reason: .serverShuttingDown, text: ""), through: &channel.machine, slot: channel.slot)
            shard.loop.finish(channel, .stopping)
        }
    }
}
