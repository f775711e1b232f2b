internal import MartletBytes
internal import MartletEventLoop
internal import Synchronization

extension ZMQSocket where Pattern: ZMQSender {
    /// Sends a message: returns once it is the socket's, and waits while nobody who may get it has room. PUB, XPUB and ROUTER drop it instead, and count
    /// (`counters`). A ROUTER's first frame names the peer.
    /// Throws `closed`, `cancelled`, `timedOut` after `timeout`, and a mandatory ROUTER `noPeer`.
    @inlinable public func send(_ message: ZMQMessage, timeout: Duration? = nil) async throws(ZMQError) {
        if try offer(message) { return }
        try await sendLater(message, timeout: timeout)
    }

    /// Sends without waiting; false where `send` would wait. Throws as `send` does.
    public func trySend(_ message: ZMQMessage) throws(ZMQError) -> Bool { try offer(message) }
}

extension ZMQSocket where Pattern: ZMQFrameSender {
    /// A message of one frame. Returns, waits and throws as for messages of several.
    @inlinable public func send(_ frame: [UInt8], timeout: Duration? = nil) async throws(ZMQError) {
        let message = ZMQMessage(frame)
        if try offer(message) { return }
        try await sendLater(message, timeout: timeout)
    }

    /// A message of one frame of UTF-8.
    @inlinable public func send(_ text: String) async throws(ZMQError) { try await send(Array(text.utf8)) }

    /// Sends without waiting; false where `send` would wait. Throws as `send` does.
    public func trySend(_ frame: [UInt8]) throws(ZMQError) -> Bool { try offer(ZMQMessage(frame)) }

    @usableFromInline func offer(_ message: ZMQMessage) throws(ZMQError) -> Bool {
        switch try core.offer(message) {
        case .sent, .dropped: return true
        case .full: return false
        case .noPeer: throw .noPeer(routingID: message[0])
        }
    }

    @usableFromInline func sendLater(_ message: ZMQMessage, timeout: Duration?) async throws(ZMQError) {
        try await core.send(message, until: core.deadline(timeout))
    }
}

extension ZMQSocket where Pattern: ZMQReceiver {
    /// The next message, of each peer that has one in turn. Throws `closed` once none can come, `cancelled`, `timedOut` after `timeout`.
    public func receive(timeout: Duration? = nil) async throws(ZMQError) -> ZMQMessage {
        if case .message(let message, _) = core.take() { return message }
        return try await core.receive(until: core.deadline(timeout)).0
    }

    /// The next message if there is one.
    public func tryReceive() -> ZMQMessage? {
        if case .message(let message, _) = core.take() { return message }
        return nil
    }

    /// Messages until the socket is closed. Not iterating is back-pressure: above the high-water mark the peers have to wait.
    public var messages: ZMQMessages { ZMQMessages(core: core) }
}

/// What comes to a socket, until it is closed. Several tasks may iterate: each message is one's.
public struct ZMQMessages: AsyncSequence, Sendable {
    public typealias Element = ZMQMessage
    public typealias Failure = ZMQError
    let core: SocketCore

    public func makeAsyncIterator() -> Iterator { Iterator(core: core) }

    public struct Iterator: AsyncIteratorProtocol {
        let core: SocketCore

        public mutating func next() async throws(ZMQError) -> ZMQMessage? { try await take() }
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(ZMQError) -> ZMQMessage? { try await take() }

        private func take() async throws(ZMQError) -> ZMQMessage? {
            if case .message(let message, _) = core.take() { return message }
            return try await core.next()?.0
        }
    }
}

/// Messages with those they came from, until the socket is closed.
struct Arrivals: AsyncSequence, Sendable {
    let core: SocketCore

    func makeAsyncIterator() -> Iterator { Iterator(core: core) }

    struct Iterator: AsyncIteratorProtocol {
        let core: SocketCore

        mutating func next() async throws(ZMQError) -> (ZMQMessage, PeerName)? { try await core.next() }
        mutating func next(isolation actor: isolated (any Actor)?) async throws(ZMQError) -> (ZMQMessage, PeerName)? { try await core.next() }
    }
}

extension ZMQSocket where Pattern: ZMQSubscriber {
    /// Wants what begins with `prefix`, of all publishers, now and later; the empty prefix is everything. As often as it is called, `unsubscribe` has to be.
    public func subscribe(to prefix: [UInt8]) { core.subscribe(to: prefix, isOn: true) }

    /// A prefix of UTF-8.
    public func subscribe(to prefix: String) { subscribe(to: Array(prefix.utf8)) }

    /// Takes one subscription back; nothing happens if there is none.
    public func unsubscribe(from prefix: [UInt8]) { core.subscribe(to: prefix, isOn: false) }

    /// A prefix of UTF-8.
    public func unsubscribe(from prefix: String) { unsubscribe(from: Array(prefix.utf8)) }
}

extension SocketCore {
    func deadline(_ timeout: Duration?) -> Instant { timeout.map { loop.currentTime() + $0 } ?? .never }

    /// What comes next; nil once the socket is closed.
    func next() async throws(ZMQError) -> (ZMQMessage, PeerName)? {
        do throws(ZMQError) { return try await receive() } catch {
            if error == .closed { return nil }
            throw error
        }
    }

    /// A prefix, or a DISH's group. Answers false if that changes nothing: the end of what was not wanted, and a group that was joined already.
    /// Publishers are told of each call, once and in this order: they count a peer's.
    @discardableResult func subscribe(to prefix: [UInt8], isOn: Bool) -> Bool {
        let isGroup = type == .dish
        return reading.withLock { reading in
            if isOn {
                if isGroup, reading.filter.wants(whole: prefix.span) { return false }
                _ = reading.filter.add(prefix.span, for: 0)
            } else if reading.filter.remove(prefix.span, for: 0) == .missing {
                return false
            }
            let (links, isFirst) = shared.withLock { shared in
                let times = (shared.state.wanted[prefix] ?? 0) + (isOn ? 1 : -1)
                shared.state.wanted[prefix] = times > 0 ? times : nil
                shared.untold.append((prefix, isOn))
                return (shared.state.peers.compactMap { $0.isLive && $0.knowsWanted ? $0.link : nil }, shared.untold.count == 1)
            }
            if isFirst { onLoop { [self] host in tellWanted(by: host) } }
            for link in links { link.core.heardSubscription(prefix, isOn: isOn, from: link.peer) }
            return true
        }
    }

    /// On the loop: says what is wanted since the last call to the connections that know what was wanted before. Answers all that is wanted, that included.
    @discardableResult func tellWanted(by host: SocketHost) -> [[UInt8]: Int] {
        let (untold, wanted) = shared.withLock { shared in
            defer { shared.untold = [] }
            return (shared.untold, shared.state.wanted)
        }
        for (topic, isOn) in untold { host.say(topic, isOn: isOn) }
        return wanted
    }
}

extension ZMQSocket where Pattern == ZMQPub {
    /// Prefixes that peers want, each as often as there are peers that want it.
    public var subscriptionCount: Int { core.shared.withLock { $0.state.subscriptions.count } }
}

extension ZMQSocket where Pattern == ZMQXPub {
    /// Prefixes that peers want, each as often as there are peers that want it.
    public var subscriptionCount: Int { core.shared.withLock { $0.state.subscriptions.count } }
}
