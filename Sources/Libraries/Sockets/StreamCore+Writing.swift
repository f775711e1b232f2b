internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet
internal import Synchronization

/// Writing and the end of a connection, from any thread.
extension StreamCore {
    enum RoomAnswer: Sendable { case room, timedOut, cancelled, closed }

    /// On the loop the bytes go into the tick's output; elsewhere into the outbox, which the loop empties once for all that is in it.
    func write(_ bytes: [UInt8], timeout: Duration?) async throws(NetError) {
        if loop.isCurrent {
            if hasOutbox.load(ordering: .relaxed) { channel.empty(on: loop) }
            let slot = outputSlot.load(ordering: .relaxed)
            guard slot != 0 else { throw failure(.write) }
            loop.willWrite(slot)
            loop[output: slot].append(bytes.span)
            if loop[output: slot].count <= Self.highWater { return }
        } else {
            let (isOpen, tellsLoop, isFull) = shared.withLock { shared in
                guard shared.closed == nil, !shared.wantsEnd else { return (false, false, false) }
                if shared.outbox.isEmpty { shared.outbox = bytes } else { shared.outbox += bytes }
                let tellsLoop = !shared.isLoopTold
                shared.isLoopTold = true
                hasOutbox.store(true, ordering: .relaxed)
                return (true, tellsLoop, shared.isFull || shared.outbox.count > Self.highWater)
            }
            guard isOpen else { throw failure(.write) }
            if tellsLoop { loop.execute { [self] in channel.empty(on: $0) } }
            if !isFull { return }
        }
        try await waitForRoom(timeout: timeout)
    }

    private func waitForRoom(timeout: Duration?) async throws(NetError) {
        if Task.isCancelled { throw error(.cancelled, .write) }
        let began = loop.currentTime(), room = Once<RoomAnswer>()
        let deadline = timeout.map { began + $0 } ?? .never
        onLoop { channel, loop in channel.awaitRoom(room, until: deadline, on: loop) }
        let answer = await withTaskCancellationHandler {
            await room.wait()
        } onCancel: {
            room.resume(returning: .cancelled)
        }
        switch answer {
        case .room: return
        case .timedOut: throw error(.timedOut, .write, since: began)
        case .cancelled: throw error(.cancelled, .write, since: began)
        case .closed: throw failure(.write, since: began)
        }
    }

    /// Ends our direction after everything that was written.
    func finishWriting() throws(NetError) {
        let (isOpen, tellsLoop) = shared.withLock { shared in
            guard shared.closed == nil else { return (false, false) }
            shared.wantsEnd = true
            let tellsLoop = !shared.isLoopTold
            shared.isLoopTold = true
            return (true, tellsLoop)
        }
        guard isOpen else { throw failure(.write) }
        if loop.isCurrent { channel.empty(on: loop) } else if tellsLoop { loop.execute { [self] in channel.empty(on: $0) } }
    }

    /// Waits until the layer lets bytes through. What fails ends the connection.
    func secure(timeout: Duration) async throws(NetError) {
        let began = loop.currentTime(), opened = Once<RoomAnswer>()
        onLoop { channel, loop in channel.awaitOpening(opened, until: began + timeout, on: loop) }
        let answer = await withTaskCancellationHandler {
            await opened.wait()
        } onCancel: {
            opened.resume(returning: .cancelled)
        }
        let elapsed = loop.currentTime() - began
        shared.withLock { $0.securing = elapsed }
        let failure: NetError
        switch answer {
        case .room: return
        case .timedOut: failure = error(.timedOut, .handshake, since: began)
        case .cancelled: failure = error(.cancelled, .handshake, since: began)
        case .closed: failure = self.failure(.handshake, since: began)
        }
        abort()
        throw failure
    }

    // MARK: The end

    /// Nobody may use it any more; what reads ends.
    private func forbidUse() {
        let reader = shared.withLock { shared -> Reader? in
            if shared.closed == nil || shared.closed == .ended { shared.closed = .finished }
            return shared.reader.take()
        }
        if let reader { reader.waiter.resume(returning: .closed) }
    }

    /// Sends what was written and the end, and waits until the peer's machine has confirmed it. Throws if bytes were lost, or at the deadline.
    func close(timeout: Duration) async throws(NetError) {
        let began = loop.currentTime(), answer = Once<RoomAnswer>()
        forbidUse()
        onLoop { channel, loop in channel.beginClosing(answer, until: began + timeout, on: loop) }
        let result = await withTaskCancellationHandler {
            await answer.wait()
        } onCancel: {
            if answer.resume(returning: .cancelled) { leave() }
        }
        switch result {
        case .room: return
        case .timedOut: throw error(.timedOut, .close, since: began)
        case .cancelled: throw error(.cancelled, .close, since: began)
        case .closed: throw failure(.close, since: began)
        }
    }

    /// The same without waiting: what was written still leaves within `EventLoopLimits.linger`.
    func leave() {
        forbidUse()
        onLoop { channel, loop in channel.leave(on: loop) }
    }

    /// Throws away what has not left; the peer sees a reset.
    func abort() {
        forbidUse()
        onLoop { channel, loop in loop.abort(channel, .finished) }
    }
}
