internal import MartletBytes
internal import MartletEventLoop
internal import Synchronization

/// XPUB with `decidesSubscriptions`: what a peer asks for, to be answered by its owner (ZMQ_XPUB_MANUAL).
///
/// One that is not accepted has no effect. Before it is answered, the peer can be sent what came before: that is how a last value is kept for newcomers.
/// ```swift
/// for try await subscription in publisher.subscriptions where subscription.isOn {
///     subscription.accept()
///     if let last = lastValues[subscription.topic] { try subscription.send(last) }
/// }
/// ```
public struct ZMQSubscription: Sendable {
    let core: SocketCore
    let peer: PeerName
    /// What the peer wants messages to begin with, or no longer. Where the peer has gone, each that it had comes once more with `isOn` false.
    public let topic: [UInt8]
    /// Whether it begins or ends.
    public let isOn: Bool

    /// The topic as text, repaired where it is not UTF-8.
    public var text: String { String(decoding: topic, as: UTF8.self) }

    /// The peer gets from now on, or no longer, what begins with its topic.
    public func accept() { accept(as: [topic]) }

    /// The peer gets from now on, or no longer, what begins with one of these topics: the owner's own, in place of the peer's. `isOn`: if it is to be other
    /// than what the peer asks. The peer's own filter still has its topic: what does not begin with that, a SUB throws away, and an XSUB does not.
    public func accept(as topics: [[UInt8]], isOn: Bool? = nil) {
        core.change { shared in
            guard shared.state.isThere(peer) else { return }
            for topic in topics { shared.state.decide(topic, isOn: isOn ?? self.isOn, for: peer.index) }
        }
    }

    /// Sends a message to this peer alone, whatever it subscribes to. Answers false if it is dropped: the peer has gone, or is above the high-water mark.
    /// Throws `closed`.
    @discardableResult public func send(_ message: ZMQMessage) throws(ZMQError) -> Bool {
        try core.commit(message, nil, from: 0) { [peer] in $0.state.send(message, toOne: peer) } == .sent
    }
}

/// What peers ask of an XPUB, until it is closed.
public struct ZMQSubscriptions: AsyncSequence, Sendable {
    public typealias Element = ZMQSubscription
    public typealias Failure = ZMQError
    let core: SocketCore

    public func makeAsyncIterator() -> Iterator { Iterator(core: core) }

    public struct Iterator: AsyncIteratorProtocol {
        let core: SocketCore

        public mutating func next() async throws(ZMQError) -> ZMQSubscription? { try await core.nextSubscription() }
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(ZMQError) -> ZMQSubscription? { try await core.nextSubscription() }
    }
}

extension ZMQSocket where Pattern == ZMQXPub {
    /// With `decidesSubscriptions`: what peers ask for, in its order, each to be answered. Without it there are none: they are messages (`receive`).
    public var subscriptions: ZMQSubscriptions { ZMQSubscriptions(core: core) }
}

extension SocketCore {
    func nextSubscription() async throws(ZMQError) -> ZMQSubscription? {
        while true {
            let once = Once<Void>()
            let (asked, isClosed) = shared.withLock { shared -> (SocketState.Asked?, Bool) in
                if let asked = shared.state.takeAsked() { return (asked, false) }
                if !shared.isClosed { shared.readers.append(once) }
                return (nil, shared.isClosed)
            }
            if let asked { return ZMQSubscription(core: self, peer: asked.peer, topic: asked.topic, isOn: asked.isOn) }
            if isClosed { return nil }
            try await sleep(on: once, until: .never)
        }
    }
}
