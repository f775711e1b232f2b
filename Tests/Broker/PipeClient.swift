import MartletAMQPGateway
import MartletAMQPProtocol
import MartletBytes
import MartletEventLoop
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletPipe
import MartletSimulation

extension PipeBroker {
    /// A client whose connection is on the loop of this number (round and round).
    func client(on loop: Int = 0) -> PipeClient {
        let (near, far) = network.makeStream()
        gateways[loop % loops.count].adopt(Transport(descriptor: near))
        return PipeClient(self, far)
    }

    /// An AMQP client, with a channel, on the loop of the virtual host `/` unless said otherwise.
    func amqpClient(on loop: Int = 0, virtualHost: String = "/", capabilities: AMQPCapabilities = AMQPPipeClient.capabilities) -> AMQPPipeClient {
        let (near, far) = network.makeStream()
        amqpGateways[loop].adopt(Transport(descriptor: near))
        let client = AMQPPipeClient(self, far)
        client.open(virtualHost, capabilities)
        return client
    }

    func connected(
        _ clientID: String, on loop: Int = 0, version: MQTTVersion = .v5, cleanStart: Bool = true, sessionExpiry: UInt32 = 0,
        _ change: (inout MQTTConnectOptions) -> Void = { _ in }
    ) -> PipeClient {
        let client = client(on: loop)
        client.connect(clientID, version: version, cleanStart: cleanStart, sessionExpiry: sessionExpiry, change)
        // CONNACK may wait for the disk.
        for _ in 0..<400 where client.events.isEmpty && !client.hasEnded {
            advance(by: .milliseconds(1))
            client.read()
        }
        return client
    }
}

/// The client's machine at the far end of a stream.
final class PipeClient {
    let broker: PipeBroker
    let descriptor: Int32
    private var machine: MQTTClientMachine
    private var unread = UnreadBytes()
    private var output = ByteBuffer()
    private(set) var events: [MQTTClientEvent.Owned] = []
    /// Bytes the server sent, whether read or not.
    var reads = true

    init(_ broker: PipeBroker, _ descriptor: Int32) {
        self.broker = broker
        self.descriptor = descriptor
        machine = MQTTClientMachine(limits: MQTTLimits(), now: broker.network.now)
    }

    var hasEnded: Bool { broker.network.hasEnded(descriptor) }

    func send(_ message: MQTTClientOutgoing) {
        do { try machine.send(message, into: &output) } catch { events.append(.disconnect(reason: .unspecifiedError, text: "misuse: \(error)")) }
        flush()
    }

    func sendRaw(_ bytes: [UInt8]) {
        broker.network.write(bytes, to: descriptor)
        broker.run()
        read()
    }

    private func flush() {
        broker.network.write(output.span.array, to: descriptor)
        output.removeAll()
        broker.run()
        read()
    }

    func read() {
        guard reads else { return }
        for _ in 0..<100 {
            let new = broker.network.read(from: descriptor)
            if new.isEmpty { return }
            feed(new)
            broker.run(2)
        }
    }

    private func feed(_ new: [UInt8]) {
        var used = 0
        do {
            let all = unread.show(new.span)
            var input = ByteReader(all)
            machine.heard(at: broker.network.now)
            while let event = try machine.nextEvent(from: &input, into: &output) { events.append(event.owned(in: all)) }
            used = input.offset
        } catch { events.append(.disconnect(reason: .unspecifiedError, text: "violation: \(error)")) }
        unread.keep(new.span, used: used)
    }

    /// Everything that came since the last call.
    func take() -> [MQTTClientEvent.Owned] {
        broker.run()
        read()
        defer { events = [] }
        return events
    }

    /// The messages among what came.
    func takeMessages() -> [MQTTPublish.Owned] { take().compactMap { if case .publish(let publish) = $0 { publish } else { nil } } }
    func takeTexts() -> [String] { takeMessages().map { String(decoding: $0.payload, as: UTF8.self) } }
    func takePubacks() -> [UInt16] { take().compactMap { if case .puback(let identifier, _) = $0 { identifier } else { nil } } }

    func connect(
        _ clientID: String, version: MQTTVersion = .v5, cleanStart: Bool = true, sessionExpiry: UInt32 = 0,
        _ change: (inout MQTTConnectOptions) -> Void = { _ in }
    ) {
        var options = MQTTConnectOptions(version: version, clientID: Array(clientID.utf8))
        options.cleanStart = cleanStart
        options.sessionExpiry = version == .v5 ? sessionExpiry : 0
        options.keepAlive = 0
        change(&options)
        send(.connect(options))
    }

    func subscribe(_ filter: String, qos: UInt8 = 0, identifier: UInt16 = 1) {
        let subscription = MQTTSubscription(filter: Array(filter.utf8), options: MQTTSubscriptionOptions(qos: qos))
        send(.subscribe(packetIdentifier: identifier, subscriptionIdentifier: 0, subscriptions: [subscription]))
        _ = take()
    }

    func publish(_ text: String, to topic: String, qos: UInt8 = 0, identifier: UInt16 = 0, properties: [UInt8] = []) {
        send(.publish(MQTTPublish.Owned(topic: Array(topic.utf8), properties: properties, payload: Array(text.utf8), packetIdentifier: identifier, qos: qos)))
    }

    func puback(_ identifier: UInt16) { send(.puback(packetIdentifier: identifier, reason: .success)) }
    func disconnect() { send(.disconnect(reason: .success, sessionExpiry: nil)) }

    /// The connection breaks, without a word.
    func drop() {
        broker.network.end(descriptor)
        broker.run()
    }
}
