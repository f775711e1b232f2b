import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletNet
import MartletShard
import Synchronization

/// Who comes and goes: connection.start to connection.open, connection.close, and what is left of a connection that is gone.
extension AMQPGateway {
    /// What becomes of a connection whose handling came to an end.
    enum ConnectionEnd { case close(CloseReason), moved(shard: UInt8, virtualHost: [UInt8]) }

    func open(_ transport: Transport) {
        guard !isStopping else { return shard.loop.discard(transport.descriptor) }
        let connection = AMQPServerConnection(self)
        guard shard.loop.add(connection, transport) != nil else {
            seen.value.connectionsRefused += 1
            return
        }
        connectionCount += 1
        seen.value.sockets += 1
    }

    func address(_ connection: AMQPServerConnection) -> String { SocketAddress.peer(of: shard.loop.descriptor(of: connection.slot))?.description ?? "?" }

    // MARK: Opening

    /// The protocol header came.
    func start(_ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine) {
        let properties: AMQPTable = [
            "capabilities": .table(Self.capabilities.table), "product": "Martlet", "version": .string(Array(options.serverVersion.utf8)),
            "platform": "Swift", "information": "AMQP 0-9-1 on the queues that MQTT shares",
        ]
        let start = AMQPMethod<[UInt8]>.ConnectionStart(
            versionMajor: 0, versionMinor: 9, serverProperties: properties.encoded, mechanisms: Array("PLAIN EXTERNAL ANONYMOUS".utf8),
            locales: Array("en_US".utf8))
        send(.connectionStart(start), 0, connection, &machine)
    }

    static var capabilities: AMQPCapabilities {
        [
            .publisherConfirms, .exchangeExchangeBindings, .basicNack, .consumerCancelNotify, .connectionBlocked, .authenticationFailureClose,
            .perConsumerQoS,
        ]
    }

    func send(_ method: AMQPMethod<[UInt8]>, _ channel: UInt16, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine) {
        try? shard.loop.send(.method(channel: channel, method), through: &machine, slot: connection.slot)
    }

    /// A method of class connection.
    func handleConnection(
        _ method: AMQPMethod<ByteRange>, in bytes: Span<UInt8>, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine
    ) throws(AMQPException) -> ConnectionEnd? {
        switch method {
        case .connectionStartOk(let startOk):
            connection.capabilities = AMQPCapabilities(properties: AMQPTable(startOk.clientProperties, in: bytes))
            return try logIn(bytes.at(startOk.mechanism).array, bytes.at(startOk.response).array, connection, &machine)
        case .connectionTuneOk: return nil
        case .connectionOpen(let open): return try self.open(bytes.at(open.virtualHost).array, connection, &machine)
        case .connectionUpdateSecret: send(.connectionUpdateSecretOk, 0, connection, &machine)
        case .connectionClose(let close):
            release(connection)
            send(.connectionCloseOk, 0, connection, &machine)
            log.debug("client closed its connection", metadata: ["reason": bytes.at(close.replyText).text])
            return .close(.finished)
        case .connectionCloseOk: return .close(.refused("an exception"))
        default: break
        }
        return nil
    }

    private func logIn(
        _ mechanism: [UInt8], _ response: [UInt8], _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine
    ) throws(AMQPException) -> ConnectionEnd? {
        let user: [UInt8]?, isKnown: Bool
        switch AMQPSASL(mechanism: mechanism, response: response) {
        case .plain(let name, let password, _): (user, isKnown) = (name, options.authenticate(name, password))
        case .anonymous: (user, isKnown) = (nil, options.authenticate(nil, nil))
        // Nobody is known by a certificate alone yet: who may come without a name may come so, too.
        case .external: (user, isKnown) = (nil, options.authenticate(nil, nil))
        case nil where mechanism.text == "PLAIN": (user, isKnown) = (nil, false)
        case nil: throw AMQPException(.commandInvalid, "unknown authentication mechanism '\(mechanism.text)'")
        }
        guard isKnown else {
            seen.value.connectionsRefused += 1
            log.warning("login refused", metadata: ["user": user.map(\.text) ?? "", "address": address(connection)])
            guard connection.capabilities.contains(.authenticationFailureClose) else { return .close(.refused("login refused")) }
            throw AMQPException(
                .accessRefused, "Login was refused using authentication mechanism \(mechanism.text). For details see the broker logfile.")
        }
        connection.user = user ?? Array("guest".utf8)
        send(machine.tune, 0, connection, &machine)
        return nil
    }

    private func open(
        _ virtualHost: [UInt8], _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine
    ) throws(AMQPException) -> ConnectionEnd? {
        guard let (owner, number) = place(of: virtualHost) else { throw AMQPException(.notAllowed, "vhost \(virtualHost.text) not found") }
        guard owner == shard.number else { return .moved(shard: owner, virtualHost: virtualHost) }
        enter(number, connection, &machine)
        return nil
    }

