import MartletBytes
import MartletCore
import MartletEventLoop
import MartletMQTTProtocol
import MartletShard
import MartletWebSocketProtocol

/// What pages ask for.
extension WebSocketGateway {
    /// One message of a page, in the machine's content. Answers why the connection is over, if it is.
    func take(_ range: ByteRange, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) -> CloseReason? {
        counters.operations += 1
        do throws(WebSocketOperationRefusal) { try Self.read(&operation.value, range, machine) } catch {
            guard channel.isIn else { return close(.policyViolation, "connect comes first", &machine, channel.slot) }
            fail(operation.value, error.description, channel, &machine)
            return nil
        }
        return perform(operation.value, channel, &machine)
    }

    private static func read(
        _ operation: inout WebSocketOperation, _ range: ByteRange, _ machine: borrowing WebSocketMachine
    ) throws(WebSocketOperationRefusal) { try operation.read(machine.content.at(range)) }

    private func perform(_ operation: borrowing WebSocketOperation, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) -> CloseReason? {
        if operation.kind == .connect { return connect(operation, channel, &machine) }
        guard channel.isIn else { return close(.policyViolation, "connect comes first", &machine, channel.slot) }
        switch operation.kind {
        case .publish: publish(operation, channel, &machine)
        case .subscribe: subscribe(operation, channel, &machine)
        case .unsubscribe: unsubscribe(operation, channel, &machine)
        case .request: request(operation, channel, &machine)
        case .connect, nil: break
        }
        return nil
    }

    private func succeed(_ operation: borrowing WebSocketOperation, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) {
        if !operation.id.isEmpty { succeed(operation.id.span, &machine, channel.slot) }
    }

    func fail(_ operation: borrowing WebSocketOperation, _ reason: String, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) {
        fail(operation.id.span, reason, &machine, channel.slot)
    }

    /// Who it is. Whoever is in already may say so again.
    private func connect(_ operation: borrowing WebSocketOperation, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) -> CloseReason? {
        guard options.authenticate(operation.hasUser ? operation.user.span.array : nil, operation.password.span.array) else {
            counters.connectionsRefused += 1
            fail(operation, "wrong user or password", channel, &machine)
            return close(.policyViolation, "wrong user or password", &machine, channel.slot)
        }
        if !channel.isIn { welcome(channel) }
        succeed(operation, channel, &machine)
        return nil
    }

    // MARK: Publishing

    /// Why its topic is none that a page may publish to.
    func refusal(of operation: borrowing WebSocketOperation) -> String? {
        guard operation.hasTopic else { return "topic is missing" }
        guard MQTTTopic.isName(operation.topic.span) else { return "topic is not the name of a topic" }
        guard !Self.begins(operation.topic.span, "$SYS/") else { return "the server alone publishes there" }
        guard !operation.hasReply || MQTTTopic.isName(operation.reply.span) else { return "reply is not the name of a topic" }
        guard operation.hasBody else { return "text or base64 is missing" }
        return nil
    }

    static func begins(_ topic: Span<UInt8>, _ prefix: StaticString) -> Bool {
        let prefix = prefix.bytes
        return topic.count >= prefix.count && topic.extracting(first: prefix.count).equals(prefix)
    }

    private func publish(_ operation: borrowing WebSocketOperation, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) {
        if let refusal = refusal(of: operation) { return fail(operation, refusal, channel, &machine) }
        counters.publishesReceived += 1
        counters.publishBytesReceived += UInt64(operation.body.count)
        writeProperties(reply: operation.hasReply ? operation.reply.span : Span(), correlation: operation.correlation.span)
        var header = MessageHeader(origin: properties.value.isEmpty ? id : options.mqtt, flags: operation.qos == 0 ? .atMostOnce : .persistent)
        if operation.retains { header.flags.insert(.retained) }
        header.publisherQueue = channel.queue
        let outcome = Self.publish(operation, properties.value, header, channel, self)
        if let outcome { answer(outcome, operation.id.span, &machine, channel.slot) }
    }

