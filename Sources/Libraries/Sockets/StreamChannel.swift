internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet
internal import MartletTLS
internal import Synchronization

/// A connection on its loop: gives what arrives to the task that reads, or keeps it up to the limit, and tells writers when there is room.
///
/// Not here: anything a task calls (`StreamCore`). The two hold each other until the channel is off the loop.
final class StreamChannel: Channel {
    var core: StreamCore?
    /// The nearest of the times below.
    private var nearest = Instant.never
    private var readDeadline = Instant.never
    /// Writers that wait for room.
    private var writers: [(answer: Once<StreamCore.RoomAnswer>, deadline: Instant)] = []
    private var hasFinished = false
    private var hasOutputEnded = false
    /// Who waits for the end, until when, and when to ask the kernel again whether the peer has everything.
    private var closer: Once<StreamCore.RoomAnswer>?
    private var closeDeadline = Instant.never
    private var confirmAt = Instant.never
    /// Who waits for the layer to open, and until when.
    private var opener: Once<StreamCore.RoomAnswer>?
    private var openDeadline = Instant.never
    private var confirmDelay = Duration.milliseconds(1)

    // MARK: The layer

    func awaitOpening(_ answer: Once<StreamCore.RoomAnswer>, until deadline: Instant, on loop: EventLoop) {
        guard slot != 0 else { answer.resume(returning: .closed); return }
        if loop.layer(of: slot)?.isOpen ?? true { return open(answer, on: loop) }
        opener = answer
        openDeadline = deadline
        reschedule(on: loop)
    }

    override func secured(on loop: EventLoop) {
        guard let opener else { return }
        self.opener = nil
        openDeadline = .never
        open(opener, on: loop)
    }

    private func open(_ answer: Once<StreamCore.RoomAnswer>, on loop: EventLoop) {
        if let session = loop.tlsSession(of: slot) { core?.shared.withLock { $0.session = [session] } }
        answer.resume(returning: .room)
    }

