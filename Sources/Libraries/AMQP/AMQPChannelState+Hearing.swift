internal import MartletAMQPProtocol
internal import MartletBytes
internal import MartletClient

/// What the server says on a channel, and its ends.
extension AMQPChannelState {
    /// A method without content, or one whose content comes in pieces. Answers why the connection is over, if it is.
    func heard(_ method: AMQPMethod<[UInt8]>) -> AMQPError? {
        switch method {
        case .channelOpenOk:
            phase = .open
            opening?.resolve(.success(()))
            opening = nil
            session.mark(self)
        case .channelClose(let close):
            session.answer(.channelCloseOk, on: number)
            return closed(
                AMQPException(
                    code: close.replyCode, text: String(decoding: close.replyText, as: UTF8.self), classID: close.classID, methodID: close.methodID))
        case .channelCloseOk: end(.closed)
        case .channelFlow(let flow):
            isStopped = !flow.active
            session.answer(.channelFlowOk(.init(active: flow.active)), on: number)
            session.mark(self)
        case .basicNack(let nack): confirmed(nack.deliveryTag, multiple: nack.multiple, isAck: false)
        case .basicCancel(let cancel):
            if !cancel.noWait { session.answer(.basicCancelOk(.init(consumerTag: cancel.consumerTag)), on: number) }
            cancelled(cancel.consumerTag)
        case .basicDeliver, .basicReturn, .basicGetOk: pieces = AMQPPieces(method: method)
        default: return answered(method)
        }
        return nil
    }

    private func closed(_ exception: AMQPException) -> AMQPError? {
        if handle == nil, let recovery = session.recovery, recovery.carrier === self {
            end(.channelClosed(exception))
            return recovery.refused(exception)
        }
        // A consumer of its own that the server still holds for the lost connection.
        if exception.replyCode == .accessRefused, let request = pending.first, case .channel = request.purpose, request.consumer?.isExclusive == true,
            session.mayTryAgain
        {
            return .channelClosed(exception)
        }
        end(.channelClosed(exception))
        return nil
    }

    /// basic.ack and basic.nack of what was published.
    func confirmed(_ tag: UInt64, multiple: Bool, isAck: Bool) {
        confirms.confirmed(tag, multiple: multiple, isAck: isAck, &session.completions)
        if confirms.count == 0, !line.isEmpty { session.mark(self) }
    }

    // MARK: Answers

    private func answered(_ method: AMQPMethod<[UInt8]>) -> AMQPError? {
        if isOverdue { return nil }
        guard let index = (0..<pending.count).first(where: { pending[$0].method.isAnswered(by: method) }) else {
            return .connectionLost(server: session.connection.server, .unexpected(method: method.id.dotted))
        }
        let request = pending.remove(at: index)
        if !line.isEmpty { session.mark(self) }
        if case .recovery = request.purpose {
            session.recovery?.answered(method)
            return nil
        }
        var answer = AMQPAnswer.method(method)
        switch (request.method, method) {
        case (.queueDeclare(let declare), .queueDeclareOk(let ok)):
            let label = session.topology.note(declare, named: ok.queue)
            answer = .queue(AMQPQueue(label, messageCount: Int(ok.messageCount), consumerCount: Int(ok.consumerCount)))
        case (.basicCancel(let cancel), _): ended(cancel.consumerTag)
        case (.basicQos(let qos), _): if qos.global { channelPrefetch = qos.prefetchCount }
        case (.basicRecover, _): recovered()
        default: session.topology.note(request.method)
        }
        request.resolve(.success(answer))
        return nil
    }

    /// The tags of before are gone; the server delivers all of it again.
    private func recovered() {
        isRecovering = false
        epoch += 1
        for consumer in consumers {
            consumer.dropUnacknowledged()
            session.relieve(consumer)
        }
        session.mark(self)
    }

    /// The consumer was cancelled here: what nobody took goes back.
    private func ended(_ tag: [UInt8]) {
        guard let consumer = remove(tag) else { return }
        for delivery in consumer.close() where delivery.needsAck && delivery.epoch == epoch {
            settlements.append(AMQPSettlement(deliveryTag: delivery.deliveryTag, epoch: epoch, verdict: .nackRequeue, multiple: false))
        }
        session.mark(self)
    }