    /// Nil: what to say comes later.
    private static func publish(
        _ operation: borrowing WebSocketOperation, _ properties: borrowing ByteBuffer, _ header: MessageHeader, _ channel: WebSocketPageChannel,
        _ gateway: WebSocketGateway
    ) -> PublishOutcome? {
        let message = Message(
            hub: gateway.hub, address: operation.topic.span, properties: properties.span, body: operation.body.span, header: header)
        guard operation.qos > 0 else { return gateway.shard.publish(message, through: gateway) }
        if channel.publisher.isNone { channel.publisher = gateway.shard.core.value.openPublisher(gateway: gateway.id, token: channel.slot) }
        channel.lastTag += 1
        let outcome = gateway.shard.publish(message, through: gateway, from: channel.publisher, tag: channel.lastTag)
        if outcome == nil { channel.owed[channel.lastTag] = operation.id.span.array }
        return outcome
    }

    /// In MQTT's words (5.0 sections 3.3.2.3.5 and 3.3.2.3.6), which its clients understand.
    func writeProperties(reply: Span<UInt8>, correlation: Span<UInt8>) {
        properties.value.removeAll()
        if !reply.isEmpty {
            properties.value.append(MQTTPropertyIdentifier.responseTopic.rawValue)
            properties.value.append(UInt16(reply.count))
            properties.value.append(reply)
        }
        if !correlation.isEmpty {
            let taken = correlation.extracting(first: Int(UInt16.max))
            properties.value.append(MQTTPropertyIdentifier.correlationData.rawValue)
            properties.value.append(UInt16(taken.count))
            properties.value.append(taken)
        }
    }

    // MARK: Subscribing

    private func subscribe(_ operation: borrowing WebSocketOperation, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) {
        let filter = operation.topic.span.array
        if let refusal = refusal(ofFilter: operation) { return fail(operation, refusal, channel, &machine) }
        guard !options.deniedFilters.contains(filter) else { return fail(operation, "nobody may subscribe to it", channel, &machine) }
        guard channel.subscriptionCount < options.subscriptionsMax else {
            return fail(operation, "it has \(options.subscriptionsMax) subscriptions already", channel, &machine)
        }
        // Before what was retained.
        succeed(operation, channel, &machine)
        guard bind(filter, channel, replay: .always) else { return }
        channel.subscriptionCount += 1
        subscriptionCount += 1
    }

    func bind(_ filter: [UInt8], _ channel: WebSocketPageChannel, replay: RetainedReplay) -> Bool {
        if channel.queue.isNone {
            channel.queue = shard.core.value.openQueue(options.queuePolicy)
            channel.consumer = shard.core.value.addConsumer(to: channel.queue, gateway: id, token: channel.slot, settles: false)
        }
        let queue = channel.queue, binding = BindingOptions(flags: [.atMostOnce, .sparesReserved])
        return shard.core.value.bind(queue, to: hub, .address(filter), binding, replay: replay)
    }

    private func refusal(ofFilter operation: borrowing WebSocketOperation) -> String? {
        guard operation.hasTopic else { return "topic is missing" }
        guard MQTTTopic.isFilter(operation.topic.span) else { return "topic is not a topic filter" }
        guard !Self.begins(operation.topic.span, "$share/") else { return "subscriptions are shared by MQTT alone" }
        return nil
    }

    private func unsubscribe(_ operation: borrowing WebSocketOperation, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) {
        let filter = operation.topic.span.array
        if let refusal = refusal(ofFilter: operation) { return fail(operation, refusal, channel, &machine) }
        guard !channel.queue.isNone, shard.core.value.unbind(channel.queue, from: hub, .address(filter)) else {
            return fail(operation, "it was not subscribed to that", channel, &machine)
        }
        channel.subscriptionCount -= 1
        subscriptionCount -= 1
        succeed(operation, channel, &machine)
    }
}
