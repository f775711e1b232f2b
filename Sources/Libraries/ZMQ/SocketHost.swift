internal import MartletBytes
internal import MartletClient
internal import MartletEventLoop
internal import MartletNet
internal import MartletZMTPProtocol
internal import Synchronization

/// A socket on its loop: its listeners, its connections and when they are made again, and its end.
///
/// Not here: anything a task calls (`SocketCore`), and one connection's bytes (`PeerChannel`). The core holds this; this holds the core from the first
/// listener or connection until the end.
final class SocketHost {
    let loop: EventLoop
    private var core: SocketCore?
    private var channels: [Int: PeerChannel] = [:]
    private var listeners: [(endpoint: ZMQEndpoint, written: String, listener: Listener)] = []
    private var connections: [PeerConnection] = []
    private var datagrams: [Int: GroupDatagrams] = [:]
    private var shared: ZMTPConfiguration?
    private var ending: (@Sendable () -> Void)?
    private var endClock: PauseClock?
    private var pumpClock: PumpClock?

    init(on loop: EventLoop) { self.loop = loop }

    var isEnding: Bool { ending != nil }

    /// What all connections have in common.
    func configuration(_ core: SocketCore) -> ZMTPConfiguration {
        if let shared { return shared }
        let options = core.options
        let made = ZMTPConfiguration(
            core.type, security: options.security, identity: options.routingID,
            asksForNull: options.security == .null && options.authenticator != nil, limits: options.limits, heartbeat: options.heartbeat)
        shared = made
        return made
    }

    private func makeChannel(
        _ core: SocketCore, _ peer: PeerName, address: String, for connection: PeerConnection?, over carriage: StreamCarriage
    ) -> PeerChannel {
        core.isRaw
            ? StreamChannel(self, core, peer, address: address, for: connection, over: carriage)
            : PeerChannel(self, core, peer, address: address, for: connection, over: carriage)
    }

    // MARK: Binding

    func listen(on sockets: [BoundSocket], _ endpoint: ZMQEndpoint, written: String, over carriage: StreamCarriage, for core: SocketCore) {
        self.core = core
        for socket in sockets {
            let listener = Listener(socket) { [unowned self] descriptor, peer in accepted(descriptor, peer, over: carriage) }
            listener.open(on: loop)
            listeners.append((endpoint, written, listener))
        }
        core.events.emit(.listening(endpoint))
    }

    private func accepted(_ descriptor: Int32, _ peer: SocketAddress, over carriage: StreamCarriage) {
        guard let core, ending == nil, let name = core.addPeer(isLasting: false, isStream: true) else { return loop.discard(descriptor) }
        let channel = makeChannel(core, name, address: "\(peer)", for: nil, over: carriage)
        guard loop.add(channel, carriage.transport(descriptor)) != nil else {
            core.change { $0.state.remove(name.index) }
            return
        }
        channels[name.index] = channel
        core.events.emit(.accepted(peer: channel.address))
        channel.greet()
    }

    /// Answers whether it was bound there. Peers that have come stay.
    func unbind(_ text: String) -> Bool {
        let gone = listeners.filter { $0.written == text || $0.endpoint.description == text }
        listeners.removeAll { $0.written == text || $0.endpoint.description == text }
        for (_, _, listener) in gone { loop.close(listener, .finished) }
        return !gone.isEmpty || closeDatagrams { $0.written == text || $0.endpoint.description == text }
    }

    // MARK: Datagrams

    /// A socket for datagrams is a peer from now on: RADIO's wants all, DISH's gives what was joined.
    func open(_ socket: DatagramSocket, _ endpoint: ZMQEndpoint, written: String, for core: SocketCore) {
        self.core = core
        guard ending == nil, let peer = core.addPeer(isLasting: true, isStream: true) else { return socket.close() }
        let channel = GroupDatagrams(core, peer, socket, endpoint, written: written)
        guard channel.open(on: loop) else { return core.change { $0.state.remove(peer.index) } }
        for group in core.tellWanted(by: self).keys { channel.say(group, isOn: true) }
        datagrams[peer.index] = channel
        core.change { shared in
            _ = shared.state.connected(peer.index, identity: [])
            if shared.state.type == .radio { shared.state.everywhere.append(UInt32(truncatingIfNeeded: peer.index)) }
        }
        core.events.emit(core.type == .dish ? .listening(endpoint) : .connected(endpoint))
    }

