internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet
internal import Synchronization

/// One connection as its tasks see it: what has arrived and was not read, what was written elsewhere than on the loop, and who reads.
///
/// Invariants: one task reads at a time; a byte that arrived is given to one read, and a read that ends without it leaves it for the next.
/// The lock is held for a few instructions and never over a call. Not here: the loop's side (`StreamChannel`).
final class StreamCore: Sendable {
    struct Shared: ~Copyable {
        var received: [UInt8] = []
        var reader: Reader?
        /// The last reader that was numbered, and the last whose task was cancelled before it waited.
        var ticket: UInt64 = 0
        var cancelledTicket: UInt64 = 0
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

    /// Output above which writers wait; they go on below `EventLoopLimits.outputLowWater`.
    static let highWater = 1 << 18

    /// On the loop: takes the descriptor over. Nil, and the descriptor closed, when the loop is full.
    init?(_ descriptor: Int32, peer: SocketAddress, steps: Dialer.Steps? = nil, options: StreamOptions, owner: TaskMark?, on loop: EventLoop) {
        self.loop = loop
        self.peer = peer
        self.steps = steps
        self.options = options
        self.owner = owner
        shared = Mutex(Shared(descriptor: descriptor))
        let channel = StreamChannel()
        bound = LoopBound(channel, on: loop)
        guard loop.add(channel, descriptor: descriptor) != nil else { return nil }
        channel.core = self
    }

    /// On the loop.
    var channel: StreamChannel { bound() }

    /// Now, if this is the loop, or in its next tick.
    func onLoop(_ body: @escaping @Sendable (StreamChannel, EventLoop) -> Void) {
        if loop.isCurrent { body(channel, loop) } else { loop.execute { [self] in body(channel, $0) } }
    }

    // MARK: Reading

    /// What has arrived, at least one byte; nil after the peer's end.
    func read(timeout: Duration?) async throws(NetError) -> [UInt8]? {
        if let answer = take() { return try result(of: answer, since: nil) }
        if Task.isCancelled { throw error(.cancelled, .read) }
        let began = loop.isCurrent ? loop.now : loop.currentTime()
        let deadline = timeout.map { loop.currentTime() + $0 } ?? .never
        if let owner, owner == TaskMark.current { return try result(of: await wait(0, until: deadline), since: began) }
        let ticket = shared.withLock { shared in
            shared.ticket += 1
            return shared.ticket
        }
        let answer = await withTaskCancellationHandler {
            await wait(ticket, until: deadline)
        } onCancel: {
            cancel(ticket)
        }
        return try result(of: answer, since: began)
    }

    private func wait(_ ticket: UInt64, until deadline: Instant) async -> ReadAnswer {
        await Waiter.wait { waiter in
            var waiter: Waiter<ReadAnswer>? = consume waiter
            var wasPaused = false
            let answer = shared.withLock { shared -> ReadAnswer? in
                if let answer = Self.take(&shared, &wasPaused) { return answer }
                if ticket == 0 ? shared.isOwnerCancelled : shared.cancelledTicket == ticket { return .cancelled }
                if shared.reader != nil { return .busy }
                if let waiter = waiter.take() { shared.reader = Reader(waiter: waiter, ticket: ticket, deadline: deadline) }
                return nil
            }
            if wasPaused { resumeReading() }
            if let answer, let waiter = waiter.take() { return waiter.resume(returning: answer) }
            if deadline != .never { onLoop { channel, loop in channel.watchReader(until: deadline, on: loop) } }
        }
    }

    private func take() -> ReadAnswer? {
        var wasPaused = false
        let answer = shared.withLock { Self.take(&$0, &wasPaused) }
        if wasPaused { resumeReading() }
        return answer
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

    private func result(of answer: ReadAnswer, since began: Instant?) throws(NetError) -> [UInt8]? {
        switch answer {
        case .bytes(let bytes): return bytes
        case .ended: return nil
        case .timedOut: throw error(.timedOut, .read, since: began)
        case .cancelled: throw error(.cancelled, .read, since: began)
        case .busy: throw NetError(.other, .read, "\(peer)", detail: "another task reads from this connection")
        case .closed: throw failure(.read, since: began)
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
        let reader = shared.withLock { shared -> Reader? in
            shared.cancelledTicket = ticket
            return Self.takeReader(ticket, &shared)
        }
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
