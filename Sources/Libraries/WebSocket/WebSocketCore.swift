internal import MartletBytes
internal import MartletClient
internal import MartletEventLoop
internal import MartletHTTP
internal import Synchronization

/// One connection as its tasks see it: what has arrived and was not read, what was sent from elsewhere than the loop, and who reads.
///
/// Invariants: one task reads at a time; a message is given to one read. The lock is held for a few instructions and never over a call. Not here: the
/// loop's side (`WebSocketChannel`).
final class WebSocketCore: Sendable {
    enum RoomAnswer: Sendable { case room, cancelled, closed }
    enum ReadAnswer: Sendable {
        case message(WebSocketMessage)
        case ended, cancelled, busy
    }
    struct Reader: ~Copyable {
        let waiter: Waiter<ReadAnswer>
        /// 0: the owner's.
        let ticket: UInt64
    }
    /// What was sent from elsewhere, in the order of the calls.
    enum Sent: Sendable {
        case message(WebSocketMessage)
        case ping(UInt64, Once<Bool>)
        case close(WebSocketCloseCode, String)
    }
    struct Shared: ~Copyable {
        var received = Line<WebSocketMessage>()
        var receivedCount = 0
        var reader: Reader?
        /// The last reader that was numbered.
        var ticket: UInt64 = 0
        var isOwnerCancelled = false
        /// Nothing is read from the peer until messages were taken.
        var isPaused = false
        /// No message comes after those that have: how the connection ends, or has.
        var close: WebSocketClose?
        /// It is off the loop.
        var isOver = false
        /// All that came before the end was read, and more was asked for; or nobody will read.
        var isDone = false
        var outbox: [Sent] = []
        var outboxCount = 0
        /// The loop was told to look at the outbox.
        var isLoopTold = false
        /// The loop's output has no room: who sends from elsewhere waits.
        var isFull = false
        var pingID: UInt64 = 0
        var hasLatency = false
        var closers: [Once<Void>] = []
    }

    let loop: EventLoop
    /// The channel's.
    let number: UInt64
    let receiveLimit: Int
    let shared = Mutex(Shared())
    /// There may be something in the outbox: looked at without the lock, by who was told of it by other means.
    let hasOutbox = Atomic(false)
    private let bound: LoopBound<WebSocketPlace>
    /// The task whose cancellation `cancelOwner` tells: it waits without a handler of its own.
    let owner: TaskMark?
    let subprotocol: String?
    let peer: SocketAddress
    let target: String
    let fields: HTTPFields

    /// On the loop: takes the transport over. Nil, and its descriptor closed, when the loop is full.
    init?(_ transport: Transport, _ opening: WebSocketOpening, isClient: Bool, owner: TaskMark?, home: WebSocketHome) {
        loop = home.loop
        receiveLimit = home.limit
        self.owner = owner
        subprotocol = opening.agreement.subprotocol
        peer = opening.peer
        target = opening.target
        fields = opening.fields
        let place = WebSocketPlace()
        bound = LoopBound(place, on: home.loop)
        let channel = WebSocketChannel(opening, isClient: isClient, home: home)
        place.channel = channel
        number = channel.number
        guard home.loop.add(channel, transport) != nil else { return nil }
        channel.begin(self, on: home.loop)
    }

    /// On the loop; nil once it has ended.
    var channel: WebSocketChannel? { bound().channel }

    /// Now, if this is the loop, or in its next tick. Not called once the connection has ended.
    func onLoop(_ body: @escaping @Sendable (WebSocketChannel, EventLoop) -> Void) {
        if loop.isCurrent {
            if let channel { body(channel, loop) }
        } else {
            loop.execute { [self] loop in if let channel { body(channel, loop) } }
        }
    }

    /// The same, and waits for it; at once on the loop.
    func run(_ body: @escaping @Sendable (WebSocketChannel, EventLoop) -> Void) async {
        if loop.isCurrent {
            if let channel { body(channel, loop) }
            return
        }
        let done = Once<Void>()
        loop.execute { [self] loop in
            if let channel { body(channel, loop) }
            done.resume(returning: ())
        }
        await done.wait()
    }

    // MARK: The loop's side

    /// Answers whether enough waits.
    func put(_ message: WebSocketMessage) -> Bool {
        let count = message.count + Self.overhead
        var isFull = false
        let reader = shared.withLock { shared -> Reader? in
            if let reader = shared.reader.take() { return reader }
            guard !shared.isDone else { return nil }
            shared.received.append(message)
            shared.receivedCount += count
            isFull = shared.receivedCount > receiveLimit
            if isFull { shared.isPaused = true }
            return nil
        }
        if let reader { reader.waiter.resume(returning: .message(message)) }
        return isFull
    }

    /// What a message that waits costs beside its bytes.
    private static let overhead = 64

    /// No message comes any more.
    func note(_ close: WebSocketClose?) {
        let reader = shared.withLock { shared -> Reader? in
            shared.close = close ?? shared.close
            guard let reader = shared.reader.take() else { return nil }
            shared.isDone = true
            return reader
        }
        if let reader { reader.waiter.resume(returning: .ended) }
    }

    var isDone: Bool { shared.withLock { $0.isDone } }

    /// It is off the loop.
    func end(_ close: WebSocketClose) {
        bound().channel = nil
        note(close)
        let (closers, outbox) = shared.withLock { shared -> ([Once<Void>], [Sent]) in
            shared.isOver = true
            defer {
                shared.closers = []
                shared.outbox = []
            }
            return (shared.closers, shared.outbox)
        }
        for closer in closers { closer.resume(returning: ()) }
        for case .ping(_, let answer) in outbox { answer.resume(returning: false) }
    }

