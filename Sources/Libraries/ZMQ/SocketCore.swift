internal import CLinux
internal import Glibc
internal import MartletBytes
internal import MartletEventLoop
internal import MartletZMTPProtocol
internal import Synchronization

/// A socket as its tasks see it: what they send and take, and who waits.
///
/// Two locks: `shared` for the pattern, which the loop and the senders change, held for a few instructions and never over a call; `reading` for what the
/// receivers have taken out of it at once, held over the short wait for more (`letGather`) and while peers are told what is wanted. `shared`, another
/// socket's too, may be taken inside of `reading`, never the other way round, and no socket's lock inside of another's `shared`.
/// Not here: connections (`SocketHost`), what the pattern does (`SocketState`).
final class SocketCore: Sendable {
    struct Shared: ~Copyable {
        var state: SocketState
        /// The loop was told to look at the outboxes.
        var isLoopTold = false
        var rhythm = PumpRhythm()
        /// Who waits for a message, and who for room: whoever is woken looks again.
        var readers: [Once<Void>] = []
        var writers: [Once<Void>] = []
        /// SUB, XSUB, DISH: what connections have not heard of yet, in order: a topic, or its end.
        var untold: [(topic: [UInt8], isOn: Bool)] = []
        /// Who waits for the end.
        var closers: [Once<Void>] = []
        /// Nothing is sent or connected any more.
        var isClosing = false
        /// Nothing comes any more.
        var isClosed = false
        /// REQ: the peer that has the request.
        var asked: PeerName?
        var isAskedLost = false
        var isAsking = false
        /// REQ: another request wants its place.
        var isSuperseded = false
        var requests: UInt32 = 0
    }
    struct Reading: ~Copyable {
        var batches: [Batch] = []
        var turn = 0
        var spare = Inbox()
        /// How often in a row only a few messages were there, but some.
        var small = 0
        static let patience = 3, smallMax = 200
        /// SUB: what is asked for, since what comes may be more.
        var filter = ZMTPSubscriptions(seed: .random(in: .min ... .max))
        var unwanted: UInt64 = 0
    }
    /// What comes and is not for us.
    enum Filter: Sendable {
        case none
        /// SUB.
        case prefixes
        /// DISH: two frames, the first of them a group.
        case groups
        /// CLIENT, SERVER and their like: one frame.
        case frames

        init(_ type: ZMTPSocketType) {
            switch type {
            case .sub: self = .prefixes
            case .dish: self = .groups
            case .client, .server, .scatter, .gather, .peer, .channel: self = .frames
            case .pair, .pub, .req, .rep, .dealer, .router, .pull, .push, .xpub, .xsub, .radio: self = .none
            }
        }
    }
    enum Answer: Sendable {
        case message(ZMQMessage, PeerName)
        case nothing, closed
    }

    let type: ZMTPSocketType
    let options: ZMQSocketOptions
    /// STREAM: its peers speak no ZMTP.
    let isRaw: Bool
    let loop: EventLoop
    let shared: Mutex<Shared>
    let reading = Mutex(Reading())
    let events = ZMQEventSource()
    private let bound: LoopBound<SocketHost>
    private let filter: Filter

    init(_ type: ZMTPSocketType, _ options: ZMQSocketOptions, isRaw: Bool = false, on loop: EventLoop) {
        self.type = type
        self.isRaw = isRaw
        self.options = options
        self.loop = loop
        filter = Filter(type)
        shared = Mutex(Shared(state: SocketState(type: type, options: options, isRaw: isRaw)))
        let host = SocketHost(on: loop)
        bound = LoopBound(host, on: loop)
    }

    /// On the loop.
    var host: SocketHost { bound() }

    /// Now, if this is the loop, or in its next tick.
    func onLoop(_ body: @escaping @Sendable (SocketHost) -> Void) {
        if loop.isCurrent { body(host) } else { loop.execute { [self] _ in body(host) } }
    }

    // MARK: Sending

    /// Gives the message to the pattern, and to its peers in the process.
    @inline(__always) func offer(_ message: ZMQMessage, _ prefix: ZMQMessage? = nil) throws(ZMQError) -> SocketState.Outcome {
        try commit(message, prefix, from: type == .router ? 1 : 0) { $0.state.offer(message, prefix) }
    }

