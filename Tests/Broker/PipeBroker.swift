import MartletBytes
import MartletCollections
import MartletCore
import MartletEventLoop
import MartletJournal
import MartletLogging
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletPipe
import MartletShard

/// A whole broker of one or more shards in memory, on a virtual clock: the real loops, cores and gateways, no socket, one thread.
final class PipeBroker {
    let network = PipeNetwork()
    let router: Router
    let loops: [EventLoop]
    let shards: [Shard]
    let gateways: [MQTTGateway]

    struct Silent: LogSink { func write(_ record: LogRecord) {} }

    init(shards count: Int = 1, latency: Duration? = nil, _ change: (inout MQTTGatewayOptions) -> Void = { _ in }) {
        var limits = EventLoopLimits(), options = MQTTGatewayOptions()
        change(&options)
        limits.connectionsMax = 1024
        limits.outputHighWater = options.outputBytesMax
        limits.outputLowWater = options.outputBytesMax / 4
        let network = network, router = Router()
        self.router = router
        let loops = (0..<count).map { EventLoop(number: $0, kernel: PipeKernel(network), limits: limits) }
        self.loops = loops
        var shards: [Shard] = [], gateways: [MQTTGateway] = []
        for loop in loops {
            let journal = latency.map { MemoryJournal(latency: $0) }
            let shard = Shard(on: loop, of: loops, router: router, journal: journal, log: Logger(label: "test", level: .error, sink: Silent()))
            gateways.append(shard.addGateway { MQTTGateway($0, id: $1, options: options) })
            loop.settle(shard)
            shards.append(shard)
        }
        self.shards = shards
        self.gateways = gateways
    }

    /// Ticks every loop, until nothing moves any more.
    func run(_ turns: Int = 12) { for _ in 0..<turns { for loop in loops { loop.tick(until: loop.now) } } }

    /// In four steps: what one step sets going ends in the next.
    func advance(by duration: Duration) {
        for _ in 0..<4 {
            network.advance(by: duration / 4)
            run()
        }
    }

    /// A client whose connection is on the loop of this number (round and round).
    func client(on loop: Int = 0) -> PipeClient {
        let (near, far) = network.makeStream()
        gateways[loop % loops.count].adopt(Transport(descriptor: near))
        return PipeClient(self, far)
    }

    func connected(
        _ clientID: String, on loop: Int = 0, version: MQTTVersion = .v5, cleanStart: Bool = true, sessionExpiry: UInt32 = 0,
        _ change: (inout MQTTConnectOptions) -> Void = { _ in }
    ) -> PipeClient {
        let client = client(on: loop)
        client.connect(clientID, version: version, cleanStart: cleanStart, sessionExpiry: sessionExpiry, change)
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