    /// The server has ended the consumer.
    private func cancelled(_ tag: [UInt8]) {
        guard let consumer = remove(tag) else { return }
        _ = consumer.handOver()
        consumer.terms.inbox.end(.failure(.consumerCancelled(queue: consumer.terms.queue)))
    }

    private func remove(_ tag: [UInt8]) -> AMQPConsumer? {
        guard let index = consumers.firstIndex(where: { $0.tag == tag }) else { return nil }
        let consumer = consumers.remove(at: index)
        session.relieve(consumer)
        session.unconsumed(consumer.terms.queue)
        return consumer
    }

    // MARK: Messages

    func arrived(_ method: AMQPMethod<ByteRange>, _ header: AMQPContentHeader, _ body: ByteRange, in bytes: Span<UInt8>) {
        guard case .basicDeliver(let deliver) = method, let handle else {
            return arrived(method.owned(in: bytes), AMQPContent(header, body, in: bytes))
        }
        let tag = bytes.at(deliver.consumerTag)
        guard let consumer = consumers.first(where: { $0.isNamed(tag) }) else { return }
        if consumer.deliver(deliver, header, body, in: bytes, of: handle, epoch: epoch) { session.touch(consumer) }
    }

    private func arrived(_ method: AMQPMethod<[UInt8]>, _ content: AMQPContent) {
        guard let handle else { return }
        func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
        switch method {
        case .basicDeliver(let deliver):
            guard let consumer = consumers.first(where: { $0.tag == deliver.consumerTag }) else { return }
            let delivery = AMQPDelivery(
                content: content, exchange: text(deliver.exchange), routingKey: text(deliver.routingKey), deliveryTag: deliver.deliveryTag, channel: handle,
                epoch: epoch, needsAck: !consumer.terms.takesAsAcknowledged, isRedelivered: deliver.redelivered)
            if consumer.add(delivery) { session.touch(consumer) }
        case .basicGetOk(let ok):
            let index = (0..<pending.count).first { pending[$0].method.id == .basicGet }
            guard let index, case .basicGet(let get) = pending[index].method else { return }
            let request = pending.remove(at: index)
            let delivery = AMQPDelivery(
                content: content, exchange: text(ok.exchange), routingKey: text(ok.routingKey), deliveryTag: ok.deliveryTag, channel: handle, epoch: epoch,
                needsAck: !get.noAck, isRedelivered: ok.redelivered)
            if request.isAbandoned, !get.noAck {
                settlements.append(AMQPSettlement(deliveryTag: ok.deliveryTag, epoch: epoch, verdict: .nackRequeue, multiple: false))
            }
            request.resolve(.success(.message((delivery, messageCount: Int(ok.messageCount)))))
            session.mark(self)
        case .basicReturn(let back):
            let (exchange, routingKey, words) = (text(back.exchange), text(back.routingKey), text(back.replyText))
            if confirms.returned(exchange, routingKey, content.body, code: back.replyCode, text: words) { return }
            handle.cameBack(
                AMQPReturn(
                    code: back.replyCode, text: words, exchange: exchange, routingKey: routingKey, properties: content.properties, body: content.body))
        default: break
        }
    }

    /// The content header of a message in pieces.
    func began(_ header: AMQPContentHeader, in bytes: Span<UInt8>) {
        pieces?.content = AMQPContent(header, .empty, in: bytes)
        // What the server announces is not believed beyond a frame or so.
        pieces?.content?.body.reserveCapacity(min(Int(clamping: header.bodySize), 1 << 20))
        if header.bodySize == 0 { finishPieces() }
    }

    func went(on piece: Span<UInt8>, remaining: UInt64) {
        pieces?.append(piece)
        if remaining == 0 { finishPieces() }
    }

    private func finishPieces() {
        if let pieces, let content = pieces.content { arrived(pieces.method, content) }
        pieces = nil
    }

    // MARK: The ends