    // MARK: Input

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let core else { return bytes.count }
        let chunk = bytes.array
        var isFull = false
        let reader = core.shared.withLock { shared -> StreamCore.Reader? in
            if let reader = shared.reader.take() { return reader }
            // Once nobody may use it, what comes is thrown away.
            if shared.closed != nil { return nil }
            let limit = core.options.receiveLimit
            if shared.received.isEmpty { shared.received = chunk } else { shared.received += chunk }
            isFull = shared.received.count >= limit
            if isFull { shared.isPaused = true }
            return nil
        }
        if let reader {
            reader.waiter.resume(returning: .bytes(chunk))
        } else if isFull {
            loop.pauseReading(slot, true)
        }
        return bytes.count
    }

    override func receiveEnd(on loop: EventLoop) {
        guard let core else { return }
        let reader = core.shared.withLock { shared -> StreamCore.Reader? in
            shared.hasEnded = true
            return shared.reader.take()
        }
        if let reader { reader.waiter.resume(returning: .ended) }
    }

    // MARK: Output

    /// Moves what was written elsewhere into the output, and the end after it.
    func empty(on loop: EventLoop) {
        guard let core else { return }
        var bytes: [UInt8] = []
        let slot = slot
        let wantsEnd = core.shared.withLock { shared in
            swap(&bytes, &shared.outbox)
            shared.isLoopTold = false
            core.hasOutbox.store(false, ordering: .relaxed)
            return shared.wantsEnd
        }
        guard slot != 0, !hasFinished else { return }
        if !bytes.isEmpty {
            loop.willWrite(slot)
            loop[output: slot].append(bytes.span)
            if loop[output: slot].count > StreamCore.highWater {
                core.shared.withLock { $0.isFull = true }
                loop.awaitRoom(slot)
            }
        }
        if wantsEnd {
            hasFinished = true
            core.outputSlot.store(0, ordering: .relaxed)
            loop.finishWriting(self)
        }
    }

    func awaitRoom(_ answer: Once<StreamCore.RoomAnswer>, until deadline: Instant, on loop: EventLoop) {
        empty(on: loop)
        guard slot != 0 else { answer.resume(returning: .closed); return }
        guard loop[output: slot].count > StreamCore.highWater || loop.isBlocked(slot) else { answer.resume(returning: .room); return }
        writers.append((answer, deadline))
        loop.awaitRoom(slot)
        reschedule(on: loop)
    }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) {
        guard !blocked else { return }
        core?.shared.withLock { $0.isFull = false }
        let waiting = writers
        writers = []
        for writer in waiting { writer.answer.resume(returning: .room) }
    }

    override func outputEnded(on loop: EventLoop) {
        hasOutputEnded = true
        if closer != nil { confirm(on: loop) }
    }

    // MARK: The end

    /// What has left may still be lost, and who closes is told.
    override func bothEnded(on loop: EventLoop) {
        if loop.unconfirmedCount(slot) > 0 { loop.stayEnded(slot) } else { loop.close(self, .ended) }
    }

    func beginClosing(_ answer: Once<StreamCore.RoomAnswer>, until deadline: Instant, on loop: EventLoop) {
        guard slot != 0, let core else {
            answer.resume(returning: hasLostOutput ? .closed : .room)
            return
        }
        guard closer == nil else { answer.resume(returning: .room); return }
        core.shared.withLock { $0.wantsEnd = true }
        closer = answer
        closeDeadline = deadline
        empty(on: loop)
        // What the peer still says is thrown away; its end has to be seen.
        loop.pauseReading(slot, false)
        if hasOutputEnded { confirm(on: loop) } else { reschedule(on: loop) }
    }

    /// Done when the peer's machine has everything. On a local network that is now; elsewhere the kernel is asked again.
    private func confirm(on loop: EventLoop) {
        guard slot != 0 else { return }
        guard loop.unconfirmedCount(slot) > 0 else { return endClosing(.room, on: loop) }
        confirmAt = loop.currentTime() + confirmDelay
        confirmDelay = min(confirmDelay * 2, .milliseconds(64))
        reschedule(on: loop)
    }

    private func endClosing(_ answer: StreamCore.RoomAnswer, on loop: EventLoop) {
        let closer = closer
        self.closer = nil
        if slot != 0 { loop.finish(self, .finished) }
        closer?.resume(returning: answer)
    }

    func leave(on loop: EventLoop) {
        empty(on: loop)
        if slot != 0 { loop.finish(self, .finished) }
    }

    /// Leaves the connection to another channel. Nil if it has ended, or its output is to.
    func surrender(on loop: EventLoop) -> Transport? {
        empty(on: loop)
        guard let core, slot != 0, !hasFinished else { return nil }
        self.core = nil
        core.outputSlot.store(0, ordering: .relaxed)
        var unread: [UInt8] = []
        let reader = core.shared.withLock { shared -> StreamCore.Reader? in
            swap(&unread, &shared.received)
            shared.closed = .finished
            shared.descriptor = -1
            return shared.reader.take()
        }
        if let reader { reader.waiter.resume(returning: .closed) }
        let waiting = writers
        writers = []
        for writer in waiting { writer.answer.resume(returning: .closed) }
        // The loop may not have shown this channel everything.
        var transport = loop.surrender(self)
        transport.unread = unread + transport.unread
        return transport
    }

    // MARK: Time

    func watchReader(until deadline: Instant, on loop: EventLoop) {
        readDeadline = min(readDeadline, deadline)
        reschedule(on: loop)
    }

    private func reschedule(on loop: EventLoop) {
        var nearest = min(readDeadline, closeDeadline, confirmAt, openDeadline)
        for writer in writers { nearest = min(nearest, writer.deadline) }
        self.nearest = nearest
        if slot != 0 { loop.schedule(self) }
    }

    override var deadline: Instant { nearest }

    override func wake(on loop: EventLoop) {
        if loop.now >= readDeadline { endRead(on: loop) }
        for writer in writers where loop.now >= writer.deadline { writer.answer.resume(returning: .timedOut) }
        writers.removeAll { loop.now >= $0.deadline }
        if loop.now >= confirmAt {
            confirmAt = .never
            confirm(on: loop)
        }
        if loop.now >= openDeadline {
            openDeadline = .never
            opener?.resume(returning: .timedOut)
        }
        if slot != 0, loop.now >= closeDeadline { endClosing(.timedOut, on: loop) }
        reschedule(on: loop)
    }

    /// The reader's time is over, unless another reads by now.
    private func endRead(on loop: EventLoop) {
        readDeadline = .never
        guard let core else { return }
        let now = loop.now
        var next = Instant.never
        let late = core.shared.withLock { shared -> StreamCore.Reader? in
            switch shared.reader {
            case .some(let reader): next = reader.deadline
            case nil: return nil
            }
            return next <= now ? shared.reader.take() : nil
        }
        if let late { late.waiter.resume(returning: .timedOut) }
        if next > now { readDeadline = next }
    }

    // MARK: Off the loop

    private var hasLostOutput = false

    /// Something that was written has not left, or the peer's machine may not have it. How it leaves once it has all is the peer's own affair: with a
    /// reset, since it does not read our end, or without TLS's farewell.
    private func hasUnconfirmed(_ reason: CloseReason, on loop: EventLoop) -> Bool {
        if loop.unsentCount(slot) > 0 || closer != nil && !hasOutputEnded { return true }
        // Of a connection that goes on, an end that was never sent would count.
        if case .layerFailed = reason, closer == nil { return false }
        // A Unix socket's peer resets only what it has not read.
        return core?.peer.kind == .unix || loop.unconfirmedCount(slot) > 0
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        guard let core else { return }
        core.outputSlot.store(0, ordering: .relaxed)
        let isFailure =
            switch reason {
            case .failed, .layerFailed: true
            case .ended, .finished, .refused, .stopping: false
            }
        hasLostOutput = isFailure && hasUnconfirmed(reason, on: loop)
        self.core = nil
        let reader = core.shared.withLock { shared -> StreamCore.Reader? in
            if isFailure, !shared.outbox.isEmpty { hasLostOutput = true }
            if shared.closed == nil || hasLostOutput { shared.closed = reason }
            shared.outbox = []
            shared.descriptor = -1
            return shared.reader.take()
        }
        opener?.resume(returning: .closed)
        opener = nil
        if let reader { reader.waiter.resume(returning: reason == .ended ? .ended : .closed) }
        for writer in writers { writer.answer.resume(returning: .closed) }
        writers = []
        if let closer {
            self.closer = nil
            closer.resume(returning: hasLostOutput ? .closed : .room)
        }
    }
}