    private func enter(_ virtualHost: UInt32, _ connection: AMQPServerConnection, _ machine: inout AMQPServerMachine) {
        connection.virtualHost = virtualHost
        send(.connectionOpenOk(.init(knownHosts: [])), 0, connection, &machine)
        seen.value.connectionsOpened += 1
        log.info(
            "client connected",
            metadata: ["user": connection.user.text, "address": address(connection), "vhost": virtualHosts.value[virtualHost].name.text])
    }

    // MARK: Moving to the virtual host's shard

    /// The handling of a read came to an end: answers how many bytes are done with.
    func end(
        _ connection: AMQPServerConnection, _ end: ConnectionEnd, _ bytes: Span<UInt8>, used: Int, _ machine: inout AMQPServerMachine
    ) -> Int {
        switch end {
        case .close(let reason): shard.loop.finish(connection, reason)
        case .moved(let owner, let virtualHost):
            var left = AMQPServerMachine(limits: options.limits, now: shard.loop.now)
            swap(&left, &machine)
            move(connection, left, to: virtualHost, on: owner, unread: bytes.extracting(used..<bytes.count))
        }
        return bytes.count
    }

    private func move(
        _ connection: AMQPServerConnection, _ machine: consuming AMQPServerMachine, to virtualHost: [UInt8], on owner: UInt8, unread: Span<UInt8>
    ) {
        let move = AMQPMove(machine, of: connection, to: virtualHost)
        let transport = shard.loop.surrender(connection, unread: unread)
        connectionCount -= 1
        let number = id
        shard.loop(of: owner).execute { loop in
            guard let gateway = (loop.tenant as? Shard)?.gateway(number) as? AMQPGateway else { return loop.discard(transport.descriptor) }
            gateway.adopt(transport, move)
        }
    }

    private func adopt(_ transport: Transport, _ move: AMQPMove) {
        guard !isStopping else { return shard.loop.discard(transport.descriptor) }
        let connection = AMQPServerConnection(self)
        move.unpack(into: connection)
        guard shard.loop.add(connection, transport) != nil else { return }
        connectionCount += 1
        guard let number = place(of: move.virtualHost)?.number else { return }
        enter(number, connection, &connection.machine)
    }

    // MARK: The end

    /// Everything of the connection leaves the broker: its channels, its consumers, its exclusive queues.
    func release(_ connection: AMQPServerConnection) {
        guard !connection.isReleased else { return }
        connection.isReleased = true
        if connection.isBlocked {
            held.removeAll { $0.connection === connection }
            shard.release(connection)
        }
        let channels = connection.channels
        connection.removeAllChannels()
        for (_, channel) in channels { cancelConsumers(of: channel) }
        for (_, channel) in channels { remove(channel, of: connection) }
        if connection.virtualHost != 0 { deleteExclusiveQueues(of: connection) }
    }

    func violated(_ connection: AMQPServerConnection, _ violation: AMQPViolation) {
        seen.value.violations += 1
        log.debug("protocol violation", metadata: ["address": address(connection), "reason": "\(violation)"])
        release(connection)
        shard.loop.finish(connection, .refused("\(violation)"))
    }

    func closed(_ connection: AMQPServerConnection, _ reason: CloseReason) {
        connectionCount -= 1
        release(connection)
        if connection.virtualHost == 0, case .layerFailed = reason { seen.value.handshakesFailed += 1 }
        guard connection.virtualHost != 0 else { return }
        log.info("client disconnected", metadata: ["user": connection.user.text, "reason": "\(reason)"])
    }

    func sendAllAway() {
        isStopping = true
        let close = AMQPMethod<[UInt8]>.ConnectionClose(
            replyCode: AMQPReplyCode.connectionForced.rawValue,
            replyText: Array("CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'".utf8), classID: 0, methodID: 0)
        for connection in shard.loop.channels(of: AMQPServerConnection.self) {
            tellConfirms(of: connection)
            release(connection)
            send(.connectionClose(close), 0, connection, &connection.machine)
            shard.loop.finish(connection, .stopping)
        }
    }
}

/// A connection on its way to the shard of its virtual host.
private final class AMQPMove: Sendable {
    private let machine: Mutex<AMQPServerMachine?>
    private let user: [UInt8]
    private let capabilities: AMQPCapabilities
    let virtualHost: [UInt8]

    init(_ machine: consuming AMQPServerMachine, of connection: AMQPServerConnection, to virtualHost: [UInt8]) {
        self.machine = Mutex(machine)
        user = connection.user
        capabilities = connection.capabilities
        self.virtualHost = virtualHost
    }

    func unpack(into connection: AMQPServerConnection) {
        if let machine = machine.withLock({ $0.take() }) { connection.machine = machine }
        connection.user = user
        connection.capabilities = capabilities
    }
}
