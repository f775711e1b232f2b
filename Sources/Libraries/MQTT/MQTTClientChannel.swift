internal import MartletBytes
internal import MartletDriver
internal import MartletEventLoop
internal import MartletMQTTProtocol

/// One connection to a server: its machine on the loop, and the session it speaks for.
///
/// Not here: anything that outlives the connection (`MQTTClientSession`).
final class MQTTClientChannel: Channel {
    let session: MQTTClientSession
    private var machine: MQTTClientMachine
    private let options: MQTTClientOptions
    private unowned let tenant: MQTTClientTenant
    private var ending: MQTTClientError?
    private var leaving: MQTTReply<Void>?
    private var leaveDeadline = Instant.never

    init(_ session: MQTTClientSession, _ options: MQTTClientOptions, _ tenant: MQTTClientTenant, now: Instant) {
        self.session = session
        self.options = options
        self.tenant = tenant
        var limits = MQTTLimits()
        limits.connectTimeout = options.connectTimeout
        // What the server may send is bounded by its own limits and by ours on memory (one packet).
        limits.packetSizeMax = 256 << 20
        machine = MQTTClientMachine(limits: limits, now: now)
        super.init()
    }

    func connect(as clientID: String, on loop: EventLoop) {
        let connect = options.connect(clientID: clientID)
        do throws(MQTTMisuse) {
            try loop.send(.connect(connect), through: &machine, slot: slot)
            session.trace("sending CONNECT (\(clientID), v\(connect.version == .v5 ? "5" : "3.1.1"), c\(connect.cleanStart ? 1 : 0), k\(connect.keepAlive))")
        } catch {
            end(.misuse(.connect, error), on: loop)
        }
    }

    override var deadline: Instant { min(machine.deadline, leaveDeadline) }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard leaving == nil else { return bytes.count }
        // The machine is taken once a read, not once an event.
        let (used, error) = Self.handle(bytes, session, client: session.client, &machine, slot, loop)
        session.handOver()
        if let error { end(error, on: loop) } else { work(on: loop) }
        return used
    }

    private static func handle(
        _ bytes: Span<UInt8>, _ session: MQTTClientSession, client: MQTTClient, _ machine: inout MQTTClientMachine, _ slot: UInt32, _ loop: EventLoop
    ) -> (used: Int, MQTTClientError?) {
        var end: MQTTClientError?
        do throws(MQTTViolation) {
            let used = try loop.drive(&machine, over: bytes, slot: slot) { event, _ in
                end = session.handle(event, in: bytes)
                return end == nil
            }
            return (end == nil ? used : bytes.count, end)
        } catch {
            return (bytes.count, .connectionLost(server: client.server, .violation(error)))
        }
    }

    override func wake(on loop: EventLoop) {
        if loop.now >= leaveDeadline { return loop.close(self, .finished) }
        // Who does not listen cannot say that the server is silent.
        if session.isReadingPaused { machine.heard(at: loop.now) }
        let isOpen = session.isOpen
        let before = loop[output: slot].count
        do throws(MQTTViolation) {
            try loop.wake(&machine, slot: slot)
            if loop[output: slot].count > before { session.trace("sending PINGREQ") }
        } catch {
            end(
                isOpen
                    ? .connectionLost(server: session.client.server, .violation(error))
                    : .noAnswer(server: session.client.server, after: options.connectTimeout), on: loop)
        }
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        tenant.remove(self)
        let server = session.client.server
        let error: MQTTClientError =
            switch reason {
            case _ where ending != nil: ending ?? .closed
            case .failed(let errno): .connectionLost(server: server, .failed(errno: errno))
            case .finished, .stopping: .closed
            case .ended, .refused: .connectionLost(server: server, .ended)
            }
        session.end(error)
        leaving?.resolve(.success(()))
    }

    private func end(_ error: MQTTClientError, on loop: EventLoop) {
        guard slot != 0 else { return }
        ending = error
        loop.finish(self, .finished)
    }

    /// Gives up at once: nobody waits for the answer to CONNECT any more.
    func abandon(on loop: EventLoop) { loop.close(self, .finished) }

    // MARK: What the tasks ask for

    func add(_ publications: [MQTTPublication], on loop: EventLoop) {
        session.add(publications)
        work(on: loop)
    }

    func subscribe(_ number: UInt32, _ filters: [String], _ qos: MQTTQoS, _ inbox: MQTTInbox, _ reply: MQTTReply<[MQTTReason]>, on loop: EventLoop) {
        session.subscribe(number, filters, qos, inbox, reply, &machine, slot: slot, on: loop)
        work(on: loop)
    }

    func unsubscribe(_ number: UInt32, staysSubscribed: Bool, on loop: EventLoop) {
        session.unsubscribe(number, staysSubscribed: staysSubscribed, &machine, slot: slot, on: loop)
        work(on: loop)
    }

    func report(_ number: UInt32, on loop: EventLoop) {
        session.report(number)
        work(on: loop)
    }

    /// Says DISCONNECT; `reply` is resolved when it has left, or could not in time.
    func leave(_ reply: MQTTReply<Void>, on loop: EventLoop) {
        guard leaving == nil else { return reply.resolve(.success(())) }
        _ = session.pump(&machine, slot: slot, on: loop)
        try? loop.send(.disconnect(reason: .normalDisconnection, sessionExpiry: nil), through: &machine, slot: slot)
        session.trace("sending DISCONNECT")
        leaving = reply
        leaveDeadline = loop.now + options.limits.leaveTimeout
        work(on: loop)
        if slot != 0 { loop.schedule(self) }
    }

    /// Writes what may be written. What the socket does not take now goes on after it took some (`MQTTClientTenant.tickEnded`).
    func work(on loop: EventLoop) {
        guard slot != 0 else { return }
        var isStalled: Bool
        if leaving != nil {
            if !loop[output: slot].isEmpty { _ = loop.flushEarly(slot, limit: 1) }
            if loop[output: slot].isEmpty { return loop.finish(self, .finished) }
            isStalled = true
        } else {
            isStalled = !session.pump(&machine, slot: slot, on: loop)
            loop.pauseReading(slot, session.isReadingPaused)
        }
        if isStalled { tenant.stall(self, on: loop) }
    }

    /// Whether the socket took enough since `work` stalled.
    func hasRoom(on loop: EventLoop) -> Bool {
        slot == 0 || loop[output: slot].count <= (leaving == nil ? options.limits.outputMax / 2 : 0)
    }
}
