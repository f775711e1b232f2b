internal import MartletAMQPProtocol
internal import MartletBytes
internal import MartletClient
internal import MartletDriver
internal import MartletEventLoop
internal import MartletNet

/// One connection to a server: its machine on the loop, and the session it speaks for.
///
/// Not here: anything that outlives the connection (`AMQPClientSession`).
final class AMQPStream: Channel, StallingChannel {
    let session: AMQPClientSession
    private var machine: AMQPClientMachine
    private unowned let loop: EventLoop
    private let outputMax: Int
    private let began: Instant
    private var ending: AMQPError?
    /// connection.close has gone, or comes when all has left.
    private(set) var isLeaving = false
    private var hasSaidClose = false
    private var leaveDeadline = Instant.never

    init(_ session: AMQPClientSession, _ options: AMQPConnectionOptions, now: Instant) {
        self.session = session
        loop = session.loop
        outputMax = options.limits.outputMax
        began = now
        machine = AMQPClientMachine(limits: options.machineLimits, now: now)
        super.init()
    }

    var channelMax: UInt16 { machine.channelMax }

    func tuneOk(to tune: AMQPMethod<[UInt8]>.ConnectionTune) -> AMQPMethod<[UInt8]> { machine.tuneOk(to: tune) }

    func send(_ message: AMQPOutgoing) throws(AMQPMisuse) { try loop.send(message, through: &machine, slot: slot) }

    func send(_ method: AMQPMethod<[UInt8]>, on channel: UInt16) throws(AMQPMisuse) { try send(.method(channel: channel, method)) }

    func publish(_ publication: AMQPPublication, routingKey: String, on channel: UInt16) throws(AMQPMisuse) {
        loop.willWrite(slot)
        try machine.publish(
            channel: channel, exchange: publication.exchange.utf8.span, routingKey: routingKey.utf8.span, mandatory: publication.isMandatory,
            properties: publication.properties.span, body: publication.body.span, into: &loop[output: slot])
    }

    /// Whether publishers may go on writing.
    var takesMore: Bool { loop[output: slot].count < outputMax || loop.flushEarly(slot, limit: outputMax) }

    override var deadline: Instant { min(machine.deadline, leaveDeadline, session.closeDeadline) }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        // The machine is taken once a read, not once an event.
        let (used, error) = Self.handle(bytes, session, &machine, slot, loop)
        session.handOver()
        if let error {
            // What the server said of its own, it is answered; the machine has said goodbye for the violations that it found itself.
            if case .connectionLost(_, .exception) = error { try? send(.connectionCloseOk, on: 0) }
            if case .refused = error { try? send(.connectionCloseOk, on: 0) }
            if case .connectionLost(_, .unexpected) = error { sayClose() }
            end(error)
        } else {
            work()
        }
        return used
    }

    private static func handle(
        _ bytes: Span<UInt8>, _ session: AMQPClientSession, _ machine: inout AMQPClientMachine, _ slot: UInt32, _ loop: EventLoop
    ) -> (used: Int, AMQPError?) {
        var end: AMQPError?
        do throws(AMQPViolation) {
            let used = try loop.drive(&machine, over: bytes, slot: slot) { event, _ in
                end = session.handle(event, in: bytes)
                return end == nil
            }
            return (end == nil ? used : bytes.count, end)
        } catch {
            return (bytes.count, .connectionLost(server: session.connection.server, .violation(error)))
        }
    }

    override func wake(on loop: EventLoop) {
        if loop.now >= leaveDeadline { return loop.close(self, .finished) }
        if loop.now >= session.closeDeadline { session.closeOverdue() }
        guard slot != 0 else { return }
        // Who does not listen cannot say that the server is silent.
        if session.isReadingPaused { machine.heard(at: loop.now) }
        let isOpen = session.hasOpened, isSecured = loop.layer(of: slot)?.isOpen ?? true
        do throws(AMQPViolation) {
            try loop.wake(&machine, slot: slot)
        } catch {
            let server = session.connection.server
            if isOpen {
                end(.connectionLost(server: server, .violation(error)))
            } else if isSecured {
                end(.noAnswer(server: server, after: session.options.connectTimeout))
            } else {
                end(.unreachable(NetError(.timedOut, .handshake, server, elapsed: loop.now - began)))
            }
        }
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        AMQPClientTenant.on(loop)?.forget(self)
        let server = session.connection.server
        let error: AMQPError =
            switch reason {
            case _ where ending != nil: ending ?? .closed
            case .failed(let errno): .connectionLost(server: server, .failed(errno: errno))
            case .layerFailed(let failure) where failure.isAboutCertificate || failure.kind == .handshakeFailed:
                .unreachable(NetError(failure, .handshake, server, elapsed: loop.now - began))
            case .layerFailed(let failure): .connectionLost(server: server, .layerFailed(failure))
            case .finished, .stopping: .closed
            case .ended, .refused: .connectionLost(server: server, .ended)
            }
        if isLeaving { session.end(.closed) } else { session.lost(error) }
    }

    /// Ends the connection; the session decides what then.
    func end(_ error: AMQPError) {
        guard slot != 0 else { return }
        ending = error
        loop.finish(self, .finished)
    }

    /// connection.close goes when all that was published has left.
    func leave(within time: Duration) {
        guard !isLeaving else { return }
        isLeaving = true
        leaveDeadline = loop.now + time
        work()
        if slot != 0 { loop.schedule(self) }
    }

    private func sayClose() { try? send(.connectionClose(.init(replyCode: 200, replyText: Array("closed".utf8))), on: 0) }

    /// The server has agreed to connection.close.
    func left() {
        ending = .closed
        loop.finish(self, .finished)
    }

    /// Writes what may be written. What the socket does not take now goes on after it took some (`ClientTenant.tickEnded`).
    func work() {
        guard slot != 0 else { return }
        let isStalled = !session.pump(through: self)
        guard slot != 0 else { return }
        if isLeaving, !hasSaidClose, session.isDrained {
            hasSaidClose = true
            sayClose()
        }
        loop.pauseReading(slot, session.isReadingPaused && !isLeaving)
        if isStalled { AMQPClientTenant.on(loop)?.stall(self, on: loop) }
    }

    /// Whether the socket took enough since `work` stalled.
    var hasRoom: Bool { slot == 0 || loop.unsentCount(slot) <= outputMax / 2 }
}
