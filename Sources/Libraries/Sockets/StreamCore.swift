internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet
internal import MartletTLS
internal import Synchronization

/// One connection as its tasks see it: what has arrived and was not read, what was written elsewhere than on the loop, and who reads.
///
/// Invariants: one task reads at a time; a byte that arrived is given to one read, and a read that ends without it leaves it for the next.
/// The lock is held for a few instructions and never over a call. Not here: the loop's side (`StreamChannel`).
final class StreamCore: Sendable {
    struct Shared: ~Copyable {
        var received: [UInt8] = []
        var reader: Reader?
        /// When the reader began to wait.
        var began = Instant.never
        /// The last reader that was numbered.
        var ticket: UInt64 = 0
        var isOwnerCancelled = false
        /// The peer has ended its stream.
        var hasEnded = false
        /// It is off the loop, or nobody may use it any more.
        var closed: CloseReason?
        /// It failed with bytes that had not left.
        var hasLostOutput = false
        /// Nothing is read from the peer until `received` was taken.
        var isPaused = false
        /// Written elsewhere than on the loop.
        var outbox: [UInt8] = []
        var wantsEnd = false
        /// The loop was told to look at the outbox.
        var isLoopTold = false
        /// The loop's output has no room: who writes elsewhere waits.
        var isFull = false
        /// What TLS agreed on: none or one, since most connections have none.
        var session: [TLSSession] = []
        var securing: Duration = .zero
        /// -1 once it is closed.
        var descriptor: Int32
    }
    struct Reader: ~Copyable {
        let waiter: Waiter<ReadAnswer>
        /// 0: the owner's.
        let ticket: UInt64
        let deadline: Instant
    }
    enum ReadAnswer: Sendable {
        case bytes([UInt8])
        case ended, timedOut, cancelled, closed, busy
    }

    let loop: EventLoop
    let peer: SocketAddress
    let steps: Dialer.Steps?
    let options: StreamOptions
    /// The task whose cancellation `cancelOwner` tells: it waits without a handler of its own.
    let owner: TaskMark?
    let shared: Mutex<Shared>
    private let bound: LoopBound<StreamChannel>
    /// The row to write to from the loop; 0 once nothing may be written.
    let outputSlot = Atomic<UInt32>(0)
    /// There may be something in the outbox, or the end to send: looked at without the lock, by who was told of it by other means.
    let hasOutbox = Atomic(false)

    /// Output above which writers wait; they go on below `EventLoopLimits.outputLowWater`.
    static let highWater = 1 << 18

    /// On the loop: takes the transport over. Nil, and its descriptor closed, when the loop is full.
    init?(
        _ transport: Transport, peer: SocketAddress, steps: Dialer.Steps? = nil, options: StreamOptions, owner: TaskMark?, on loop: EventLoop
    ) {
        self.loop = loop
        self.peer = peer
        self.steps = steps
        self.options = options
        self.owner = owner
        shared = Mutex(Shared(descriptor: transport.descriptor))
        let channel = StreamChannel()
        bound = LoopBound(channel, on: loop)
        guard let slot = loop.add(channel, transport) else { return nil }
        channel.core = self
        outputSlot.store(slot, ordering: .relaxed)
    }

    /// On the loop.
    var channel: StreamChannel { bound() }

    /// Now, if this is the loop, or in its next tick.
    func onLoop(_ body: @escaping @Sendable (StreamChannel, EventLoop) -> Void) {
        if loop.isCurrent { body(channel, loop) } else { loop.execute { [self] in body(channel, $0) } }
    }

    // MARK: Reading

    /// What has arrived, at least one byte; nil after the peer's end.
    @inline(__always) func read(timeout: Duration?) async throws(NetError) -> [UInt8]? {
        guard timeout == nil, let owner, owner == TaskMark.current else { return try await readGuarded(timeout: timeout) }
        // The way of every message: one short frame, one lock.
        switch await wait(0, until: .never) {
        case .bytes(let bytes): return bytes
        case .ended: return nil
        case let answer: throw error(of: answer)
        }
    }