    /// Ends those, once what was sent has left as far as the kernel takes it. Answers whether there was one.
    @discardableResult private func closeDatagrams(where isMeant: (GroupDatagrams) -> Bool) -> Bool {
        let gone = datagrams.filter { isMeant($0.value) }
        for (index, channel) in gone {
            channel.pump(on: loop)
            channel.close(on: loop)
            datagrams[index] = nil
            core?.change { shared in
                shared.state.everywhere.removeAll { $0 == UInt32(truncatingIfNeeded: index) }
                shared.state.remove(index)
            }
        }
        return !gone.isEmpty
    }

    // MARK: Connecting

    func connect(to stream: ZMQEndpoint.Stream, _ endpoint: ZMQEndpoint, over carriage: StreamCarriage, for core: SocketCore) {
        self.core = core
        guard ending == nil, let peer = core.addPeer(isLasting: true, isStream: true) else { return }
        let connection = PeerConnection(peer, stream, endpoint, carriage)
        connections.append(connection)
        dial(connection)
    }

    private func dial(_ connection: PeerConnection) {
        guard let core, !connection.isOver else { return }
        core.events.emit(.connecting(connection.endpoint))
        connection.dialer = Dialer(
            to: connection.stream.place, options: connection.options, timeout: core.options.reconnect.connectTimeout, on: loop
        ) {
            [unowned self, unowned connection] result in
            connection.dialer = nil
            switch result {
            case .success(let outcome): connected(connection, outcome)
            case .failure(let error): tryAgain(connection, "\(error)")
            }
        }
    }

    private func connected(_ connection: PeerConnection, _ outcome: Dialer.Outcome) {
        guard let core, !connection.isOver else { return loop.discard(outcome.descriptor) }
        let channel = makeChannel(core, connection.peer, address: "\(outcome.peer)", for: connection, over: connection.carriage)
        guard loop.add(channel, connection.carriage.transport(outcome.descriptor)) != nil else { return tryAgain(connection, "too many connections") }
        channels[connection.peer.index] = channel
        core.events.emit(.connected(connection.endpoint))
        channel.greet()
    }

    private func tryAgain(_ connection: PeerConnection, _ reason: String) {
        guard let core, !connection.isOver else { return }
        let reconnect = core.options.reconnect
        guard reconnect.isEnabled else { return forget(connection) }
        connection.attempt += 1
        let delay = Backoff.delay(
            before: connection.attempt, from: reconnect.delayMin, to: reconnect.delayMax, jitter: reconnect.jitter, chance: .random(in: 0..<1))
        core.events.emit(.connectFailed(connection.endpoint, reason: reason, delay: delay))
        connection.pause = PauseClock(until: loop.currentTime() + delay, on: loop) { [unowned self, unowned connection] in
            connection.pause = nil
            dial(connection)
        }
    }

    /// Answers whether it was connected there.
    func disconnect(_ text: String) -> Bool {
        guard let connection = connections.first(where: { $0.endpoint.description == text }) else { return closeDatagrams { $0.written == text } }
        forget(connection)
        return true
    }

    private func forget(_ connection: PeerConnection) {
        connection.isOver = true
        connection.dialer?.cancel(on: loop)
        if let pause = connection.pause, pause.slot != 0 { loop.close(pause, .finished) }
        connections.removeAll { $0 === connection }
        let peer = connection.peer
        if let channel = channels[peer.index], channel.connection === connection {
            core?.change { $0.state.peers[peer.index].isLasting = false }
            channel.end()
        } else {
            core?.change { $0.state.remove(peer.index) }
            finishIfEmpty()
        }
    }

    /// Ends a connection for good, once what was sent has left.
    func finish(_ channel: PeerChannel) {
        if let connection = channel.connection, !connection.isOver { forget(connection) } else { channel.end() }
    }

    /// Ends a peer's connection; one of ours is made again. What it still says is not wanted.
    func drop(_ peer: PeerName) {
        guard let channel = channels[peer.index], channel.peer == peer else { return }
        loop.close(channel, .finished)
    }

    // MARK: Traffic

    func channel(_ peer: PeerName) -> PeerChannel? {
        guard let channel = channels[peer.index], channel.peer == peer else { return nil }
        return channel
    }

    /// Looks at every outbox that something was put into.
    func pump() { look { _, _ in false } }

    /// The same, because another thread has put something there.
    func pumpWhenTold() {
        guard look({ $0.told($1) }) else { return }
        let clock = pumpClock ?? PumpClock(on: loop) { [unowned self] in look { $0.looked($1) } }
        pumpClock = clock
        clock.begin(on: loop)
    }

    @discardableResult private func look(_ rhythm: (inout PumpRhythm, Int) -> Bool) -> Bool {
        guard let core else { return false }
        let (filled, goesOn) = core.takeFilled(rhythm)
        for index in filled { if let channel = channels[index] { channel.pump() } else { datagrams[index]?.pump(on: loop) } }
        core.wakeWriters()
        return goesOn
    }

