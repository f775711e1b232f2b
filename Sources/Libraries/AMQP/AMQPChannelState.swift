internal import MartletAMQPProtocol
internal import MartletBytes
internal import MartletClient

/// A channel on the loop: what waits to be sent on it, what waits for an answer, its consumers, and what it must be told in another connection.
/// ```
/// unopened -> opening -> open -> closing -> ended
///    ^------------------- loss --'
/// ```
/// What tasks asked leaves in their order (`line`), but acknowledgements go first: they are never held with the publishers. In a transaction
/// they keep their place.
final class AMQPChannelState {
    enum Phase { case unopened, opening, open, closing, ended }
    enum Mode { case plain, confirming, transactional }

    let number: UInt16
    /// `nil`: the carrier of a recovery.
    let handle: AMQPChannel?
    unowned let session: AMQPClientSession
    var opening: AMQPReply<Void>?
    /// It stands in the session's line of those that have something to say.
    var isReady = false
    var phase = Phase.unopened
    var mode = Mode.plain
    var line = Line<AMQPCommand>()
    /// Before `line`: what a new connection is told first.
    var urgent = Line<AMQPRequest>()
    /// Before `line`: what was not confirmed by the connection before.
    var resending = Line<AMQPPublication>()
    var settlements = Line<AMQPSettlement>()
    /// Sent, and without an answer.
    var pending = Line<AMQPRequest>()
    var confirms = AMQPConfirms()
    var consumers: [AMQPConsumer] = []
    /// Deliveries of another count no more: their tags are another connection's, or were recovered.
    var epoch: UInt32 = 0
    /// basic.recover has gone: acknowledgements of what it takes back must not follow.
    var isRecovering = false
    /// channel.flow: the server wants no messages.
    var isStopped = false
    /// The transaction has published or acknowledged.
    var hasWork = false
    /// channel.close waits in the line.
    var isClosing = false
    /// It has waited long enough for what stands before it.
    var isOverdue = false
    /// Work of the transaction was lost with a connection.
    var isSpoiled = false
    var channelPrefetch: UInt16?
    /// Of the consumers that come next, as the server knows it.
    var consumerPrefetch: UInt16 = 0
    var pieces: AMQPPieces?

    init(_ number: UInt16, _ handle: AMQPChannel?, in session: AMQPClientSession) {
        self.number = number
        self.handle = handle
        self.session = session
    }

    var isEnded: Bool { phase == .ended }
    /// Nothing waits to be sent.
    var isDrained: Bool { line.isEmpty && urgent.isEmpty && resending.isEmpty && settlements.isEmpty }
    /// An answer or a confirm stands behind the deliveries.
    var awaitsAnswer: Bool { !pending.isEmpty || confirms.count > 0 }

    func consumer(_ tag: String) -> AMQPConsumer? { consumers.first { $0.terms.consumerTag == tag } }

    // MARK: From the tasks

    func add(_ commands: [AMQPCommand], _ settlements: [AMQPSettlement]) {
        for command in commands {
            switch command {
            case .publish(let publication): if !session.admits(publication) { continue }
            case .request(let request): if case .channelClose = request.method { isClosing = true }
            case .settle: break
            }
            line.append(command)
        }
        self.settlements.append(contentsOf: settlements)
    }

    /// Nobody wants it any more.
    func close() {
        if phase == .unopened { return end(.closed) }
        isClosing = true
        line.append(.request(AMQPRequest(.channelClose(.init(replyCode: 200, replyText: Array("closed".utf8))), .channel)))
        session.mark(self)
    }

    // MARK: To the server

    /// Sends what may be sent. Answers false if the socket takes no more for now.
    func pump(through stream: AMQPStream) -> Bool {
        switch phase {
        case .open: break
        case .unopened:
            phase = .opening
            do throws(AMQPMisuse) {
                try stream.send(.channelOpen(.init()), on: number)
            } catch { end(.misuse(method: "channel.open", reason: error.sentence)) }
            return true
        case .opening, .closing, .ended: return true
        }
        while !urgent.isEmpty {
            guard stream.takesMore else { return false }
            if let request = urgent.popFirst() { send(request, through: stream) }
        }
        guard sendSettlements(through: stream) else { return false }
        while let publication = resending.first {
            guard stream.takesMore else { return false }
            guard mayPublish else { return true }
            resending.removeFirst()
            if !publication.isAbandoned { send(publication, through: stream) }
        }
        while !line.isEmpty {
            guard stream.takesMore else { return false }
            switch line[0] {
            case .publish(let publication):
                guard mayPublish else { return true }
                line.removeFirst()
                session.leaves(publication)
                if !publication.isAbandoned { send(publication, through: stream) }
            case .request(let request):
                // After it the machine hears nothing of this channel.
                if case .channelClose = request.method, awaitsAnswer, !isOverdue { return true }
                line.removeFirst()
                send(request, through: stream)
                guard phase == .open else { return true }
            case .settle(let settlement):
                line.removeFirst()
                send(settlement, through: stream)
            }
        }
        return true
    }

