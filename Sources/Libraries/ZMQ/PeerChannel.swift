internal import MartletBytes
internal import MartletDriver
internal import MartletEventLoop
internal import MartletZMTPProtocol
internal import Synchronization

/// One connection on its loop: a ZMTP machine between a socket and a stream.
///
/// Not here: which peer gets a message (`SocketState`), and when to connect again (`SocketHost`).
class PeerChannel: Channel {
    let host: SocketHost
    let core: SocketCore
    let peer: PeerName
    /// "127.0.0.1:40112".
    let address: String
    /// The one it was made for; nil if it was accepted.
    let connection: PeerConnection?
    private let machine: Pinned<ZMTPMachine>
    private let carriage: StreamCarriage
    let staging = Pinned(Inbox())
    private let outgoing = Pinned<[UInt8]>([])
    private(set) var isReady = false
    /// It was told all that we want, and hears what changes.
    private var knowsWanted = false
    private var justBecameReady = false
    private(set) var isEnding = false
    private var failure: String?
    /// Messages of the run that was last moved into the output, and bytes of commands behind it.
    private var runCount = 0
    private var behindRun = 0

    init(_ host: SocketHost, _ core: SocketCore, _ peer: PeerName, address: String, for connection: PeerConnection?, over carriage: StreamCarriage) {
        self.host = host
        self.core = core
        self.peer = peer
        self.address = address
        self.connection = connection
        self.carriage = carriage
        machine = Pinned(carriage.machine(host.configuration(core), now: host.loop.now))
        super.init()
    }

    func greet() { send { (machine, output) throws(ZMTPMisuse) in try machine.greet(into: &output) } }

    private func send(_ body: (inout ZMTPMachine, inout ByteBuffer) throws(ZMTPMisuse) -> Void) {
        guard slot != 0, !isEnding else { return }
        let loop = host.loop
        loop.willWrite(slot)
        let before = loop.unsentCount(slot)
        try? body(&machine.value, &loop[output: slot])
        behindRun += loop.unsentCount(slot) - before
    }

