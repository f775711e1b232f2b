import MartletBytes
public import MartletCore
import MartletDriver
public import MartletEventLoop
import MartletJSON
import MartletLogging
import MartletMQTTProtocol
import MartletNet
public import MartletShard
import MartletWebSocketProtocol

/// Pages on one shard: JSON over WebSocket. A page's subscriptions are bindings of one queue to `amq.topic`; what comes through them passes the queue
/// by, to the page or nowhere. Topics are spelled as MQTT's.
///
/// Files: this one has who comes and goes and what is sent, `WebSocketGateway+Operations` what pages ask for, `WebSocketGateway+Requests` questions
/// and their answers, `WebSocketDeliveries` messages to pages, `WebSocketOperation` the JSON. Not here: the handshake, and whose pages may connect.
public final class WebSocketGateway: Gateway {
    let options: WebSocketGatewayOptions
    let limits: WebSocketLimits
    let log: Logger
    let hub: HubID
    let operation = Pinned(WebSocketOperation())
    let properties = Pinned(ByteBuffer())
    private let json = Pinned(ByteBuffer())
    private let deliveries = Pinned(WebSocketDeliveries())
    private let seen = Pinned(WebSocketCounters())
    private let outputs: OutputTable
    private var connectionCount = 0
    var subscriptionCount = 0
    private var isStopping = false

    public init(_ shard: Shard, id: GatewayID, options: WebSocketGatewayOptions) {
        self.options = options
        limits = options.limits
        log = shard.log.labelled("websocket")
        hub = shard.router.meetingPoint
        outputs = shard.loop.outputs
        super.init(shard, id: id)
    }

    var counters: WebSocketCounters {
        get { seen.value }
        set { seen.value = newValue }
    }

    public override var name: String { "websocket" }
    public override var samples: [(name: String, value: UInt64)] {
        counters.samples + [("connections", UInt64(connectionCount)), ("subscriptions", UInt64(subscriptionCount))]
    }

    // MARK: Who comes and goes

    public override func adopt(_ transport: Transport) { adopt(transport, isIn: options.authenticate(nil, nil)) }

    /// Takes over a connection behind its handshake. `isIn`: it is known who it is; otherwise it has to say `connect` first.
    public func adopt(_ transport: Transport, isIn: Bool) {
        guard !isStopping else { return shard.loop.discard(transport.descriptor) }
        let channel = WebSocketPageChannel(self, isIn: isIn, now: shard.loop.now)
        guard shard.loop.add(channel, transport) != nil else {
            counters.connectionsRefused += 1
            return
        }
        connectionCount += 1
        if isIn { welcome(channel) }
    }

    func welcome(_ channel: WebSocketPageChannel) {
        channel.isIn = true
        counters.connectionsAccepted += 1
        log.info("page connected", metadata: ["address": address(channel)])
    }

    private func address(_ channel: WebSocketPageChannel) -> String {
        SocketAddress.peer(of: shard.loop.descriptor(of: channel.slot))?.description ?? "gone"
    }

    /// Says Close; the answer is for `finish`.
    func close(_ code: WebSocketCloseCode, _ reason: String, _ machine: inout WebSocketMachine, _ slot: UInt32) -> CloseReason {
        let text = Array(reason.utf8)
        shard.loop.willWrite(slot)
        // One was said before, perhaps.
        try? machine.close(code, reason: text.span, into: &shard.loop[output: slot])
        return .refused("\(reason) (\(code))")
    }

    func closed(_ channel: WebSocketPageChannel, _ reason: CloseReason) {
        connectionCount -= 1
        if channel.isIn { log.info("page disconnected", metadata: ["address": address(channel), "reason": "\(reason)"]) }
        if !channel.publisher.isNone { shard.core.value.closePublisher(channel.publisher) }
        counters.requestsUnanswered += UInt64(channel.requests.count)
        channel.requests = [:]
        guard !channel.queue.isNone else { return }
        subscriptionCount -= channel.subscriptionCount
        let queue = channel.queue, consumer = channel.consumer
        (channel.queue, channel.consumer) = (.none, .none)
        shard.forget(queue, id, channel.slot)
        shard.core.value.removeConsumer(consumer)
        shard.perform { $0.deleteQueue(queue, into: &$1) }
    }

