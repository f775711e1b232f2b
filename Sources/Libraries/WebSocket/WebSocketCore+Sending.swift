internal import MartletBytes
internal import MartletEventLoop
internal import Synchronization

/// Sending and the end of a connection, from any thread.
extension WebSocketCore {
    /// On the loop the message goes into the tick's output; elsewhere into the outbox, which the loop empties once for all that is in it.
    func send(_ message: WebSocketMessage) async throws(WebSocketError) {
        if loop.isCurrent {
            guard let channel else { throw closed }
            if hasOutbox.load(ordering: .relaxed) { empty(channel, on: loop) }
            do throws(WebSocketMisuse) { if try channel.send(message, on: loop) { return } } catch { throw failure(error) }
        } else {
            guard let hasRoom = put(.message(message), count: message.count) else { throw closed }
            if hasRoom { return }
        }
        try await waitForRoom()
    }

    /// Nil: nothing may be sent any more. Or whether there is room for more.
    func put(_ sent: Sent, count: Int) -> Bool? {
        let (isOpen, tellsLoop, isFull) = shared.withLock { shared in
            // What answers to messages that came before an end still goes.
            guard !shared.isOver, !shared.isDone else { return (false, false, false) }
            shared.outbox.append(sent)
            shared.outboxCount += count
            let tellsLoop = !shared.isLoopTold
            shared.isLoopTold = true
            hasOutbox.store(true, ordering: .relaxed)
            return (true, tellsLoop, shared.isFull || shared.outboxCount > WebSocketChannel.highWater)
        }
        guard isOpen else { return nil }
        if tellsLoop { onLoop { [self] channel, loop in empty(channel, on: loop) } }
        return !isFull
    }

    private func waitForRoom() async throws(WebSocketError) {
        if Task.isCancelled { throw .cancelled }
        let room = Once<RoomAnswer>()
        awaitRoom(room)
        let answer = await withTaskCancellationHandler {
            await room.wait()
        } onCancel: {
            room.resume(returning: .cancelled)
        }
        switch answer {
        case .room: return
        case .cancelled: throw .cancelled
        case .closed: throw closed
        }
    }

    private func awaitRoom(_ room: Once<RoomAnswer>) {
        guard !loop.isCurrent else {
            guard let channel else { room.resume(returning: .closed); return }
            return channel.awaitRoom(room, on: loop)
        }
        loop.execute { [self] loop in
            guard let channel else { room.resume(returning: .closed); return }
            empty(channel, on: loop)
            channel.awaitRoom(room, on: loop)
        }
    }

    /// How it is closed, as the error of a call.
    var closed: WebSocketError {
        .closed(shared.withLock { $0.close } ?? WebSocketClose(.abnormal, "", by: .nobody, isClean: false))
    }

    private func failure(_ misuse: WebSocketMisuse) -> WebSocketError { misuse == .closed ? closed : .misuse(misuse) }

    // MARK: Pings

    /// How long the peer took to answer.
    func ping() async throws(WebSocketError) -> Duration {
        let answer = Once<Bool>()
        let id = shared.withLock { shared in
            shared.pingID += 1
            return shared.pingID
        }
        let began = loop.currentTime()
        guard put(.ping(id, answer), count: 0) != nil else { throw closed }
        let isAnswered = await withTaskCancellationHandler {
            await answer.wait()
        } onCancel: {
            answer.resume(returning: false)
        }
        if isAnswered { return loop.currentTime() - began }
        if Task.isCancelled { throw .cancelled }
        throw closed
    }

    /// Of the last of the connection's own pings.
    func latency() async -> Duration? {
        let answer = Once<Duration?>()
        let ask: @Sendable (EventLoop) -> Void = { [self] _ in answer.resume(returning: channel?.machine.value.latency) }
        if loop.isCurrent { ask(loop) } else { loop.execute(ask) }
        return await answer.wait()
    }

    // MARK: The end

    /// Sends Close behind all that was sent, and returns when the peer has answered and the connection has ended, or the time for that is over.
    func close(_ code: WebSocketCloseCode, _ reason: String) async throws(WebSocketError) {
        guard code.maySend || code == .noStatusReceived && reason.isEmpty else { throw .misuse(.closeCodeInvalid) }
        guard reason.utf8.count <= 123 else { throw .misuse(.reasonTooLong) }
        let ended = Once<Void>()
        let isOver = shared.withLock { shared in
            if !shared.isOver { shared.closers.append(ended) }
            return shared.isOver
        }
        if isOver { return }
        beginClosing(code, reason)
        await withTaskCancellationHandler {
            await ended.wait()
        } onCancel: {
            // Who does not wait leaves it to the loop.
            ended.resume(returning: ())
        }
    }

    /// The same without waiting.
    func beginClosing(_ code: WebSocketCloseCode, _ reason: String) {
        shared.withLock { shared in
            shared.isDone = true
            if shared.close == nil { shared.close = WebSocketClose(code, reason, by: .here, isClean: false) }
        }
        onLoop { [self] channel, loop in
            if hasOutbox.load(ordering: .relaxed) { empty(channel, on: loop) }
            // The peer's Close is answered with its own code, and a violation is said (RFC 6455 section 5.5.1).
            if channel.machine.value.owesFarewell { channel.sayFarewell(on: loop) } else { channel.close(code, reason, on: loop) }
        }
    }

    /// Throws away what has not left, and resets the connection.
    func abort() { onLoop { channel, loop in channel.abort(on: loop) } }
}
