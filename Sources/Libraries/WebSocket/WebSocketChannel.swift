internal import MartletBytes
internal import MartletDriver
internal import MartletEventLoop
internal import MartletHTTP
internal import MartletLogging
internal import Synchronization

/// A connection on its loop: takes messages out of the bytes for its task or its callbacks, and closes it in good order.
///
/// Invariants: what a tick sends leaves in one write; a violation's Close, and the answer to the peer's, leave behind all that a task has answered to
/// what came before (`WebSocketMachine.holdsFarewell`). Not here: what tasks call (`WebSocketCore`), and rooms.
final class WebSocketChannel: Channel, HTTPSuccessor {
    struct State: OptionSet {
        var rawValue: UInt8
        /// Not read from until its output has left: it sends and does not take the answers.
        static let isHeld = State(rawValue: 1)
        /// Not read from until its task has read.
        static let isFull = State(rawValue: 2)
        /// The peer has ended its stream.
        static let hasPeerEnded = State(rawValue: 4)
        /// Bytes were shown and not used.
        static let hasUnused = State(rawValue: 8)
        static let isClient = State(rawValue: 16)
        static let isReceiving = State(rawValue: 32)
        /// Both sides agreed on permessage-deflate.
        static let deflates = State(rawValue: 64)
        /// The peer took what made room since it was last asked for a sign of life.
        static let hasTaken = State(rawValue: 128)
    }

    let home: WebSocketHome
    let machine: Pinned<WebSocketMachine>
    /// Who reads; nil: the home's callbacks. It and this hold each other until this is off the loop.
    var core: WebSocketCore?
    private(set) var seat: HTTPSeat?
    let peer: SocketAddress
    let number: UInt64
    let subprotocol: String?
    private(set) var state: State = []
    private var silence = PeerSilence()
    /// When the farewell is said, or the connection cut off, whatever is still missing.
    private var patience = Instant.never
    /// What only some connections have.
    private var more: WebSocketEnding?
    /// The rooms that it is in.
    var membership: WebSocketMembership?

    /// Output above which tasks wait, and who is served by callbacks is not read from.
    static let highWater = 1 << 18
    /// Pings that are answered while the answers do not leave.
    private static let answersMax: UInt32 = 1_000

    init(_ opening: WebSocketOpening, isClient: Bool, home: WebSocketHome) {
        self.home = home
        peer = opening.peer
        seat = opening.seat
        number = home.nextNumber()
        subprotocol = opening.agreement.subprotocol
        machine = Pinned(opening.machine(isClient: isClient, home))
        if isClient { state.insert(.isClient) }
        if opening.agreement.deflate != nil { state.insert(.deflates) }
    }

    /// It is on its loop. `core`: nil for callbacks.
    func begin(_ core: WebSocketCore?, on loop: EventLoop) {
        self.core = core
        machine.value.holdsFarewell = core != nil
        home.seen.value.opened += 1
        home.seen.value.connections += 1
        if seat?.isStopping == true { stop(on: loop) }
    }