    func noteRoom() { shared.withLock { $0.isFull = false } }

    /// Has what was sent elsewhere leave.
    func empty(_ channel: WebSocketChannel, on loop: EventLoop) {
        var outbox: [Sent] = []
        shared.withLock { shared in
            swap(&outbox, &shared.outbox)
            shared.outboxCount = 0
            shared.isLoopTold = false
            hasOutbox.store(false, ordering: .relaxed)
        }
        var hasRoom = true
        for sent in outbox {
            switch sent {
            case .message(let message): do throws(WebSocketMisuse) { hasRoom = try channel.send(message, on: loop) } catch {}
            case .ping(let id, let answer): channel.ping(answer, id, on: loop)
            case .close(let code, let reason): channel.close(code, reason, on: loop)
            }
        }
        guard !hasRoom, channel.slot != 0 else { return }
        shared.withLock { $0.isFull = true }
        loop.awaitRoom(channel.slot)
    }

    /// The server is ending: says so when its task has read what has come.
    func stop() {
        let close = WebSocketClose(.goingAway, WebSocketChannel.stopping, by: .here, isClean: false)
        let isDone = shared.withLock { shared -> Bool in
            if shared.close == nil { shared.close = close }
            return shared.reader != nil
        }
        if isDone {
            note(nil)
            beginClosing(.goingAway, WebSocketChannel.stopping)
        }
    }

    // MARK: Reading

    /// The next message; nil after a normal end.
    @inline(__always) func read() async throws(WebSocketError) -> WebSocketMessage? {
        guard let owner, owner == TaskMark.current else { return try await readGuarded() }
        // The way of every message: one short frame, one lock.
        switch await wait(0) {
        case .message(let message): return message
        case let answer: return try end(of: answer)
        }
    }

    /// Of another task than the owner.
    private func readGuarded() async throws(WebSocketError) -> WebSocketMessage? {
        let ticket = shared.withLock { shared in
            shared.ticket += 1
            return shared.ticket
        }
        let answer = await withTaskCancellationHandler {
            await wait(ticket)
        } onCancel: {
            cancel(ticket)
        }
        if case .message(let message) = answer { return message }
        return try end(of: answer)
    }

    @inline(__always) private func wait(_ ticket: UInt64) async -> ReadAnswer { await Waiter.wait { waiter in place(waiter, ticket) } }

    /// Resumes the reader with what is there, or leaves it where the next message finds it.
    private func place(_ waiter: consuming Waiter<ReadAnswer>, _ ticket: UInt64) {
        var waiter: Waiter<ReadAnswer>? = consume waiter
        var wasPaused = false, isLast = false
        let answer = shared.withLock { shared -> ReadAnswer? in
            if let message = shared.received.popFirst() {
                shared.receivedCount -= message.count + Self.overhead
                if shared.isPaused, shared.receivedCount <= receiveLimit / 2 { (wasPaused, shared.isPaused) = (true, false) }
                return .message(message)
            }
            if shared.close != nil {
                (isLast, shared.isDone) = (!shared.isDone, true)
                return .ended
            }
            // A task's flag is set before its handler takes the lock: either it is seen here, or the handler finds the reader.
            if ticket == 0 ? shared.isOwnerCancelled : Task.isCancelled { return .cancelled }
            if shared.reader != nil { return .busy }
            if let waiter = waiter.take() { shared.reader = Reader(waiter: waiter, ticket: ticket) }
            return nil
        }
        if wasPaused { onLoop { $0.readOn(on: $1) } }
        if isLast { allRead() }
        if let answer, let waiter = waiter.take() { waiter.resume(returning: answer) }
    }

    /// What came has been answered: the end may be said.
    private func allRead() {
        onLoop { [self] channel, loop in
            // Answers that were sent from elsewhere are in front.
            if hasOutbox.load(ordering: .relaxed) { empty(channel, on: loop) }
            if channel.machine.value.owesFarewell {
                channel.sayFarewell(on: loop)
            } else if let close = shared.withLock({ $0.close }), close.by == .here {
                channel.close(close.code, close.reason, on: loop)
            }
        }
    }

    private func end(of answer: ReadAnswer) throws(WebSocketError) -> WebSocketMessage? {
        switch answer {
        case .message(let message): return message
        case .cancelled: throw .cancelled
        case .busy: throw .busy
        case .ended:
            let close = shared.withLock { $0.close }
            guard let close, !close.isNormal else { return nil }
            throw .closed(close)
        }
    }

    /// The owner's task was cancelled: ends its wait, and those to come.
    func cancelOwner() {
        let reader = shared.withLock { shared -> Reader? in
            shared.isOwnerCancelled = true
            return Self.takeReader(0, &shared)
        }
        if let reader { reader.waiter.resume(returning: .cancelled) }
    }

    private func cancel(_ ticket: UInt64) {
        let reader = shared.withLock { shared in Self.takeReader(ticket, &shared) }
        if let reader { reader.waiter.resume(returning: .cancelled) }
    }

    private static func takeReader(_ ticket: UInt64, _ shared: inout Shared) -> Reader? {
        let isIt =
            switch shared.reader {
            case .some(let reader): reader.ticket == ticket
            case nil: false
            }
        return isIt ? shared.reader.take() : nil
    }
}

/// Where a core finds its channel, which it must not release elsewhere than on the loop.
final class WebSocketPlace {
    var channel: WebSocketChannel?
}