    /// The connection is gone: what the next is told first.
    func connectionLost(_ error: AMQPError) {
        if isClosing { return end(.closed) }
        let reconnect = session.options.reconnect
        phase = .unopened
        epoch += 1
        (isStopped, isRecovering, isReady, pieces, consumerPrefetch) = (false, false, false, nil, 0)
        _ = settlements.removeAll()
        if hasWork, mode == .transactional { isSpoiled = true }
        hasWork = false
        let unanswered = urgent.removeAll() + pending.removeAll()
        let unconfirmed = resending.removeAll() + confirms.removeAll()
        if reconnect.republishes {
            resending.append(contentsOf: unconfirmed)
        } else {
            for publication in unconfirmed { publication.complete(error) }
        }
        for consumer in consumers {
            consumer.dropUnacknowledged()
            session.relieve(consumer)
        }
        prepareAgain(unanswered, error)
    }

    private func prepareAgain(_ unanswered: [AMQPRequest], _ error: AMQPError) {
        switch mode {
        case .plain: break
        case .confirming: urgent.append(AMQPRequest(.confirmSelect(.init()), .channel))
        case .transactional: urgent.append(AMQPRequest(.txSelect, .channel))
        }
        if let channelPrefetch { urgent.append(AMQPRequest(.basicQos(.init(prefetchCount: channelPrefetch, global: true)), .channel)) }
        for request in unanswered {
            guard case .basicCancel(let cancel) = request.method, let consumer = remove(cancel.consumerTag) else { continue }
            _ = consumer.close()
            request.resolve(.success(.method(.basicCancelOk(.init(consumerTag: cancel.consumerTag)))))
        }
        for consumer in consumers where !unanswered.contains(where: { $0.consumer?.inbox === consumer.terms.inbox }) {
            urgent.append(AMQPRequest(consumer.terms.method, .channel, consumer: consumer.terms))
        }
        for request in unanswered {
            switch (request.method, request.purpose) {
            case (.txCommit, _): request.resolve(.failure(error))
            case (.basicRecover, _): request.resolve(.success(.method(.basicRecoverOk)))
            case (.basicCancel, _), (.confirmSelect, _), (.txSelect, .channel), (.basicQos, .channel), (_, .recovery): break
            case (.basicConsume, .channel) where !consumers.contains { $0.terms.inbox === request.consumer?.inbox }: break
            default: urgent.append(request)
            }
        }
    }

    /// Closing takes too long: who waits for it goes on, and what stands before it is given up. The number stays taken until the server has answered.
    func closeOverdue() {
        guard phase != .ended else { return }
        isOverdue = true
        letGo(.closed)
        if phase == .open { close() }
    }

    /// For good.
    func end(_ error: AMQPError) {
        guard phase != .ended else { return }
        phase = .ended
        session.forget(self)
        letGo(error)
    }

    /// Tells all that wait.
    private func letGo(_ error: AMQPError) {
        opening?.resolve(.failure(error))
        for publication in resending.removeAll() + confirms.removeAll() { publication.complete(error) }
        for request in urgent.removeAll() + pending.removeAll() { resolveAtEnd(request, error) }
        for command in line.removeAll() {
            switch command {
            case .publish(let publication):
                session.leaves(publication)
                publication.complete(error)
            case .request(let request): resolveAtEnd(request, error)
            case .settle: break
            }
        }
        for consumer in consumers {
            session.relieve(consumer)
            _ = consumer.handOver()
            if case .closed = error { consumer.terms.inbox.end(.success(())) } else { consumer.terms.inbox.end(.failure(error)) }
        }
        consumers = []
        handle?.end(error)
    }

    /// Who asked for the end has got it.
    private func resolveAtEnd(_ request: AMQPRequest, _ error: AMQPError) {
        if case .channelClose = request.method { request.resolve(.success(.method(.channelCloseOk))) } else { request.resolve(.failure(error)) }
    }
}

extension AMQPMethod<[UInt8]> {
    /// RabbitMQ's queues answer consume and cancel themselves, so that these answers keep no order with the channel's.
    fileprivate func isAnswered(by answer: AMQPMethod<[UInt8]>) -> Bool {
        switch (self, answer) {
        case (.basicConsume(let consume), .basicConsumeOk(let ok)): consume.consumerTag == ok.consumerTag
        case (.basicCancel(let cancel), .basicCancelOk(let ok)): cancel.consumerTag == ok.consumerTag
        case (.basicGet, .basicGetEmpty), (.exchangeUnbind, .exchangeUnbindOk): true
        case (.exchangeUnbind, _): false
        default: answer.id.rawValue == id.rawValue + 1
        }
    }
}