    // MARK: Input

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        machine.value.heard(at: loop.now)
        var input = ByteReader(bytes)
        state.insert(.isReceiving)
        do throws(WebSocketViolation) {
            while slot != 0, state.isDisjoint(with: [.isHeld, .isFull]),
                let event = try machine.value.nextEvent(from: &input, into: &loop[output: slot])
            {
                switch event {
                case .text(let range): take(.text, range, on: loop)
                case .binary(let range): take(.binary, range, on: loop)
                case .part: break
                case .ping: notePing(on: loop)
                case .pong(let range): notePong(range)
                case .close(let code, let reason): note(code, reason)
                }
            }
        } catch { note(error, on: loop) }
        state.remove(.isReceiving)
        guard slot != 0 else { return bytes.count }
        let used = input.offset
        if used < bytes.count { state.insert(.hasUnused) } else { state.remove(.hasUnused) }
        settle(on: loop)
        return used
    }

    @inline(__always)
    private func take(_ kind: WebSocketMessageKind, _ range: ByteRange, on loop: EventLoop) {
        home.seen.value.messagesReceived &+= 1
        home.seen.value.bytesReceived &+= UInt64(range.count)
        // After this side's Close nobody is told what still comes.
        guard machine.value.maySend else { return }
        if let core {
            guard core.put(Self.message(machine.value, kind, range)) else { return }
            state.insert(.isFull)
            loop.pauseReading(slot, true)
        } else {
            if let events = home.events { Self.show(machine.value, kind, range, to: events, WebSocketPeer(channel: self, loop: loop)) }
            if slot != 0, loop[output: slot].count > Self.highWater { hold(on: loop) }
        }
    }

    private static func message(_ machine: borrowing WebSocketMachine, _ kind: WebSocketMessageKind, _ range: ByteRange) -> WebSocketMessage {
        WebSocketMessage(kind, machine.content.at(range))
    }

    /// The callback may send: that leaves the machine's content as it is.
    @inline(__always)
    private static func show(
        _ machine: borrowing WebSocketMachine, _ kind: WebSocketMessageKind, _ range: ByteRange, to events: WebSocketEvents, _ peer: WebSocketPeer
    ) {
        events.received(peer, kind, machine.content.at(range))
    }

    private static func text(_ machine: borrowing WebSocketMachine, _ range: ByteRange) -> String { machine.content.at(range).text }

    private static func number(_ machine: borrowing WebSocketMachine, _ range: ByteRange) -> UInt64 { machine.content.at(range).uint64(at: 0) }

    /// More answers wait than the peer takes.
    private func hold(on loop: EventLoop) {
        guard !loop.flushEarly(slot, limit: Self.highWater) else { return }
        state.insert(.isHeld)
        loop.pauseReading(slot, true)
        loop.awaitRoom(slot)
    }

    /// A peer that sends pings without end and takes no answer must not have them kept.
    private func notePing(on loop: EventLoop) {
        guard loop[output: slot].count > Self.highWater else { return }
        if core == nil { return hold(on: loop) }
        let more = needsMore()
        more.answers += 1
        if more.answers > Self.answersMax { cutOff(on: loop) }
    }

    private func notePong(_ range: ByteRange) {
        guard let more, !more.pings.isEmpty, range.count == 8 else { return }
        let id = Self.number(machine.value, range)
        // A pong stands for all pings before it (RFC 6455 section 5.5.3).
        for ping in more.pings where ping.id <= id { ping.answer.resume(returning: true) }
        more.pings.removeAll { $0.id <= id }
    }

    private func note(_ code: WebSocketCloseCode, _ reason: ByteRange) {
        let more = needsMore()
        if let own = more.close {
            more.close = WebSocketClose(own.code, own.reason, by: .here, isClean: true)
        } else {
            more.close = WebSocketClose(code, Self.text(machine.value, reason), by: .peer, isClean: true)
        }
        core?.note(more.close)
    }

    private func note(_ violation: WebSocketViolation, on loop: EventLoop) {
        let more = needsMore()
        switch violation {
        case .ended: more.close = more.close ?? WebSocketClose(.abnormal, "the peer ended the stream without a Close", by: .nobody, isClean: false)
        case .closeTimedOut: break
        default:
            home.seen.value.violations += 1
            if violation == .silent { home.seen.value.silent += 1 }
            var reason = violation.rawValue
            // The usual reason for silence: nobody could hear the answer.
            if violation == .silent, loop.counters.longestTick > .seconds(1) {
                reason += "; this loop was held up for \(Int(loop.counters.longestTick / .seconds(1))) s by what ran on it"
            }
            home.logger.debug("\(peer): \(reason)")
            more.close = more.close ?? WebSocketClose(violation.code, reason, by: violation == .silent ? .nobody : .here, isClean: false)
        }
        core?.note(more.close)
    }

    func needsMore() -> WebSocketEnding {
        if let more { return more }
        let fresh = WebSocketEnding()
        more = fresh
        return fresh
    }

    /// Its task has read.
    func readOn(on loop: EventLoop) {
        guard slot != 0, state.contains(.isFull) else { return }
        state.remove(.isFull)
        guard !state.contains(.isHeld) else { return }
        proceed(on: loop)
    }

    private func proceed(on loop: EventLoop) {
        loop.pauseReading(slot, false)
        if state.contains(.hasUnused) { loop.showAgain(slot) } else if state.contains(.hasPeerEnded) { endInput(on: loop) }
        loop.schedule(self)
    }

    override func receiveEnd(on loop: EventLoop) {
        state.insert(.hasPeerEnded)
        // What came before is read first.
        if state.isDisjoint(with: [.isHeld, .isFull]) { endInput(on: loop) }
    }

    private func endInput(on loop: EventLoop) {
        guard slot != 0 else { return }
        do throws(WebSocketViolation) { try machine.value.receiveEnd(at: loop.now, into: &loop[output: slot]) } catch { note(error, on: loop) }
        settle(on: loop)
    }

    // MARK: Output

    /// Answers whether there is room for more.
    func send(_ kind: WebSocketMessageKind, _ content: Span<UInt8>, on loop: EventLoop) throws(WebSocketMisuse) -> Bool {
        guard slot != 0 else { throw .closed }
        loop.willWrite(slot)
        try machine.value.send(kind, content, into: &loop[output: slot])
        home.seen.value.messagesSent &+= 1
        return hasRoom(on: loop)
    }

    func send(_ message: WebSocketMessage, on loop: EventLoop) throws(WebSocketMisuse) -> Bool {
        switch message {
        case .text(let text): return try send(.text, text.utf8.span, on: loop)
        case .binary(let bytes): return try send(.binary, bytes.span, on: loop)
        }
    }

    @inline(__always)
    func hasRoom(on loop: EventLoop) -> Bool {
        let count = loop[output: slot].count
        if count <= Self.highWater { return true }
        if count > home.outputMax { cutOff(on: loop) }
        return false
    }

    /// It takes too little, and memory is bounded: what waits may still leave within `EventLoopLimits.linger`, and a Close behind it.
    func cutOff(on loop: EventLoop) {
        guard slot != 0 else { return }
        let reason = "it takes too little of what it is sent"
        home.seen.value.tooSlow += 1
        do throws(WebSocketMisuse) { try machine.value.close(.policyViolation, reason: reason.utf8.span, into: &loop[output: slot]) } catch {}
        needsMore().close = WebSocketClose(.policyViolation, reason, by: .here, isClean: false)
        core?.note(more?.close)
        loop.finish(self, .refused(reason))
    }

    func awaitRoom(_ answer: Once<WebSocketCore.RoomAnswer>, on loop: EventLoop) {
        guard slot != 0 else { answer.resume(returning: .closed); return }
        guard loop.unsentCount(slot) > Self.highWater || loop.isBlocked(slot) else { answer.resume(returning: .room); return }
        needsMore().writers.append(answer)
        loop.awaitRoom(slot)
    }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) {
        guard !blocked else { return }
        state.insert(.hasTaken)
        membership?.refill(on: loop)
        guard slot != 0 else { return }
        core?.noteRoom()
        if let more {
            more.answers = 0
            let writers = more.writers
            more.writers = []
            for writer in writers { writer.resume(returning: .room) }
        }
        guard state.contains(.isHeld) else { return }
        state.remove(.isHeld)
        if !state.contains(.isFull) { proceed(on: loop) }
    }

    func ping(_ answer: Once<Bool>, _ id: UInt64, on loop: EventLoop) {
        guard slot != 0, machine.value.maySend else { answer.resume(returning: false); return }
        var payload = ByteBuffer()
        payload.append(id)
        loop.willWrite(slot)
        do throws(WebSocketMisuse) {
            try machine.value.ping(payload.span, into: &loop[output: slot])
            needsMore().pings.append((id, answer))
        } catch { answer.resume(returning: false) }
    }

    // MARK: Time

    override var deadline: Instant { min(machine.value.deadline, patience) }

    override func wake(on loop: EventLoop) {
        if loop.now >= patience {
            patience = .never
            if machine.value.owesFarewell { return sayFarewell(on: loop) }
            guard machine.value.isClosed else { return core?.beginClosing(.goingAway, Self.stopping) ?? () }
            return loop.finish(self, .finished)
        }
        // While it is not read from, or takes what stands before the ping, its silence is no sign of death.
        let isExcused = silence.isExcused(slot, on: loop), hasTaken = state.contains(.hasTaken)
        state.remove(.hasTaken)
        if isExcused || hasTaken && loop.isBlocked(slot) { machine.value.heard(at: loop.now) }
        do throws(WebSocketViolation) { try machine.value.wake(at: loop.now, into: &loop[output: slot]) } catch {
            note(error, on: loop)
            // Nobody is there whom answers could reach.
            machine.value.sayFarewell(into: &loop[output: slot])
        }
        settle(on: loop)
    }

    // MARK: The end

    /// The peer's Close is answered, and a violation's said: its task has answered all that came before.
    func sayFarewell(on loop: EventLoop) {
        guard slot != 0, machine.value.owesFarewell else { return }
        if let core, core.hasOutbox.load(ordering: .relaxed) { core.empty(self, on: loop) }
        guard slot != 0 else { return }
        loop.willWrite(slot)
        machine.value.sayFarewell(into: &loop[output: slot])
        settle(on: loop)
    }

    /// The server is ending.
    func stop(on loop: EventLoop) {
        guard slot != 0, machine.value.maySend else { return }
        guard let core else { return _ = close(.goingAway, Self.stopping, on: loop) }
        // A task that does not read is not asked.
        if patience == .never { patience = loop.now + .seconds(1) }
        core.stop()
        if slot != 0 { loop.schedule(self) }
    }

    static let stopping = "the server is ending"

    /// Takes leave; the rest is the peer's Close, or `WebSocketLimits.closeTimeout`. Answers false if that was done before, or cannot be said so.
    @discardableResult
    func close(_ code: WebSocketCloseCode, _ reason: String, on loop: EventLoop) -> Bool {
        guard slot != 0 else { return false }
        loop.willWrite(slot)
        let wasOwing = machine.value.owesFarewell
        do throws(WebSocketMisuse) { try machine.value.close(code, reason: reason.utf8.span, into: &loop[output: slot]) } catch { return false }
        if !wasOwing { needsMore().close = WebSocketClose(code, reason, by: .here, isClean: false) }
        // What its task has not read it will not, and the peer's Close has to be seen.
        state.remove(.isFull)
        if !state.contains(.isHeld), !state.contains(.isReceiving) { proceed(on: loop) }
        if !state.contains(.isReceiving) { settle(on: loop) }
        return true
    }

    /// After anything that the machine was told: what is to be written is written, and what has ended is closed.
    private func settle(on loop: EventLoop) {
        guard slot != 0 else { return }
        if !loop[output: slot].isEmpty { loop.willWrite(slot) }
        if machine.value.owesFarewell {
            if patience == .never { patience = loop.now + home.limits.closeTimeout }
            if core?.isDone == true { sayFarewell(on: loop) }
        } else if machine.value.isClosed {
            // A client's connection is ended by its server (RFC 6455 section 7.1.1).
            guard state.contains(.isClient), more?.close?.isClean == true, !state.contains(.hasPeerEnded) else { return loop.finish(self, .finished) }
            if patience == .never { patience = loop.now + home.limits.closeTimeout }
        }
        if slot != 0 { loop.schedule(self) }
    }

    func abort(on loop: EventLoop) { if slot != 0 { loop.abort(self, .finished) } }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        home.seen.value.connections -= 1
        while let membership { membership.end() }
        let close = more?.close ?? WebSocketClose(.abnormal, "\(reason)", by: .nobody, isClean: false)
        if close.by == .nobody { home.seen.value.lost += 1 }
        for writer in more?.writers ?? [] { writer.resume(returning: .closed) }
        for ping in more?.pings ?? [] { ping.answer.resume(returning: false) }
        if let core {
            core.end(close)
        } else {
            home.events?.closed(WebSocketPeer(channel: self, loop: loop), close)
            seat?.leave()
        }
        core = nil
        seat = nil
    }
}

/// What a connection has only sometimes: who waits, and how it ends.
final class WebSocketEnding {
    var close: WebSocketClose?
    var writers: [Once<WebSocketCore.RoomAnswer>] = []
    var pings: [(id: UInt64, answer: Once<Bool>)] = []
    /// Pings that were answered since the output had room.
    var answers: UInt32 = 0
}