    /// A read with a deadline, or of another task than the owner.
    private func readGuarded(timeout: Duration?) async throws(NetError) -> [UInt8]? {
        let ticket = owner != nil && owner == TaskMark.current ? 0 : nextTicket()
        let deadline = timeout.map { loop.currentTime() + $0 } ?? .never
        let answer = await withTaskCancellationHandler {
            await wait(ticket, until: deadline)
        } onCancel: {
            if ticket != 0 { cancel(ticket) }
        }
        switch answer {
        case .bytes(let bytes): return bytes
        case .ended: return nil
        case let answer: throw error(of: answer)
        }
    }

    private func nextTicket() -> UInt64 {
        shared.withLock { shared in
            shared.ticket += 1
            return shared.ticket
        }
    }

    @inline(__always) private func wait(_ ticket: UInt64, until deadline: Instant) async -> ReadAnswer {
        await Waiter.wait { waiter in place(waiter, ticket, deadline) }
    }

    /// Resumes the reader with what is there, or leaves it where the next bytes find it.
    private func place(_ waiter: consuming Waiter<ReadAnswer>, _ ticket: UInt64, _ deadline: Instant) {
        var waiter: Waiter<ReadAnswer>? = consume waiter
        var wasPaused = false
        let began = loop.isCurrent ? loop.now : loop.currentTime()
        let answer = shared.withLock { shared -> ReadAnswer? in
            if let answer = Self.take(&shared, &wasPaused) { return answer }
            // A task's flag is set before its handler takes the lock: either it is seen here, or the handler finds the reader.
            if ticket == 0 ? shared.isOwnerCancelled : Task.isCancelled { return .cancelled }
            if shared.reader != nil { return .busy }
            shared.began = began
            if let waiter = waiter.take() { shared.reader = Reader(waiter: waiter, ticket: ticket, deadline: deadline) }
            return nil
        }
        if wasPaused { resumeReading() }
        if let answer, let waiter = waiter.take() { return waiter.resume(returning: answer) }
        if deadline != .never { onLoop { channel, loop in channel.watchReader(until: deadline, on: loop) } }
    }

    private static func take(_ shared: inout Shared, _ wasPaused: inout Bool) -> ReadAnswer? {
        guard shared.received.isEmpty else {
            var bytes: [UInt8] = []
            swap(&bytes, &shared.received)
            (wasPaused, shared.isPaused) = (shared.isPaused, false)
            return .bytes(bytes)
        }
        if shared.closed != nil { return shared.hasEnded && shared.closed == .ended ? .ended : .closed }
        return shared.hasEnded ? .ended : nil
    }

    private func resumeReading() { onLoop { channel, loop in if channel.slot != 0 { loop.pauseReading(channel.slot, false) } } }

    private func error(of answer: ReadAnswer) -> NetError {
        let began = shared.withLock { $0.began }, since = began == .never ? nil : began
        switch answer {
        case .timedOut: return error(.timedOut, .read, since: since)
        case .cancelled: return error(.cancelled, .read, since: since)
        case .busy: return NetError(.other, .read, "\(peer)", detail: "another task reads from this connection")
        case .closed, .bytes, .ended: return failure(.read, since: since)
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

    // MARK: Errors

    func error(_ kind: NetError.Kind, _ phase: NetError.Phase, since began: Instant? = nil, detail: String = "") -> NetError {
        NetError(kind, phase, "\(peer)", elapsed: began.map { loop.currentTime() - $0 } ?? .zero, detail: detail)
    }

    /// Why it is closed, as the error of a call.
    func failure(_ phase: NetError.Phase, since began: Instant? = nil) -> NetError {
        let (reason, hasEnd) = shared.withLock { ($0.closed, $0.wantsEnd) }
        switch reason {
        case .failed(let errno): return NetError(errno: errno, phase, "\(peer)", elapsed: began.map { loop.currentTime() - $0 } ?? .zero)
        case .layerFailed(let failure): return NetError(failure, phase, "\(peer)", elapsed: began.map { loop.currentTime() - $0 } ?? .zero)
        case .refused(let text): return error(.other, phase, since: began, detail: text)
        case .ended, .finished, .stopping: return error(.closed, phase, since: began)
        case nil: return error(.closed, phase, since: began, detail: hasEnd ? "after finishWriting" : "")
        }
    }
}