    func resumeReading(_ peers: [PeerName]) {
        for peer in peers { if let channel = channel(peer), channel.slot != 0 { loop.pauseReading(channel.slot, false) } }
    }

    func say(_ topic: [UInt8], isOn: Bool) {
        for channel in channels.values { channel.say(topic, isOn: isOn) }
        for channel in datagrams.values { channel.say(topic, isOn: isOn) }
    }

    func becameReady(_ channel: PeerChannel) {
        channel.connection?.attempt = 0
        core?.events.emit(.handshakeSucceeded(peer: channel.address))
    }

    func lost(_ channel: PeerChannel, _ reason: String, hasFailed: Bool) {
        guard let core, channels[channel.peer.index] === channel else { return }
        channels[channel.peer.index] = nil
        let peer = channel.peer
        core.change { shared in
            if hasFailed || !channel.isReady { shared.state.counters.failures += 1 }
            shared.lost(peer)
        }
        core.events.emit(
            channel.isReady ? .disconnected(peer: channel.address, reason: reason) : .handshakeFailed(peer: channel.address, reason: reason))
        if let connection = channel.connection, !connection.isOver, ending == nil || core.hasUnsent(peer) {
            tryAgain(connection, reason)
        } else {
            finishIfEmpty()
        }
    }

    // MARK: The end

    /// Lets what was sent leave, at most for `linger`; then `done` is called, once.
    func end(_ core: SocketCore, linger: Duration, _ done: @escaping @Sendable () -> Void) {
        if ending != nil {
            if linger == .zero { cutOff() }
            return done()
        }
        self.core = core
        ending = done
        for (_, _, listener) in listeners { loop.close(listener, .finished) }
        listeners = []
        pump()
        closeDatagrams { _ in true }
        for connection in connections {
            if channels[connection.peer.index] == nil, !core.hasUnsent(connection.peer) { forget(connection) }
        }
        for channel in channels.values { endWhenEmpty(channel) }
        endClock = PauseClock(until: loop.currentTime() + linger, on: loop) { [self] in
            endClock = nil
            cutOff()
        }
        finishIfEmpty()
    }

    /// What has not left will not.
    private func cutOff() {
        for channel in channels.values { loop.close(channel, .finished) }
        for connection in connections { forget(connection) }
        finishIfEmpty()
    }

    /// Ends a connection that has nothing more to send.
    func endWhenEmpty(_ channel: PeerChannel) {
        guard ending != nil, core?.hasUnsent(channel.peer) != true else { return }
        channel.connection?.isOver = true
        channel.end()
    }

    private func finishIfEmpty() {
        guard let ending, channels.isEmpty, connections.allSatisfy({ $0.isOver }) else { return }
        if let endClock, endClock.slot != 0 { loop.close(endClock, .finished) }
        endClock = nil
        if let pumpClock { loop.close(pumpClock, .finished) }
        pumpClock = nil
        connections = []
        let core = core
        self.core = nil
        self.ending = {}
        core?.change { $0.isClosed = true }
        core?.events.emit(.closed)
        core?.events.finish()
        ending()
    }
}

/// A connection that is made, and made again, for one `connect`.
final class PeerConnection {
    let peer: PeerName
    let stream: ZMQEndpoint.Stream
    let endpoint: ZMQEndpoint
    let carriage: StreamCarriage
    var attempt = 0
    var dialer: Dialer?
    var pause: PauseClock?
    /// It is not made again.
    var isOver = false

    /// Where it is to come from, as that is now.
    var options: StreamOptions {
        var options = StreamOptions()
        guard case .internet(let host, let port)? = stream.source else { return options }
        // Of an interface the address that can reach the other end.
        let own = NetworkInterface.addresses(of: host, port: port)
        let far = (try? stream.place.address(phase: .connect)) ?? nil
        let chosen = far.flatMap { far in own.first { $0.kind == far.kind } } ?? own.first
        let any = host.isEmpty ? SocketAddress(far?.kind == .ipv6 ? "::" : "0.0.0.0", port: port) : nil
        options.bindAddress = (chosen ?? any ?? SocketAddress(host, port: port)).map { "\($0)" } ?? host
        return options
    }

    init(_ peer: PeerName, _ stream: ZMQEndpoint.Stream, _ endpoint: ZMQEndpoint, _ carriage: StreamCarriage) {
        self.peer = peer
        self.stream = stream
        self.endpoint = endpoint
        self.carriage = carriage
    }
}
