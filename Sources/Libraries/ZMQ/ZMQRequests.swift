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
        let prefix = try await beginAsking(until: deadline)
        do throws(ZMQError) {
            while try !ask(message, prefix) { try await waitForRoom(until: deadline) }
            while true {
                if let reply = try takeReply(behind: prefix) { return reply }
                try await waitForMessage(until: deadline)
            }
        } catch {
            if let asked = giveUp() { await drop(asked) }
            endAsking()
            throw error
        }
    }

    /// Waits until a request that is under way has given up, if it may be superseded.
    private func beginAsking(until deadline: Instant) async throws(ZMQError) -> ZMQMessage {
        while true {
            do throws(ZMQError) { return try beginAsking() } catch {
                guard error == .requestUnderWay, options.supersedesRequests else { throw error }
            }
            let once = Once<Void>()
            change { shared in if shared.isAsking { shared.isSuperseded = true } }
            let isWaiting = shared.withLock { shared in
                if shared.isAsking { shared.readers.append(once) }
                return shared.isAsking
            }
            if isWaiting { try await sleep(on: once, until: deadline) }
        }
    }

    /// Answers what goes in front of the request, and of its reply. Throws `requestUnderWay`.
    func beginAsking() throws(ZMQError) -> ZMQMessage {
        let correlation = try shared.withLock { shared throws(ZMQError) -> UInt32 in
            guard !shared.isAsking else { throw .requestUnderWay }
            shared.isAsking = true
            shared.isSuperseded = false
            shared.isAskedLost = false
            shared.asked = nil
            shared.requests &+= 1
            return shared.requests
        }
        // What is there answers an earlier one.
        while case .message = take() { shared.withLock { $0.state.counters.droppedUnwanted += 1 } }
        guard options.correlatesRequests else { return Self.delimiter }
        return ZMQMessage(frames: [stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: correlation >> $0) }, []])
    }

    /// Sends the request; false while nobody has room for it.
    func ask(_ message: ZMQMessage, _ prefix: ZMQMessage) throws(ZMQError) -> Bool {
        let outcome = try commit(message, prefix, from: 0) { shared in
            let outcome = shared.state.offer(message, prefix)
            if outcome == .sent { shared.asked = shared.state.name(shared.state.lastTaker) }
            return outcome
        }
        if outcome != .sent, shared.withLock({ $0.isSuperseded }) { throw .superseded }
        return outcome == .sent
    }

    /// The reply, which ends the request; nil while it has not come. Throws `closed`, `peerLost`.
    func takeReply(behind prefix: ZMQMessage) throws(ZMQError) -> ZMQMessage? {
        let envelope = prefix.count
        while true {
            switch take() {
            case .message(let reply, let peer):
                let isOurs = shared.withLock { shared in
                    guard shared.asked == peer, reply.count > envelope, (0..<envelope).allSatisfy({ reply[$0] == prefix[$0] }) else {
                        shared.state.counters.droppedUnwanted += 1
                        return false
                    }
                    shared.isAsking = false
                    return true
                }
                if isOurs {
                    if options.supersedesRequests { change { _ in } }
                    return reply.suffix(from: envelope)
                }
            case .closed: throw .closed
            case .nothing:
                let (isLost, isSuperseded) = shared.withLock { ($0.isAskedLost, $0.isSuperseded) }
                if isLost { throw .peerLost }
                if isSuperseded { throw .superseded }
                return nil
            }
        }
    }

    /// The request is over. Answers the peer that is not to be heard any more, and drops what has not left for it; none where replies have numbers.
    func giveUp() -> PeerName? {
        shared.withLock { shared -> PeerName? in
            if let asked = shared.asked { shared.state.dropUnsent(to: asked) }
            return options.correlatesRequests || shared.isAskedLost ? nil : shared.asked
        }
    }

    /// After `giveUp` and the end of that peer's connection: what had not left goes with it, since until now it is known who was asked.
    func endAsking() {
        change { shared in
            shared.asked = nil
            shared.isAsking = false
        }
    }

    /// Ends a peer's connection.
    func drop(_ peer: PeerName) async { await askLoop { host in host.drop(peer) } }

    /// The next request: what its envelope is, what it says, and whom to answer. What has no envelope is dropped (RFC 28).
    func nextRequest(until deadline: Instant) async throws(ZMQError) -> ZMQRequest {
        while true {
            let (message, peer) = try await receive(until: deadline)
            if let request = asRequest(message, peer) { return request }
        }
    }

    func asRequest(_ message: ZMQMessage, _ peer: PeerName) -> ZMQRequest? {
        if message.count == 2, message.ends[0] == 0 {
            return ZMQRequest(core: self, peer: peer, envelope: Self.delimiter, message: ZMQMessage(bytes: message.bytes, ends: []))
        }
        guard let empty = (0..<message.count).first(where: { message.range(of: $0).isEmpty }), empty + 1 < message.count else {
            shared.withLock { $0.state.counters.droppedUnwanted += 1 }
            return nil
        }
        return ZMQRequest(core: self, peer: peer, envelope: message.prefix(empty + 1), message: message.suffix(from: empty + 1))
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
