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
    enum ConnectAnswer {
        case accepted(UInt32), over(ConnectionEnd)
        /// An enhanced authentication goes on.
        case waiting
    }

    func open(_ transport: Transport) {
        guard !isStopping else { return shard.loop.discard(transport.descriptor) }
        let channel = MQTTServerChannel(self)
        guard shard.loop.add(channel, transport) != nil else {
            counters.connectionsRefused += 1
            return
        }
        connectionCount += 1
        counters.sockets += 1
    }

    // MARK: CONNECT

    /// CONNECT.
    func connect(_ connect: MQTTConnect, in bytes: Span<UInt8>, _ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine) -> ConnectAnswer {
        guard options.authenticate(connect.userName.map { bytes.at($0).array }, connect.password.map { bytes.at($0).array }) else {
            return refuse(channel, &machine, connect.userName == nil ? .notAuthorized : .badUserNameOrPassword, "not authorized")
        }
        if connect.clientID.isEmpty, connect.version != .v5, !connect.cleanStart {
            return refuse(channel, &machine, .clientIdentifierNotValid, "no client identifier for a session that is to last")  // 3.1.1: [MQTT-3.1.3-8]
        }
        if let will = connect.will, isReserved(bytes.at(will.topic)) {
            return refuse(channel, &machine, .notAuthorized, "a will on a topic that the server alone publishes")
        }
        if connect.authenticationMethod != nil { return beginAuthentication(connect, in: bytes, channel, &machine) }
        return admit(connect, in: bytes, channel, &machine, authentication: nil)
    }

    /// The client is who it says. `authentication`: method and data that go with CONNACK.
    func admit(
        _ connect: MQTTConnect, in bytes: Span<UInt8>, _ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine,
        authentication: (method: [UInt8], data: [UInt8]?)?
    ) -> ConnectAnswer {
        let assigned = connect.clientID.isEmpty ? makeIdentifier() : []
        let clientID = connect.clientID.isEmpty ? assigned : bytes.at(connect.clientID).array
        guard let (existing, owner, wasDefined) = claim(clientID, cleanStart: connect.cleanStart, for: { isAbandoned(connect, in: bytes, channel) }) else {
            return refuse(channel, &machine, .serverBusy, "its session has a newer connection")
        }
        guard owner == shard.number else {
            // Who has been authenticated here is not asked again there.
            guard authentication == nil else { return refuse(channel, &machine, .serverBusy, "its session was begun elsewhere meanwhile") }
            return .over(.moved(shard: owner))
        }
        let session = attach(existing, clientID, connect, channel)
        if let will = connect.will { setWill(will, in: bytes, session) }
        var connack = MQTTConnack(reason: .success, sessionPresent: !existing.isNone)
        if !assigned.isEmpty { connack.assignedClientID = assigned }
        (connack.authenticationMethod, connack.authenticationData) = (authentication?.method, authentication?.data)
        let lifetime = lifetime(connect)
        if connect.version == .v5, lifetime < .seconds(Int64(connect.sessionExpiry)) { connack.sessionExpiry = UInt32(lifetime.components.seconds) }
        counters.connectionsAccepted += 1
        log.info("client connected", metadata: ["client": clientID.span.text, "address": address(channel), "version": connect.version.name])
        if wasDefined || isDefined(session) {
            hold(connack, channel)
        } else {
            say(.connack(connack), &machine, channel.slot)
            resume(session, &machine)
        }
        return .accepted(session)
    }

    func refuse(_ channel: MQTTServerChannel, _ machine: inout MQTTServerMachine, _ reason: MQTTReason, _ text: String) -> ConnectAnswer {
        counters.connectionsRefused += 1
        // An open connection's re-authentication is refused by DISCONNECT.
        say(channel.session == 0 ? .connack(MQTTConnack(reason: reason)) : .disconnect(reason: reason), &machine, channel.slot)
        return .over(.close(.refused(text)))
    }

    private func address(_ channel: MQTTServerChannel) -> String { SocketAddress.peer(of: shard.loop.descriptor(of: channel.slot))?.description ?? "gone" }

    private func makeIdentifier() -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return Array("auto-".utf8) + (0..<16).map { _ in digits[Int(options.randomNumber() & 15)] }
    }

    /// The endpoint of this identity, if one goes on, and the shard it must be served on. A connection that speaks for it already
    /// is sent away [MQTT-3.1.4-3]; a clean start ends what was there. `wasDefined`: the journal knew of it.
    private func claim(_ clientID: [UInt8], cleanStart: Bool, for isAbandoned: () -> Bool) -> (EndpointID, UInt8, wasDefined: Bool)? {
        var wasDefined = false
        for _ in 0..<3 {
            let (owner, endpoint) = shard.router.claim(clientID.span, for: shard.number)
            guard owner == shard.number, !endpoint.isNone else { return (.none, owner, wasDefined) }
            let session = shard.core.value.gatewayState(of: endpoint)
            wasDefined = wasDefined || isDefined(session)
            if sessions.value[session].reach.slot != 0 {
                guard !isAbandoned() else { return nil }
                takeOver(session)
            } else if cleanStart {
                shard.perform { $0.deleteEndpoint(endpoint, into: &$1) }
                remove(session)
            } else {
                return (endpoint, owner, wasDefined)
            }
        }
        return nil
    }

    /// A client that said CONNECT, nothing else, and has gone since: its next connection may have been heard first, on another loop.
    private func isAbandoned(_ connect: MQTTConnect, in bytes: Span<UInt8>, _ channel: MQTTServerChannel) -> Bool {
        let last = connect.password ?? connect.userName ?? connect.will?.payload ?? connect.clientID
        return last.end == bytes.count && shard.loop.hasPeerEnded(channel.slot)
    }

    private func takeOver(_ session: UInt32) {
        guard let old = shard.loop.channel(at: sessions.value[session].reach.slot) as? MQTTServerChannel else { return }
        sendAway(old, .sessionTakenOver, "another connection took the session over")
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
            if lifetime > .zero { beginDefining(session, clientID) }
        } else {
            session = shard.core.value.gatewayState(of: existing)
        }
        sessions.value[session].reach.slot = slot
        sessions.value[session].reach.version = connect.version
        sessions.value[session].reach.packetSizeMax = connect.packetSizeMax
        let endpoint = sessions.value[session].endpoint, queue = sessions.value[session].queue
        shard.core.value.attach(endpoint, token: slot, gatewayState: session, lifetime: lifetime, into: &shard.effects.value)
        defineSession(session)
        sessions.value[session].window = min(options.receiveMaximum, connect.receiveMaximum)
        sessions.value[session].reach.takesAliases = channel.acceptAliases(min(connect.topicAliasMax, options.topicAliasMax))
        sessions.value[session].consumer = shard.core.value.addConsumer(to: queue, gateway: id, token: session, limit: window(session))
        channel.session = session
        attachedCount += 1
        return session
    }

    private func setWill(_ will: MQTTWill, in bytes: Span<UInt8>, _ session: UInt32) {
        let header = MessageHeader(origin: id, flags: Self.flags(qos: will.qos, retain: will.retain))
        // The delay is said to the server, not to subscribers.
        let properties = forwarded(will.properties, in: bytes, without: .willDelayInterval)
        var cursor = MQTTPropertyCursor(will.properties, in: bytes)
        let expiry = cursor.first(.messageExpiryInterval).map { Duration.seconds(Int64($0.number)) }
        let message = Message(hub: hub, address: bytes.at(will.topic), properties: properties.span, body: bytes.at(will.payload), header: header)
        let record = defineWill(message, delay: will.delaySeconds, lifetime: expiry, of: session)
        shard.core.value.setFarewell(
            sessions.value[session].endpoint, message, delay: .seconds(Int64(will.delaySeconds)), lifetime: expiry, record: record,
            into: &shard.effects.value)
    }

    private func forwarded(_ properties: ByteRange, in bytes: Span<UInt8>, without left: MQTTPropertyIdentifier) -> [UInt8] {
        var kept: [UInt8] = []
        var cursor = MQTTPropertyCursor(properties, in: bytes)
        while let property = cursor.next() { if property.identifier != left { kept += bytes.at(property.whole).array } }
        return kept
    }

    /// What the client may not have got, again and in order, as far as its window goes; then what has come since. What it has
    /// received and not completed is released again.
    func resume(_ session: UInt32, _ machine: inout MQTTServerMachine) {
        let queue = sessions.value[session].queue, slot = sessions.value[session].reach.slot
        let received = sessions.value[session].beginResuming(shard.core.value.held(in: queue))
        undefineFree(session)
        for identifier in received { release(identifier, session, slot, &machine) }
        let consumer = sessions.value[session].consumer
        shard.core.value.adoptReceived(by: consumer)
        shard.perform {
            $0.setPresence(of: queue, true, limit: window(session), into: &$1)
            $0.pause(consumer, false, into: &$1)
        }
    }

    /// QoS 1 and 2 messages that may be under way to the client.
    func window(_ session: UInt32) -> UInt32 { UInt32(sessions.value[session].window) }

    // MARK: The end

    /// Says why, where the version has a word for it, and closes.
    func sendAway(_ channel: MQTTServerChannel, _ reason: MQTTReason, _ text: String) {
        say(.disconnect(reason: reason, text: text), &channel.machine, channel.slot)
        shard.loop.finish(channel, .refused(text))
    }

    /// The same in the middle of a read.
    func disconnect(_ reason: MQTTReason, _ slot: UInt32, _ machine: inout MQTTServerMachine) -> ConnectionEnd {
        say(.disconnect(reason: reason), &machine, slot)
        return .close(.refused("\(reason)"))
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
        let transport = shard.loop.surrender(channel, unread: bytes)
        connectionCount -= 1
        let number = id
        shard.loop(of: owner).execute { loop in
            guard let shard = loop.tenant as? Shard else { return loop.discard(transport.descriptor) }
            shard.gateway(number).adopt(transport)
        }
    }

    func violated(_ channel: MQTTServerChannel, _ violation: MQTTViolation) {
        counters.violations += 1
        log.debug("protocol violation", metadata: ["address": address(channel), "reason": "\(violation)"])
        shard.loop.finish(channel, .refused("\(violation)"))
    }

    /// No CONNECT came through.
    private func note(_ failure: LayerFailure, of channel: MQTTServerChannel) {
        switch failure.layer {
        case .security:
            counters.handshakesFailed += 1
            log.debug("TLS failed", metadata: ["address": address(channel), "reason": "\(failure)"])
        case .webSocket where failure.kind == .protocolError:
            counters.violations += 1
            log.debug("protocol violation", metadata: ["address": address(channel), "reason": "\(failure)"])
        // It went as one over TCP may.
        case .webSocket: break
        }
    }

    func closed(_ channel: MQTTServerChannel, _ reason: CloseReason) {
        connectionCount -= 1
        let session = channel.session
        if session == 0, case .layerFailed(let failure) = reason { note(failure, of: channel) }
        guard session != 0 else { return }
        if channel.greeting != nil { forgetGreeting(of: channel) }
        channel.session = 0
        attachedCount -= 1
        let endpoint = sessions.value[session].endpoint
        log.info(
            "client disconnected",
            metadata: [
                "client": shard.core.value.identity(of: endpoint).span.text, "address": address(channel), "reason": "\(reason)",
            ])
        let consumer = sessions.value[session].consumer, publisher = sessions.value[session].publisher
        sessions.value[session].reach.slot = 0
        sessions.value[session].consumer = .none
        sessions.value[session].publisher = .none
        if !publisher.isNone { shard.core.value.closePublisher(publisher) }
        forgetWaiting(session)
        shard.core.value.removeConsumer(consumer)
        let queue = sessions.value[session].queue
        shard.forget(queue, id, session)
        let isOver = shard.perform {
            $0.setPresence(of: queue, false, into: &$1)
            return $0.detach(endpoint, lost: reason != .finished, into: &$1)
        }
        if isOver { remove(session) } else { defineSession(session, ended: shard.core.value.wallTime) }
    }

    func remove(_ session: UInt32) {
        endDefinitions(of: session)
        subscriptionCount -= Int(sessions.value[session].subscriptions)
        sessions.value.remove(session)
    }

    /// A session's time is over.
    func forget(_ session: UInt32) {
        counters.sessionsExpired += 1
        remove(session)
    }

    func sendAllAway() {
        isStopping = true
        for channel in shard.loop.channels(of: MQTTServerChannel.self) {
            say(.disconnect(reason: .serverShuttingDown), &channel.machine, channel.slot)
            shard.loop.finish(channel, .stopping)
        }
    }
}
