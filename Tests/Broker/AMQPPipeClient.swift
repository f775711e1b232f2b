import MartletAMQPProtocol
import MartletBytes
import MartletPipe
import MartletSimulation

/// An AMQP client's machine at the far end of a stream, with one channel that its methods speak of unless told otherwise.
final class AMQPPipeClient {
    typealias Method = AMQPMethod<[UInt8]>

    /// A message that came.
    struct Received: Equatable, CustomStringConvertible {
        var text: String
        var tag: UInt64
        var isRedelivered: Bool
        var consumer = ""
        var exchange = ""
        var key = ""
        var description: String { "\(text)#\(tag)\(isRedelivered ? "!" : "")" }
    }

    let broker: PipeBroker
    let descriptor: Int32
    private var machine: AMQPClientMachine
    private var unread = UnreadBytes()
    private var output = ByteBuffer()
    private(set) var events: [AMQPEvent.Owned] = []
    private(set) var violation: String?
    var number: UInt16 = 1
    /// What is sent is kept, to be written in one.
    private var isGathering = false
    static var capabilities: AMQPCapabilities { [.basicNack, .publisherConfirms, .consumerCancelNotify, .connectionBlocked, .authenticationFailureClose] }

    init(_ broker: PipeBroker, _ descriptor: Int32) {
        self.broker = broker
        self.descriptor = descriptor
        machine = AMQPClientMachine(limits: AMQPLimits(), now: broker.network.now)
    }

    var hasEnded: Bool { broker.network.hasEnded(descriptor) }

    func open(_ virtualHost: String, _ capabilities: AMQPCapabilities) {
        send(.protocolHeader)
        let sasl = AMQPSASL.plain(user: Array("guest".utf8), password: Array("guest".utf8))
        let properties: AMQPTable = ["capabilities": .table(capabilities.table)]
        send(
            .method(
                channel: 0,
                .connectionStartOk(
                    .init(clientProperties: properties.encoded, mechanism: sasl.mechanism, response: sasl.response, locale: Array("en_US".utf8)))))
        for event in take() {
            if case .method(_, .connectionTune(let tune)) = event { send(.method(channel: 0, machine.tuneOk(to: tune))) }
        }
        send(.method(channel: 0, .connectionOpen(.init(virtualHost: Array(virtualHost.utf8)))))
        broker.run()
        _ = take()
        if machine.isOpen { openChannel(1) }
    }

    func openChannel(_ number: UInt16) {
        self.number = number
        call(.channelOpen(.init()))
        _ = take()
    }

    func send(_ message: AMQPOutgoing) {
        do { try machine.send(message, into: &output) } catch { violation = "misuse: \(error) in \(message)" }
        if isGathering { return }
        broker.network.write(output.span.array, to: descriptor)
        output.removeAll()
        broker.run()
        read()
    }

    func call(_ method: Method) { send(.method(channel: number, method)) }

    private func read() {
        for _ in 0..<100 {
            let new = broker.network.read(from: descriptor)
            if new.isEmpty { return }
            var used = 0
            do {
                let all = unread.show(new.span)
                var input = ByteReader(all)
                machine.heard(at: broker.network.now)
                while let event = try machine.nextEvent(from: &input, into: &output) { events.append(event.owned(in: all)) }
                used = input.offset
            } catch { violation = "violation: \(error)" }
            unread.keep(new.span, used: used)
            broker.run(2)
        }
    }

    /// Everything that came since the last call.
    func take() -> [AMQPEvent.Owned] {
        broker.run()
        read()
        defer { events = [] }
        return events
    }

    /// The methods without content among what came, on the channel.
    func takeMethods() -> [Method] {
        take().compactMap { if case .method(let channel, let method) = $0, channel == number || channel == 0 { method } else { nil } }
    }

    /// The reply text of the exception that closed the channel or the connection.
    func takeRefusal() -> String? {
        for method in takeMethods() {
            switch method {
            case .channelClose(let close):
                send(.method(channel: number, .channelCloseOk))
                return "\(close.replyCode) " + String(decoding: close.replyText, as: UTF8.self)
            case .connectionClose(let close): return "\(close.replyCode) " + String(decoding: close.replyText, as: UTF8.self)
            default: continue
            }
        }
        return nil
    }

