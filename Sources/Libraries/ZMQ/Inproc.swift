internal import MartletZMTPProtocol
internal import Synchronization

/// The names of the process, and how two of its sockets become peers: a message goes from the one's call into the other's inbox, past the loops.
///
/// Invariant: a name has one bound socket at most; those that came first wait for it.
enum Inproc {
    private struct Name: Sendable {
        var bound: SocketCore?
        var waiting: [InprocLink] = []
    }
    private static let names = Mutex<[String: Name]>([:])

    private static func check(_ core: SocketCore) throws(ZMQError) {
        if core.isRaw { throw .typesDoNotFit("a STREAM socket's peers are streams of bytes, which inproc has not") }
    }

    static func bind(_ core: SocketCore, to name: String) throws(ZMQError) {
        try check(core)
        let waiting = names.withLock { names -> [InprocLink]? in
            if names[name]?.bound != nil { return nil }
            let waiting = names[name]?.waiting ?? []
            names[name] = Name(bound: core)
            return waiting
        }
        guard let waiting else { throw .nameInUse(name) }
        for end in waiting { try? join(end, with: core, name) }
    }

    /// The socket need not be bound yet.
    static func connect(_ core: SocketCore, to name: String) throws(ZMQError) {
        try check(core)
        guard let peer = core.addPeer(isLasting: true, isStream: false) else { return }
        let end = InprocLink(core: core, peer: peer)
        let bound = names.withLock { names -> SocketCore? in
            if let bound = names[name]?.bound { return bound }
            names[name, default: Name()].waiting.append(end)
            return nil
        }
        if let bound { try join(end, with: bound, name) }
    }

    /// Answers whether it was bound to it.
    static func unbind(_ core: SocketCore, from name: String) -> Bool {
        names.withLock { names in
            guard names[name]?.bound === core else { return false }
            names[name] = nil
            return true
        }
    }

    private static func join(_ end: InprocLink, with bound: SocketCore, _ name: String) throws(ZMQError) {
        let core = end.core
        guard core.type.fits(bound.type) else {
            core.change { $0.state.remove(end.peer.index) }
            throw .typesDoNotFit("inproc://\(name) is bound by a \(bound.type.name) socket, which does not talk to a \(core.type.name) socket")
        }
        guard let other = bound.addPeer(isLasting: false, isStream: false) else { return core.change { $0.state.remove(end.peer.index) } }
        let far = InprocLink(core: bound, peer: other)
        bound.link(other, to: end)
        while let waiting = core.link(end.peer, to: far, unlessWaiting: true), !waiting.isEmpty {
            for message in waiting { bound.deliver(message, nil, from: 0, to: other) }
        }
        core.tellWanted(of: end.peer, to: far)
        bound.tellWanted(of: other, to: end)
        core.greet(end.peer)
        bound.greet(other)
    }

    /// A socket closes: it is nobody's peer any more.
    static func leave(_ core: SocketCore) {
        names.withLock { names in
            for (name, entry) in names {
                if entry.bound === core { names[name] = nil } else { names[name]?.waiting.removeAll { $0.core === core } }
                if names[name]?.bound == nil, names[name]?.waiting.isEmpty == true { names[name] = nil }
            }
        }
        for link in core.unlinkAll() { link.core.linkLost(link.peer) }
    }
}

extension SocketCore {
    /// Makes `link` the other end of a peer. Messages that waited for it have to go first: they are answered, and nothing is linked.
    @discardableResult func link(_ peer: PeerName, to link: InprocLink, unlessWaiting: Bool = false) -> [ZMQMessage]? {
        change { shared -> [ZMQMessage]? in
            guard shared.state.isThere(peer) else { return nil }
            if unlessWaiting, !shared.state.peers[peer.index].waiting.isEmpty {
                defer { shared.state.peers[peer.index].waiting = [] }
                return shared.state.peers[peer.index].waiting
            }
            let other = link.core.options
            let mark = shared.state.options.sendHighWaterMark, far = other.receiveHighWaterMark
            shared.state.peers[peer.index].link = link
            shared.state.peers[peer.index].knowsWanted = false
            shared.state.peers[peer.index].markLimit = mark == 0 || far == 0 ? 0 : mark + far
            let isKnown = shared.state.connected(peer.index, identity: link.core.type.hasIdentity ? other.routingID : [])
            if !isKnown { shared.state.remove(peer.index) }
            return nil
        }
    }

    /// What a peer is sent before all else.
    func greet(_ peer: PeerName) {
        let isPublisher = type == .pub || type == .xpub
        for message in [options.probesRouter ? ZMQMessage() : nil, isPublisher ? options.welcome : nil] {
            guard let message else { continue }
            _ = try? commit(message, nil, from: 0) { $0.state.send(message, toOne: peer) }
        }
    }

    /// SUB, XSUB, DISH: what is wanted of a peer so far; from now on it hears what changes.
    func tellWanted(of peer: PeerName, to link: InprocLink) {
        reading.withLock { _ in
            let wanted = shared.withLock { shared -> [[UInt8]: Int] in
                guard shared.state.isThere(peer) else { return [:] }
                shared.state.peers[peer.index].knowsWanted = true
                return shared.state.wanted
            }
            for (topic, times) in wanted { for _ in 0..<times { link.core.heardSubscription(topic, isOn: true, from: link.peer) } }
        }
    }

    func heardSubscription(_ topic: [UInt8], isOn: Bool, from peer: PeerName) {
        change { shared in
            guard shared.state.isThere(peer) else { return }
            _ = shared.state.heardSubscription(topic, isOn: isOn, from: peer.index)
        }
    }

    /// The other ends of all peers in the process, which are none any more.
    func unlinkAll() -> [InprocLink] {
        shared.withLock { shared in
            let links = shared.state.peers.compactMap { $0.isLive ? $0.link : nil }
            for index in shared.state.peers.indices where shared.state.peers[index].isLive && !shared.state.peers[index].isStream {
                shared.state.remove(index)
            }
            return links
        }
    }

    /// The other end has closed.
    func linkLost(_ peer: PeerName) {
        change { shared in
            guard shared.state.isThere(peer) else { return }
            shared.state.peers[peer.index].isLasting = false
            shared.lost(peer)
        }
    }
}