    @inline(__always) func commit(
        _ message: ZMQMessage, _ prefix: ZMQMessage?, from first: Int, _ choose: (inout Shared) -> SocketState.Outcome
    ) throws(ZMQError) -> SocketState.Outcome {
        var tells = false, more: [InprocLink] = []
        let (outcome, link) = shared.withLock { shared -> (SocketState.Outcome?, InprocLink?) in
            if shared.isClosing { return (nil, nil) }
            let outcome = choose(&shared)
            tells = shared.isToTell(outcome)
            guard let link = shared.state.delivery.take() else { return (outcome, nil) }
            if !shared.state.deliveries.isEmpty { swap(&more, &shared.state.deliveries) }
            return (outcome, link)
        }
        if tells { tellLoop() }
        if let link {
            link.core.deliver(message, prefix, from: first, to: link.peer)
            for link in more { link.core.deliver(message, prefix, from: first, to: link.peer) }
        }
        guard let outcome else { throw .closed }
        return outcome
    }

    func tellLoop() {
        if loop.isCurrent { ZMQTenant.on(loop)?.note(self) } else { loop.execute { [self] _ in host.pumpWhenTold() } }
    }

    /// Waits for room, until the deadline.
    func send(_ message: ZMQMessage, until deadline: Instant = .never) async throws(ZMQError) {
        while true {
            switch try offer(message) {
            case .sent, .dropped: return
            case .noPeer: throw .noPeer(routingID: message[0])
            case .full: try await waitForRoom(for: type == .router ? .route(message[0]) : .any, until: deadline)
            }
        }
    }

    /// Until there may be room, or the deadline.
    func waitForRoom(for addressee: SocketState.Addressee = .any, until deadline: Instant) async throws(ZMQError) {
        if let once = roomToCome(for: addressee) { try await sleep(on: once, until: deadline) }
    }

    /// What is given when there may be room; nil: there may be some now.
    func roomToCome(for addressee: SocketState.Addressee) -> Once<Void>? {
        let once = Once<Void>()
        return shared.withLock { shared in
            if shared.isClosing || shared.isSuperseded || shared.state.hasRoom(for: addressee) { return nil }
            shared.writers.append(once)
            return once
        }
    }

    /// Until somebody wakes it. The flag of a cancelled task is set before its handler wakes.
    ///
    /// On the caller's actor: a closure that is not told so would leave it to wait, and the task would change its thread three times a wake-up.
    func sleep(on once: Once<Void>, until deadline: Instant, isolation: isolated (any Actor)? = #isolation) async throws(ZMQError) {
        var clock: PauseTimer?
        if deadline != .never {
            if loop.currentTime() >= deadline { throw .timedOut }
            clock = PauseTimer(until: deadline, on: loop) { once.resume(returning: ()) }
        }
        await withTaskCancellationHandler {
            _ = isolation
            await once.wait()
        } onCancel: {
            once.resume(returning: ())
        }
        clock?.cancel()
        if Task.isCancelled {
            forget(once)
            throw .cancelled
        }
        if clock != nil, loop.currentTime() >= deadline { forget(once) }
    }

    /// Whoever does not wait any more is not kept.
    func forget(_ once: Once<Void>) {
        shared.withLock { shared in
            shared.readers.removeAll { $0 === once }
            shared.writers.removeAll { $0 === once }
            shared.closers.removeAll { $0 === once }
        }
    }

    func wake(_ sleepers: [Once<Void>]) { for once in sleepers { once.resume(returning: ()) } }

    // MARK: Receiving

    /// What receivers owe others for what they took, once the locks are free: whom to read from again, and whom to give credit for how much.
    struct Settling {
        var resumed: [PeerName] = []
        var credits: [(InprocLink, Int)] = []
    }

    /// The next message, of whichever peer's turn it is.
    func take() -> Answer {
        var settling = Settling()
        let answer = reading.withLock { reading -> Answer in
            while true {
                if reading.batches.isEmpty {
                    let isClosed = refill(&reading, &settling)
                    if reading.batches.isEmpty { return isClosed ? .closed : .nothing }
                }
                let (message, peer) = reading.next()
                if isWanted(message, reading.filter) { return .message(message, peer) }
                reading.unwanted &+= 1
            }
        }
        settle(settling)
        return answer
    }

