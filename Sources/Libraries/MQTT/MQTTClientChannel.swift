internal import MartletBytes
internal import MartletClient
internal import MartletDriver
internal import MartletEventLoop
internal import MartletMQTTProtocol
internal import MartletNet
internal import MartletTLS

/// One connection to a server: its machine on the loop, and the session it speaks for.
///
/// Not here: anything that outlives the connection (`MQTTClientSession`).
final class MQTTClientChannel: Channel, StallingChannel {
    let session: MQTTClientSession
    private var machine: MQTTClientMachine
    private let options: MQTTClientOptions
    private unowned let loop: EventLoop
    private var ending: MQTTClientError?
    private var leaving: MQTTReply<Void>?
    private var leaveDeadline = Instant.never
    private let began: Instant

    init(_ session: MQTTClientSession, _ options: MQTTClientOptions, now: Instant) {
        self.session = session
        self.options = options
        loop = session.loop
        began = now
        var limits = MQTTLimits()
        limits.connectTimeout = options.connectTimeout
        // Before v5 the server is not told: what it may send is bounded by its own limits.
        limits.packetSizeMax = options.version == .v5 ? Int(options.packetSizeMax) : 256 << 20
        machine = MQTTClientMachine(limits: limits, now: now)
        super.init()
    }

    func send(_ message: MQTTClientOutgoing) throws(MQTTMisuse) { try loop.send(message, through: &machine, slot: slot) }

    /// Whether publishers may go on writing.
    var takesMore: Bool { loop[output: slot].count < options.limits.outputMax || loop.flushEarly(slot, limit: options.limits.outputMax) }

    override var deadline: Instant { min(machine.deadline, leaveDeadline) }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard leaving == nil else { return bytes.count }
        // The machine is taken once a read, not once an event.
        let (used, error) = Self.handle(bytes, session, &machine, slot, loop)
        session.handOver()
        if let error {
            // The machine has said goodbye for the violations that it found itself.
            if case .connectionLost(_, .violation(let violation)) = error {
                try? send(.disconnect(reason: violation.reason, sessionExpiry: nil))
            } else if case .authenticationFailed = error {
                try? send(.disconnect(reason: .unspecifiedError, sessionExpiry: nil))
            }
            end(error)
        } else {
            work()
        }
        return used
    }

    private static func handle(
        _ bytes: Span<UInt8>, _ session: MQTTClientSession, _ machine: inout MQTTClientMachine, _ slot: UInt32, _ loop: EventLoop
    ) -> (used: Int, MQTTClientError?) {
        var end: MQTTClientError?
        do throws(MQTTViolation) {
            let used = try loop.drive(&machine, over: bytes, slot: slot) { event, _ in
                end = session.handle(event, in: bytes)
                return end == nil
            }
            return (end == nil ? used : bytes.count, end)
        } catch {
            return (bytes.count, .connectionLost(server: session.client.server, .violation(error)))
        }
    }

    override func wake(on loop: EventLoop) {
        if loop.now >= leaveDeadline { return loop.close(self, .finished) }
        // Who does not listen cannot say that the server is silent.
        if session.isReadingPaused { machine.heard(at: loop.now) }
        let isOpen = session.isOpen, isThrough = loop.layer(of: slot)?.isOpen ?? true
        let isUpgrading = options.webSocketPath != nil && (options.tls == nil || loop.tlsSession(of: slot) != nil)
        let before = loop[output: slot].count
        do throws(MQTTViolation) {
            try loop.wake(&machine, slot: slot)
            if loop[output: slot].count > before { session.trace("sending PINGREQ") }
        } catch {
            let server = session.client.server
            if isOpen {
                end(.connectionLost(server: server, .violation(error)))
            } else if isThrough {
                end(.noAnswer(server: server, after: options.connectTimeout))
            } else if isUpgrading {
                end(.unreachable(NetError(.timedOut, .read, server, elapsed: loop.now - began, detail: "no answer to the WebSocket handshake")))
            } else {
                end(.unreachable(NetError(.timedOut, .handshake, server, elapsed: loop.now - began)))
            }
        }
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        MQTTClientTenant.on(loop)?.forget(self)
        let server = session.client.server
        let error: MQTTClientError =
            switch reason {
            case _ where ending != nil: ending ?? .closed
            case .failed(let errno): .connectionLost(server: server, .failed(errno: errno))
            case .layerFailed(let failure) where failure.isAboutCertificate || [.handshakeFailed, .upgradeRefused].contains(failure.kind):
                .unreachable(NetError(failure, .handshake, server, elapsed: loop.now - began))
            case .layerFailed(let failure): .connectionLost(server: server, .layerFailed(failure))
            case .finished, .stopping: .closed
            case .ended, .refused: .connectionLost(server: server, .ended)
            }
        if leaving != nil { session.end(.closed) } else { session.lost(error) }
        leaving?.resolve(.success(()))
    }

    /// Ends the connection; the session decides what then.
    func end(_ error: MQTTClientError) {
        guard slot != 0 else { return }
        ending = error
        loop.finish(self, .finished)
    }

    /// Says DISCONNECT; `reply` is resolved when it has left, or could not in time.
    func leave(_ reply: MQTTReply<Void>, sessionExpiry: UInt32?) {
        guard leaving == nil else { return reply.resolve(.success(())) }
        _ = session.pump(through: self)
        try? send(.disconnect(reason: .normalDisconnection, sessionExpiry: sessionExpiry))
        session.trace("sending DISCONNECT")
        leaving = reply
        leaveDeadline = loop.now + options.limits.leaveTimeout
        work()
        if slot != 0 { loop.schedule(self) }
    }

    /// Writes what may be written. What the socket does not take now goes on after it took some (`MQTTClientTenant.tickEnded`).
    func work() {
        guard slot != 0 else { return }
        var isStalled: Bool
        if leaving != nil {
            if !loop[output: slot].isEmpty { _ = loop.flushEarly(slot, limit: 1) }
            if loop.unsentCount(slot) == 0 { return loop.finish(self, .finished) }
            isStalled = true
        } else {
            isStalled = !session.pump(through: self)
            loop.pauseReading(slot, session.isReadingPaused)
        }
        if isStalled { MQTTClientTenant.on(loop)?.stall(self, on: loop) }
    }

    /// Whether the socket took enough since `work` stalled.
    var hasRoom: Bool { slot == 0 || loop.unsentCount(slot) <= (leaving == nil ? options.limits.outputMax / 2 : 0) }
}