    /// Messages that came, delivered or got.
    static func messages(_ events: [AMQPEvent.Owned]) -> [Received] {
        events.compactMap { event in
            switch event {
            case .content(_, .basicDeliver(let deliver), _, let body):
                Received(
                    text: body.text, tag: deliver.deliveryTag, isRedelivered: deliver.redelivered, consumer: deliver.consumerTag.text,
                    exchange: deliver.exchange.text, key: deliver.routingKey.text)
            case .content(_, .basicGetOk(let get), _, let body):
                Received(
                    text: body.text, tag: get.deliveryTag, isRedelivered: get.redelivered, exchange: get.exchange.text, key: get.routingKey.text)
            default: nil
            }
        }
    }

    func takeMessages() -> [Received] { Self.messages(take()) }
    func takeTexts() -> [String] { takeMessages().map(\.text) }

    // MARK: What tests say most

    func declare(_ queue: String, durable: Bool = false, exclusive: Bool = false, autoDelete: Bool = false, arguments: AMQPTable = [:]) {
        call(
            .queueDeclare(
                .init(
                    queue: Array(queue.utf8), durable: durable, exclusive: exclusive, autoDelete: autoDelete, arguments: arguments.encoded)))
    }

    func declareExchange(
        _ exchange: String, _ type: String, durable: Bool = false, autoDelete: Bool = false, isInternal: Bool = false, arguments: AMQPTable = [:]
    ) {
        call(
            .exchangeDeclare(
                .init(
                    exchange: Array(exchange.utf8), type: Array(type.utf8), durable: durable, autoDelete: autoDelete, isInternal: isInternal,
                    arguments: arguments.encoded)))
    }

    func bind(_ queue: String, to exchange: String, _ key: String = "", arguments: AMQPTable = [:]) {
        call(
            .queueBind(
                .init(queue: Array(queue.utf8), exchange: Array(exchange.utf8), routingKey: Array(key.utf8), arguments: arguments.encoded)))
    }

    func publish(_ text: String, to key: String, exchange: String = "", mandatory: Bool = false, _ change: (inout AMQPProperties) -> Void = { _ in }) {
        var properties = AMQPProperties()
        change(&properties)
        send(
            .content(
                channel: number, .basicPublish(.init(exchange: Array(exchange.utf8), routingKey: Array(key.utf8), mandatory: mandatory)),
                properties: properties, body: Array(text.utf8)))
    }

    /// In one write.
    func publishMany(_ texts: [String], to key: String) {
        for text in texts {
            let method = Method.basicPublish(.init(routingKey: Array(key.utf8)))
            do {
                try machine.send(.content(channel: number, method, properties: AMQPProperties(), body: Array(text.utf8)), into: &output)
            } catch { violation = "misuse: \(error)" }
        }
        sendRaw([])
    }

    /// In one write. `turns`: how many ticks are made before what came is read.
    func sendTogether(turns: Int = 12, _ send: (AMQPPipeClient) -> Void) {
        isGathering = true
        send(self)
        isGathering = false
        broker.network.write(output.span.array, to: descriptor)
        output.removeAll()
        broker.run(turns)
        if turns > 1 { read() }
    }

    /// After what is still to be sent.
    func sendRaw(_ bytes: [UInt8]) {
        broker.network.write(output.span.array + bytes, to: descriptor)
        output.removeAll()
        broker.run()
        read()
    }

    func consume(_ queue: String, tag: String = "", noAck: Bool = false, exclusive: Bool = false) {
        call(.basicConsume(.init(queue: Array(queue.utf8), consumerTag: Array(tag.utf8), noAck: noAck, exclusive: exclusive)))
    }

    func get(_ queue: String, noAck: Bool = false) -> Received? {
        call(.basicGet(.init(queue: Array(queue.utf8), noAck: noAck)))
        return takeMessages().first
    }

    func prefetch(_ count: UInt16, isGlobal: Bool = false) { call(.basicQos(.init(prefetchCount: count, global: isGlobal))) }
    func ack(_ tag: UInt64, multiple: Bool = false) { call(.basicAck(.init(deliveryTag: tag, multiple: multiple))) }
    func nack(_ tag: UInt64, multiple: Bool = false, requeue: Bool = true) {
        call(.basicNack(.init(deliveryTag: tag, multiple: multiple, requeue: requeue)))
    }

    /// The connection breaks, without a word.
    func drop() {
        broker.network.end(descriptor)
        broker.run()
    }
}

extension [UInt8] {
    fileprivate var text: String { String(decoding: self, as: UTF8.self) }
}