    /// A receiver that keeps up with a sender of the process would contend with it for a lock at each message: some come together meanwhile. Where the
    /// sender waits for this processor it gets it.
    private func letGather() {
        sched_yield()
        cl_relax(512)
    }

    /// Moves all that has come into `batches`, which must be empty. Answers whether nothing can come any more.
    func refill(_ reading: inout Reading, _ settling: inout Settling) -> Bool {
        if reading.small > Reading.patience { letGather() }
        return shared.withLock { shared in
            shared.state.take(into: &reading.batches, spare: &reading.spare, resumed: &settling.resumed, credits: &settling.credits)
            shared.state.counters.droppedUnwanted &+= reading.unwanted
            reading.unwanted = 0
            let index = reading.batches.first?.peer.index ?? -1
            reading.noteBatch(isNear: index >= 0 && !shared.state.peers[index].isStream)
            return shared.isClosed
        }
    }

    @inline(__always) func isWanted(_ message: ZMQMessage, _ asked: borrowing ZMTPSubscriptions) -> Bool {
        switch filter {
        case .none: true
        case .prefixes: asked.wants(message.span(of: 0)) != options.invertsMatching
        case .groups: message.count == 2 && asked.wants(whole: message.span(of: 0))
        case .frames: message.count == 1
        }
    }

    @inline(__always) func settle(_ settling: Settling) {
        if !settling.resumed.isEmpty { onLoop { host in host.resumeReading(settling.resumed) } }
        for (link, count) in settling.credits { link.core.credit(count, to: link.peer) }
    }

    func receive(until deadline: Instant = .never) async throws(ZMQError) -> (ZMQMessage, PeerName) {
        while true {
            switch take() {
            case .message(let message, let peer): return (message, peer)
            case .closed: throw .closed
            case .nothing: try await waitForMessage(until: deadline)
            }
        }
    }

    func waitForMessage(until deadline: Instant) async throws(ZMQError) {
        if let once = messageToCome() { try await sleep(on: once, until: deadline) }
    }

    /// What is given when there may be a message; nil: there may be one now, or never more.
    func messageToCome() -> Once<Void>? {
        let once = Once<Void>()
        return shared.withLock { shared in
            if shared.isClosed || shared.state.hasMessages || shared.isAskedLost || shared.isSuperseded { return nil }
            shared.readers.append(once)
            return once
        }
    }

    // MARK: The process

    /// A message of another socket in the process.
    func deliver(_ message: ZMQMessage, _ prefix: ZMQMessage?, from first: Int, to peer: PeerName) {
        let (sleepers, refused) = shared.withLock { shared -> ([Once<Void>], InprocLink?) in
            guard shared.state.isThere(peer) else { return ([], nil) }
            guard shared.state.deliver(message, prefix, from: first, to: peer.index) else { return ([], shared.state.peers[peer.index].link) }
            guard !shared.readers.isEmpty else { return ([], nil) }
            defer { shared.readers = [] }
            return (shared.readers, nil)
        }
        wake(sleepers)
        if let refused { refused.core.credit(1, to: refused.peer) }
    }

    /// The other end has taken so many messages.
    func credit(_ count: Int, to peer: PeerName) {
        let sleepers = shared.withLock { shared -> [Once<Void>] in
            guard shared.state.isThere(peer) else { return [] }
            shared.state.peers[peer.index].pending -= count
            return shared.takeWriters()
        }
        wake(sleepers)
    }

    // MARK: The loop's calls

    /// What a connection has read. Answers whether reading it must pause.
    func deliver(_ staging: inout Inbox, from index: Int) -> Bool {
        var sleepers: [Once<Void>] = []
        let isPaused = shared.withLock { shared in
            let isPaused = shared.state.deliver(&staging, from: index)
            if !shared.readers.isEmpty { swap(&sleepers, &shared.readers) }
            return isPaused
        }
        wake(sleepers)
        return isPaused
    }

    /// Changes the pattern, and has everyone who waits look again.
    @discardableResult func change<Value: Sendable>(_ body: (inout Shared) -> Value) -> Value {
        var sleepers: [Once<Void>] = []
        let value = shared.withLock { shared in
            let value = body(&shared)
            sleepers = shared.readers + shared.writers
            shared.readers = []
            shared.writers = []
            return value
        }
        wake(sleepers)
        return value
    }