    public override func stop() {
        isStopping = true
        for channel in shard.loop.channels(of: WebSocketPageChannel.self) {
            _ = close(.goingAway, "the server stops", &channel.machine, channel.slot)
            shard.loop.finish(channel, .stopping)
        }
    }

    public override func slowDown(_ token: UInt32, for duration: Duration) {
        if let channel = shard.loop.channel(at: token) { shard.holdBack(channel, for: duration) }
    }

    // MARK: To pages

    public override func deliver(_ range: Range<Int>, of message: borrowing Message) {
        if message.hub == hub { return deliveries.value.deliver(range, of: message, topic: message.address, from: self, outputs) }
        let topic = Address.convert(message.address, to: .slashes)
        deliveries.value.deliver(range, of: message, topic: topic.span, from: self, outputs)
    }

    func countSent(_ messages: UInt64, bytes: Int, dropped: UInt64) {
        seen.value.messagesSent &+= messages
        seen.value.messageBytesSent &+= messages &* UInt64(bytes)
        seen.value.droppedSlow &+= dropped
    }

    public override func acknowledge(_ acknowledgement: Acknowledgement) {
        guard let channel = shard.loop.channel(at: acknowledgement.token) as? WebSocketPageChannel else { return }
        guard let pageID = channel.owed.removeValue(forKey: acknowledgement.tag) else { return }
        answer(acknowledgement.outcome, pageID.span, &channel.machine, channel.slot)
    }

    /// What became of a message; nothing is said of one without an id that was taken.
    func answer(_ outcome: PublishOutcome, _ id: Span<UInt8>, _ machine: inout WebSocketMachine, _ slot: UInt32) {
        if outcome == .refused { return fail(id, "there is no room for it", &machine, slot) }
        if !id.isEmpty { succeed(id, &machine, slot) }
    }

    func succeed(_ id: Span<UInt8>, _ machine: inout WebSocketMachine, _ slot: UInt32) {
        WebSocketJSON.begin("ok", id, &json.value)
        json.value.append(UInt8(ascii: "}"))
        send(&machine, slot)
    }

    func fail(_ id: Span<UInt8>, _ reason: String, _ machine: inout WebSocketMachine, _ slot: UInt32) {
        counters.operationsRefused += 1
        WebSocketJSON.begin("error", id, &json.value)
        json.value.append(utf8: ",\"reason\":" as StaticString)
        let text = Array(reason.utf8)
        json.value.append(json: text.span)
        json.value.append(UInt8(ascii: "}"))
        send(&machine, slot)
    }

    func ping(_ machine: inout WebSocketMachine, _ slot: UInt32) {
        WebSocketJSON.begin("ping", Span(), &json.value)
        json.value.append(UInt8(ascii: "}"))
        send(&machine, slot)
    }

    private func send(_ machine: inout WebSocketMachine, _ slot: UInt32) { Self.send(json.value, &machine, slot, shard.loop) }

    private static func send(_ json: borrowing ByteBuffer, _ machine: inout WebSocketMachine, _ slot: UInt32, _ loop: EventLoop) {
        loop.willWrite(slot)
        // Behind a Close nobody listens.
        try? machine.send(.text, json.span, into: &loop[output: slot])
    }
}

/// What is said to pages.
enum WebSocketJSON {
    /// `{"op":"…","id":…`, in place of what was there.
    static func begin(_ operation: StaticString, _ id: Span<UInt8>, _ json: inout ByteBuffer) {
        json.removeAll()
        json.append(utf8: "{\"op\":\"" as StaticString)
        json.append(utf8: operation)
        json.append(UInt8(ascii: "\""))
        guard !id.isEmpty else { return }
        json.append(utf8: ",\"id\":" as StaticString)
        json.append(id)
    }
}
