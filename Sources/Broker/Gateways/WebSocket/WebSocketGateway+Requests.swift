import MartletBytes
import MartletCore
import MartletEventLoop
import MartletShard
import MartletWebSocketProtocol

/// Questions: a message that says where its answer is wanted, a topic that only this page and whoever answers know: `$reply/PAGE/REQUEST`. Who answers
/// gets it as MQTT 5's response topic, or as `reply`.
extension WebSocketGateway {
    static func isReplyTopic(_ topic: Span<UInt8>) -> Bool { begins(topic, "$reply/") }

    func request(_ operation: borrowing WebSocketOperation, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine) {
        if let refusal = refusal(of: operation) { return fail(operation, refusal, channel, &machine) }
        guard !operation.id.isEmpty else { return fail(operation, "a request has an id", channel, &machine) }
        guard channel.requests.count < options.requestsMax else {
            return fail(operation, "\(options.requestsMax) requests wait for their answers already", channel, &machine)
        }
        if channel.replyPrefix.isEmpty {
            let prefix = Array("$reply/\(String(options.randomNumber(), radix: 36))/".utf8)
            _ = bind(prefix + [UInt8(ascii: "+")], channel, replay: .none)
            channel.replyPrefix = prefix
        }
        counters.requests += 1
        channel.lastRequest += 1
        let number = channel.lastRequest, reply = channel.replyPrefix + Array(String(number).utf8)
        let time = operation.timeout.map { min(options.requestTimeout, .milliseconds($0)) } ?? options.requestTimeout
        channel.requests[number] = WebSocketPageChannel.Request(id: operation.id.span.array, until: shard.loop.now + time)
        channel.requestsUntil = min(channel.requestsUntil, shard.loop.now + time)
        writeProperties(reply: reply.span, correlation: operation.correlation.span)
        var header = MessageHeader(origin: options.mqtt, flags: .atMostOnce)
        header.publisherQueue = channel.queue
        let outcome = Self.ask(operation, properties.value, header, self)
        // Whoever answered at once has been heard.
        guard outcome != .routed, channel.requests.removeValue(forKey: number) != nil else { return }
        counters.requestsUnanswered += 1
        fail(operation, outcome == .refused ? "there is no room for it" : "nobody is there to answer", channel, &machine)
    }

    private static func ask(
        _ operation: borrowing WebSocketOperation, _ properties: borrowing ByteBuffer, _ header: MessageHeader, _ gateway: WebSocketGateway
    ) -> PublishOutcome {
        gateway.shard.publish(
            Message(hub: gateway.hub, address: operation.topic.span, properties: properties.span, body: operation.body.span, header: header),
            through: gateway)
    }

    enum ReplyTarget {
        case none
        /// With the page's id.
        case request([UInt8])
        /// One that nobody waits for any more.
        case past
    }

    /// Which of the page's requests is answered at `topic`; it waits no more then.
    func takeRequest(answeredAt topic: Span<UInt8>, _ slot: UInt32) -> ReplyTarget {
        guard let channel = shard.loop.channel(at: slot) as? WebSocketPageChannel, !channel.replyPrefix.isEmpty, topic.count > channel.replyPrefix.count,
            topic.extracting(first: channel.replyPrefix.count).equals(channel.replyPrefix.span)
        else { return .none }
        guard let number = UInt64(topic.extracting(channel.replyPrefix.count...).text) else { return .past }
        return channel.requests.removeValue(forKey: number).map { .request($0.id) } ?? .past
    }
}