    /// Nil when there are as many peers as there may be.
    func addPeer(isLasting: Bool, isStream: Bool) -> PeerName? {
        change { shared in
            if shared.isClosing { return nil }
            return shared.state.addPeer(isLasting: isLasting, isStream: isStream).map { shared.state.name($0) }
        }
    }

    func hasUnsent(_ peer: PeerName) -> Bool {
        shared.withLock { $0.state.isThere(peer) && $0.state.peers[peer.index].outbox.count > 0 }
    }

    /// STREAM: whether the peer's connection is to end when all has left.
    func isFinishing(_ peer: PeerName) -> Bool { shared.withLock { $0.state.isThere(peer) && $0.state.peers[peer.index].isFinishing } }

    /// Messages that were taken for a connection and have not left: first of all for the next one.
    func putBack(_ messages: [UInt8], _ count: Int, to peer: PeerName) {
        shared.withLock { shared in
            guard shared.state.isThere(peer) else { return }
            shared.state.peers[peer.index].outbox.putBack(messages, count: count)
            shared.state.peers[peer.index].pending += count
        }
    }

    /// The loop looks at the outboxes: answers those that were empty before, and what its rhythm says of the number of messages.
    func takeFilled(_ rhythm: (inout PumpRhythm, Int) -> Bool) -> (filled: [Int], goesOn: Bool) {
        shared.withLock { shared in
            var filled: [Int] = []
            swap(&filled, &shared.state.filled)
            let goesOn = rhythm(&shared.rhythm, shared.state.unpumpedCount)
            shared.isLoopTold = false
            shared.state.unpumped = 0
            shared.state.unpumpedCount = 0
            shared.state.unpumpedBytes = 0
            return (filled, goesOn)
        }
    }

    /// The loop is not behind any more.
    func wakeWriters() { wake(shared.withLock { $0.takeWriters() }) }

    /// Exchanges a peer's outbox for emptied memory. Answers how many messages that were.
    func takeOutbox(of index: Int, into bytes: inout [UInt8]) -> Int {
        var sleepers: [Once<Void>] = []
        let count = shared.withLock { shared in
            let count = shared.state.peers[index].outbox.count
            shared.state.peers[index].outbox.exchange(with: &bytes)
            shared.state.peers[index].pending = 0
            sleepers = shared.takeWriters()
            return count
        }
        wake(sleepers)
        return count
    }
}

extension SocketCore.Shared {
    /// A peer's connection has gone.
    mutating func lost(_ peer: PeerName) {
        guard state.isThere(peer) else { return }
        if asked == peer {
            isAskedLost = true
            state.dropUnsent(to: peer)
        }
        state.disconnected(peer.index)
    }

    /// Whether the loop is to be told of what lies in the outboxes: once until it looks, and in a stream only when somebody has to wait for it.
    @inline(__always) mutating func isToTell(_ outcome: SocketState.Outcome) -> Bool {
        guard state.unpumpedBytes > 0, !isLoopTold else { return false }
        guard !rhythm.isStreaming || outcome == .full || state.isHeapLarge else { return false }
        isLoopTold = true
        return true
    }

    mutating func takeWriters() -> [Once<Void>] {
        guard !writers.isEmpty else { return [] }
        defer { writers = [] }
        return writers
    }
}

extension SocketCore.Reading {
    /// Few messages of one peer, which is in the process.
    mutating func noteBatch(isNear: Bool) { small = isNear && batches.count == 1 && batches[0].inbox.count < Self.smallMax ? small + 1 : 0 }

    /// Fair queueing: a message of each peer in turn (RFC 28, RFC 30). There must be one.
    @inline(__always) mutating func next() -> (ZMQMessage, PeerName) {
        if turn >= batches.count { turn = 0 }
        let peer = batches[turn].peer, message = batches[turn].next()
        if batches[turn].isAtEnd {
            spare = batches[turn].surrender()
            batches.remove(at: turn)
        } else {
            turn &+= 1
        }
        return (message, peer)
    }
}

extension ZMTPSecurity {
    /// Frames are on the wire as they are.
    var isClear: Bool {
        switch self {
        case .null, .plainClient, .plainServer: true
        case .curveClient, .curveServer: false
        }
    }
}
