internal import MartletBytes
internal import MartletEventLoop
internal import Synchronization

extension ZMQSocket where Pattern == ZMQReq {
    /// Sends a request to one of the peers, in turn, and waits for its reply.
    ///
    /// A request that is given up, by `timeout` or by cancelling the task, is over: its reply is not taken for the next one's, as the connection it
    /// went over is made anew (or, with `correlatesRequests`, by its number). So a program tries again by calling this again.
    /// Throws `requestUnderWay`, or with `supersedesRequests` in the earlier call `superseded`; `peerLost`, `timedOut`, `cancelled`, `closed`.
    public func request(_ message: ZMQMessage, timeout: Duration? = nil) async throws(ZMQError) -> ZMQMessage {
        try await core.request(message, until: core.deadline(timeout))
    }
}

extension SocketCore {
    /// An empty frame, which parts the envelope from the message (RFC 28).
    static let delimiter = ZMQMessage()

    func request(_ message: ZMQMessage, until deadline: Instant) async throws(ZMQError) -> ZMQMessage {
        let correlation = try await beginRequest(until: deadline)
        do throws(ZMQError) {
            let reply = try await ask(message, correlation, until: deadline)
            endRequest()
            return reply
        } catch {
            await giveUp()
            throw error
        }
    }

    /// Waits until one that is under way has given up, if it may be superseded.
    private func beginRequest(until deadline: Instant) async throws(ZMQError) -> UInt32 {
        while true {
            let once = Once<Void>()
            let (number, sleepers) = try shared.withLock { shared throws(ZMQError) -> (UInt32?, [Once<Void>]) in
                if shared.isAsking {
                    guard options.supersedesRequests else { throw .requestUnderWay }
                    shared.isSuperseded = true
                    let sleepers = shared.readers + shared.takeWriters()
                    shared.readers = [once]
                    return (nil, sleepers)
                }
                shared.isAsking = true
                shared.isSuperseded = false
                shared.isAskedLost = false
                shared.asked = nil
                shared.requests &+= 1
                return (shared.requests, [])
            }
            for sleeper in sleepers { sleeper.resume(returning: ()) }
            if let number { return number }
            try await sleep(on: once, until: deadline)
        }
    }

    private func endRequest() {
        let sleepers = shared.withLock { shared -> [Once<Void>] in
            shared.isAsking = false
            defer { shared.readers = [] }
            return shared.readers
        }
        for sleeper in sleepers { sleeper.resume(returning: ()) }
    }

    /// The peer is not to be heard any more, unless replies have numbers.
    private func giveUp() async {
        let asked = shared.withLock { shared -> PeerName? in
            defer { shared.asked = nil }
            if let asked = shared.asked { shared.state.dropUnsent(to: asked) }
            return options.correlatesRequests || shared.isAskedLost ? nil : shared.asked
        }
        if let asked { await drop(asked) }
        endRequest()
    }

    /// Ends a peer's connection.
    func drop(_ peer: PeerName) async { await askLoop { host in host.drop(peer) } }

    private func ask(_ message: ZMQMessage, _ correlation: UInt32, until deadline: Instant) async throws(ZMQError) -> ZMQMessage {
        let number = stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: correlation >> $0) }
        // What is there answers an earlier one.
        while case .message = take() { shared.withLock { $0.state.counters.droppedUnwanted += 1 } }
        let prefix = options.correlatesRequests ? ZMQMessage(frames: [number, []]) : Self.delimiter
        while true {
            let outcome = try commit(message, prefix, from: 0) { shared in
                let outcome = shared.state.offer(message, prefix)
                if outcome == .sent { shared.asked = shared.state.name(shared.state.lastTaker) }
                return outcome
            }
            if outcome == .sent { break }
            if isSuperseded { throw .superseded }
            try await waitForRoom(until: deadline)
        }
        let envelope = prefix.count
        while true {
            switch take() {
            case .message(let reply, let peer):
                let isOurs = shared.withLock { $0.asked == peer } && reply.count > envelope && (0..<envelope).allSatisfy { reply[$0] == prefix[$0] }
                if isOurs { return reply.suffix(from: envelope) }
                shared.withLock { $0.state.counters.droppedUnwanted += 1 }
            case .closed: throw .closed
            case .nothing:
                if shared.withLock({ $0.isAskedLost }) { throw .peerLost }
                if isSuperseded { throw .superseded }
                try await waitForMessage(until: deadline)
            }
        }
    }

    private var isSuperseded: Bool { shared.withLock { $0.isSuperseded } }

    /// The next request: what its envelope is, what it says, and whom to answer. What has no envelope is dropped (RFC 28).
    func nextRequest(until deadline: Instant) async throws(ZMQError) -> ZMQRequest {
        while true {
            let (message, peer) = try await receive(until: deadline)
            if message.count == 2, message.ends[0] == 0 {
                return ZMQRequest(core: self, peer: peer, envelope: Self.delimiter, message: ZMQMessage(bytes: message.bytes, ends: []))
            }
            guard let empty = (0..<message.count).first(where: { message.range(of: $0).isEmpty }), empty + 1 < message.count else {
                shared.withLock { $0.state.counters.droppedUnwanted += 1 }
                continue
            }
            return ZMQRequest(core: self, peer: peer, envelope: message.prefix(empty + 1), message: message.suffix(from: empty + 1))
        }
    }
}

/// A request that was taken, to be answered once. One that is dropped stays unanswered.
public struct ZMQRequest: ~Copyable, Sendable {
    let core: SocketCore
    let peer: PeerName
    let envelope: ZMQMessage
    /// What was asked, without its envelope.
    public let message: ZMQMessage

    /// Answers it. A peer that has gone meanwhile does not get it (`ZMQCounters.droppedUnroutable`). Throws `closed`, `cancelled`.
    public consuming func reply(_ reply: ZMQMessage) async throws(ZMQError) {
        let envelope = envelope, peer = peer, core = core
        while try core.commit(reply, envelope, from: 0, { $0.state.reply(reply, envelope, to: peer) }) == .full {
            try await core.waitForRoom(for: .peer(peer), until: .never)
        }
    }
}

extension ZMQSocket where Pattern == ZMQRep {
    /// The next request, of each peer that has one in turn. Throws `closed`, `cancelled`, `timedOut` after `timeout`.
    public func nextRequest(timeout: Duration? = nil) async throws(ZMQError) -> ZMQRequest { try await core.nextRequest(until: core.deadline(timeout)) }

    /// Answers requests, one after the other, until the socket is closed or the task cancelled. Throws `cancelled`, or what `answer` throws.
    public func serve(_ answer: (ZMQMessage) async throws -> ZMQMessage) async throws {
        while true {
            let request: ZMQRequest
            do throws(ZMQError) { request = try await nextRequest() } catch {
                if error == .closed { return }
                throw error
            }
            let reply = try await answer(request.message)
            try await request.reply(reply)
        }
    }
}