    private var mayPublish: Bool { !session.isBlocked && !isStopped }

    private func sendSettlements(through stream: AMQPStream) -> Bool {
        guard !isRecovering else { return true }
        while !settlements.isEmpty {
            guard stream.takesMore else { return false }
            if let settlement = settlements.popFirst() { send(settlement, through: stream) }
        }
        return true
    }

    private func send(_ settlement: AMQPSettlement, through stream: AMQPStream) {
        guard settlement.epoch == epoch else {
            if mode == .transactional { isSpoiled = true }
            return
        }
        hasWork = true
        let tag = settlement.deliveryTag
        switch settlement.verdict {
        case .ack: try? stream.send(.basicAck(.init(deliveryTag: tag, multiple: settlement.multiple)), on: number)
        case .nack, .nackRequeue:
            try? stream.send(
                .basicNack(.init(deliveryTag: tag, multiple: settlement.multiple, requeue: settlement.verdict == .nackRequeue)), on: number)
        case .reject, .rejectRequeue: try? stream.send(.basicReject(.init(deliveryTag: tag, requeue: settlement.verdict == .rejectRequeue)), on: number)
        }
    }

    private func send(_ publication: AMQPPublication, through stream: AMQPStream) {
        if mode == .plain, publication.awaitsConfirm { send(AMQPRequest(.confirmSelect(.init()), .channel), through: stream) }
        let key = publication.exchange.isEmpty ? session.topology.renamed(routingKey: publication.routingKey) : publication.routingKey
        do throws(AMQPMisuse) {
            try stream.publish(publication, routingKey: key, on: number)
        } catch {
            return publication.complete(.misuse(method: "basic.publish", reason: error.sentence))
        }
        if mode == .confirming { confirms.sent(publication) } else { hasWork = true }
        if mode != .confirming || !publication.awaitsConfirm { session.completions.complete(publication) }
    }

    private func send(_ request: AMQPRequest, through stream: AMQPStream) {
        guard !request.isAbandoned, prepare(request, through: stream) else { return }
        do throws(AMQPMisuse) {
            try stream.send(session.topology.renamed(request.method), on: number)
        } catch {
            if let terms = request.consumer { consumers.removeAll { $0.terms.consumerTag == terms.consumerTag } }
            return request.resolve(.failure(.misuse(method: request.method.id.dotted, reason: error.sentence)))
        }
        switch request.method {
        case .confirmSelect: mode = .confirming
        case .txSelect:
            if mode != .transactional { hasWork = false }
            mode = .transactional
            handle?.beTransactional()
        case .txCommit, .txRollback: (hasWork, isSpoiled) = (false, false)
        case .basicRecover: isRecovering = true
        case .channelClose: phase = .closing
        default: break
        }
        pending.append(request)
    }

    /// What must be before the request; answers false when it is done with without the server.
    private func prepare(_ request: AMQPRequest, through stream: AMQPStream) -> Bool {
        switch request.method {
        case .basicConsume:
            guard let terms = request.consumer else { return true }
            if let known = consumer(terms.consumerTag) {
                guard known.terms.inbox === terms.inbox else {
                    request.resolve(.failure(.misuse(method: "basic.consume", reason: "the channel has a consumer \"\(terms.consumerTag)\"")))
                    return false
                }
            } else {
                consumers.append(AMQPConsumer(terms))
            }
            if terms.prefetch != consumerPrefetch {
                consumerPrefetch = terms.prefetch
                send(AMQPRequest(.basicQos(.init(prefetchCount: terms.prefetch)), .channel), through: stream)
            }
        case .basicCancel(let cancel): return consumers.contains { $0.tag == cancel.consumerTag }
        case .txCommit where isSpoiled:
            (hasWork, isSpoiled) = (false, false)
            // What the new connection holds of it is taken back.
            send(AMQPRequest(.txRollback, .channel), through: stream)
            request.resolve(.failure(.transactionLost(server: session.connection.server)))
            return false
        default: break
        }
        return true
    }
}