    // MARK: Input

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard !isEnding else { return bytes.count }
        let before = loop.unsentCount(slot)
        var used = bytes.count, violation: ZMTPViolation?
        do throws(ZMTPViolation) {
            used = try loop.drive(&machine.value, over: bytes, slot: slot) { event, machine in
                if case .frame(let range, let more) = event {
                    staging.value.append(machine.content(in: bytes).at(range), more: more)
                    return true
                }
                return take(event, &machine, bytes, on: loop)
            }
        } catch {
            violation = error
        }
        guard slot != 0 else { return bytes.count }
        behindRun += loop.unsentCount(slot) - before
        if justBecameReady { beginTraffic() }
        // What came before a violation was good.
        if !staging.value.isEmpty, core.deliver(&staging.value, from: peer.index) { loop.pauseReading(slot, true) }
        if let violation { fail(sentence(violation), on: loop) } else if machine.value.isClosed { endWithPeer(on: loop) }
        return used
    }

    /// What is no frame of a message. Answers whether to go on.
    private func take(_ event: ZMTPEvent, _ machine: inout ZMTPMachine, _ bytes: Span<UInt8>, on loop: EventLoop) -> Bool {
        switch event {
        case .authenticate(let credentials):
            answer(credentials.owned(in: machine.content(in: bytes)), &machine, on: loop)
        case .ready(let metadata):
            let identity = machine.content(in: bytes).at(metadata.identity).array
            let (isIn, dispossessed) = core.change { [peer] in ($0.state.connected(peer.index, identity: identity), $0.state.dispossessed.take()) }
            guard isIn else {
                failure = "its routing id is in use"
                loop.finish(self, .refused("its routing id is in use"))
                return false
            }
            if let dispossessed { host.drop(dispossessed) }
            isReady = true
            justBecameReady = true
        case .subscribe(let topic): return subscribe(machine.content(in: bytes).at(topic), isOn: true, on: loop)
        case .join(let group): return subscribe(machine.content(in: bytes).at(group), isOn: true, on: loop)
        case .leave(let group): return subscribe(machine.content(in: bytes).at(group), isOn: false, on: loop)
        case .cancel(let topic): return subscribe(machine.content(in: bytes).at(topic), isOn: false, on: loop)
        case .refused(let reason):
            failure = "the peer refused us: \(machine.content(in: bytes).at(reason).text)"
            return false
        case .frame, .greeting, .handshaking, .ping, .pong, .discarded, .part: break
        }
        return true
    }

    private func answer(_ credentials: ZMTPCredentials.Owned, _ machine: inout ZMTPMachine, on loop: EventLoop) {
        let proof: ZMQCredentials.Proof =
            switch credentials {
            case .null: .none
            case .plain(let user, let password): .plain(user: String(decoding: user, as: UTF8.self), password: String(decoding: password, as: UTF8.self))
            case .curve(let key): .curve(publicKey: key)
            }
        if core.options.authenticator?(ZMQCredentials(proof: proof, address: address)) ?? false {
            try? machine.accept(into: &loop[output: slot])
        } else {
            failure = "its credentials are not accepted"
            try? machine.refuse(.denied, into: &loop[output: slot])
        }
    }

    private func subscribe(_ topic: Span<UInt8>, isOn: Bool, on loop: EventLoop) -> Bool {
        let topic = topic.array, index = peer.index
        guard core.change({ $0.state.heardSubscription(topic, isOn: isOn, from: index) }) else {
            failure = "it has more subscriptions than it may"
            loop.finish(self, .refused("it has more subscriptions than it may"))
            return false
        }
        return true
    }

    /// What a peer hears first: what we want of it, and what waits for it.
    private func beginTraffic() {
        justBecameReady = false
        host.becameReady(self)
        if core.type == .sub || core.type == .xsub || core.type == .dish {
            let wanted = core.tellWanted(by: host)
            knowsWanted = true
            for (topic, times) in wanted { for _ in 0..<times { say(topic, isOn: true) } }
        }
        core.greet(peer)
        pump()
    }

    /// SUB, XSUB, DISH: a subscription of ours, or its end.
    func say(_ topic: [UInt8], isOn: Bool) {
        guard knowsWanted else { return }
        send { (machine, output) throws(ZMTPMisuse) in
            switch (core.type, isOn) {
            case (.dish, true): try machine.join(topic.span, into: &output)
            case (.dish, false): try machine.leave(topic.span, into: &output)
            case (_, true): try machine.subscribe(topic.span, into: &output)
            case (_, false): try machine.cancel(topic.span, into: &output)
            }
        }
    }

    // MARK: Output

    /// The connection may be used, from the first moment.
    func becomeReady() {
        isReady = true
        host.becameReady(self)
        pump()
    }

    /// A run of what was sent to the peer.
    func write(_ run: Span<UInt8>) { try? machine.value.pass(run, into: &host.loop[output: slot]) }

    /// All that was sent to the peer has left.
    func outboxIsEmpty() { host.endWhenEmpty(self) }

    /// Moves what was sent to the peer into the output, once that has left: so all that has not left is known.
    func pump() {
        let loop = host.loop
        guard slot != 0, isReady, !isEnding else { return }
        if runCount > 0, loop.unsentCount(slot) > 0 { return loop.awaitRoom(slot) }
        var run: [UInt8] = []
        swap(&run, &outgoing.value)
        run.removeAll(keepingCapacity: run.capacity <= 1 << 20)
        runCount = core.takeOutbox(of: peer.index, into: &run)
        behindRun = 0
        if runCount > 0 {
            loop.willWrite(slot)
            write(run.span)
        }
        swap(&run, &outgoing.value)
        guard runCount > 0 else { return outboxIsEmpty() }
        if host.isEnding { loop.awaitRoom(slot) }
    }

    /// The messages of the last run of which a part has not left, and how many: nobody can have got them.
    func unsentRun(on loop: EventLoop) -> (bytes: [UInt8], count: Int) {
        let left = loop.unsentCount(slot) - behindRun
        guard runCount > 0, left > 0 else { return ([], 0) }
        // What is sealed cannot be told apart: all of it may have left.
        guard core.options.security.isClear, carriage.isBare else { return ([], 0) }
        let run = outgoing.value
        return Outbox.messages(of: run, from: max(0, run.count - left))
    }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) { if !blocked { pump() } }

    // MARK: Time

    override var deadline: Instant { machine.value.deadline }

    override func wake(on loop: EventLoop) {
        // Its silence is our own doing while nothing is read from it.
        if loop.isPaused(slot) { machine.value.heard(at: loop.now) }
        let before = loop.unsentCount(slot)
        do throws(ZMTPViolation) { try loop.wake(&machine.value, slot: slot) } catch { return fail(sentence(error), on: loop) }
        behindRun += loop.unsentCount(slot) - before
    }

    // MARK: The end

    private func sentence(_ violation: ZMTPViolation) -> String { machine.value.detail.map { "\(violation): \($0)" } ?? "\(violation)" }

    /// The machine has closed: the peer took leave, or one of both refused.
    private func endWithPeer(on loop: EventLoop) {
        if machine.value.hasPeerEnded { loop.finish(self, .ended) } else { fail(failure ?? "closed", on: loop) }
    }

    private func fail(_ reason: String, on loop: EventLoop) {
        guard slot != 0 else { return }
        failure = reason
        loop.finish(self, .refused(reason))
    }

    /// The peer will say no more; what it said last is delivered.
    override func receiveEnd(on loop: EventLoop) { loop.close(self, .ended) }

    /// Ends the stream when all has left. What the peer still says is thrown away.
    func end() {
        guard slot != 0, !isEnding else { return }
        send { (machine, output) throws(ZMTPMisuse) in machine.sayFarewell(into: &output) }
        isEnding = true
        host.loop.pauseReading(slot, false)
        host.loop.finishWriting(self)
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        let (unsent, count) = unsentRun(on: loop)
        if count > 0 { core.putBack(unsent, count, to: peer) }
        host.lost(self, failure ?? "\(reason)", hasFailed: failure != nil)
    }
}
