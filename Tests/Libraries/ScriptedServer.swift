import MartletBytes
import MartletClient
import MartletEventLoop
import MartletMQTTProtocol
import MartletPipe
import Testing

@testable import MartletMQTT

/// A server at the far end of in-memory streams, one connection after the other, and the client's loop, both turned by the test: time moves only
/// when it says so.
///
/// All of it, and the client's tasks, live on the main actor; `until` lets them run between two turns.
@MainActor final class ScriptedServer {
    /// One connection: a server machine and what it has heard.
    final class Connection {
        let serverEnd: Int32
        fileprivate var machine: MQTTServerMachine
        fileprivate var unread: [UInt8] = []
        fileprivate(set) var events: [MQTTServerEvent.Owned] = []

        init(_ serverEnd: Int32, now: Instant) {
            self.serverEnd = serverEnd
            var limits = MQTTLimits()
            limits.topicAliasMax = 10
            machine = MQTTServerMachine(limits: limits, now: now)
        }
    }
    let network = PipeNetwork()
    let loop: EventLoop
    private(set) var connections: [Connection] = []
    private var closed: Set<Int32> = []
    /// Of all connections, in order.
    private(set) var events: [MQTTServerEvent.Owned] = []
    /// What CONNECT is answered with; `nil`: silence.
    var connack: MQTTConnack? = MQTTConnack()
    var acknowledges = true
    var isListening = true
    /// Otherwise connecting fails.
    var isReachable = true
    private(set) var dialCount = 0

    init() {
        var limits = EventLoopLimits()
        limits.outputHighWater = .max
        loop = EventLoop(kernel: PipeKernel(network), limits: limits)
        loop.settle(MQTTClientTenant())
    }

    /// The newest connection's.
    var serverEnd: Int32 { connections.last?.serverEnd ?? -1 }

    private func dial(_ loop: EventLoop, _ finished: (EventLoop, Result<Int32, MQTTClientError>) -> Void) {
        dialCount += 1
        guard isReachable else { return finished(loop, .failure(.connectionLost(server: "server", .failed(errno: 111)))) }
        let (clientEnd, serverEnd) = network.makeStream()
        connections.append(Connection(serverEnd, now: network.now))
        finished(loop, .success(clientEnd))
    }

    /// The connection breaks: what is still on its way is lost.
    func cut() {
        guard let connection = connections.last else { return }
        _ = network.read(from: connection.serverEnd)
        network.end(connection.serverEnd)
        closed.insert(connection.serverEnd)
    }

    var published: [MQTTPublish.Owned] { events.compactMap { if case .publish(let publish) = $0 { publish } else { nil } } }
    var acknowledged: [UInt16] { events.compactMap { if case .puback(let identifier, _) = $0 { identifier } else { nil } } }
    var pingCount: Int { events.count { $0 == .pingreq } }
    var hasSubscription: Bool { events.contains { if case .subscribe = $0 { true } else { false } } }
    var hasUnsubscription: Bool { events.contains { if case .unsubscribe = $0 { true } else { false } } }
    var hasDisconnect: Bool { events.contains { if case .disconnect = $0 { true } else { false } } }

    func run<Result: Sendable>(
        _ options: MQTTClientOptions = MQTTClientOptions(), _ body: @escaping @MainActor (MQTTClient) async throws -> Result
    ) -> Task<Result, any Error> {
        Task {
            try await MQTTClient.withConnection(
                by: { [self] loop, _, finished in MainActor.assumeIsolated { dial(loop, finished) } }, server: "server", on: loop, clientID: "tester",
                options: options
            ) { try await body($0) }
        }
    }

    /// Turns both sides until `condition` holds; false if it never does.
    func until(_ condition: () -> Bool) async -> Bool {
        for _ in 0..<20_000 {
            turn()
            if condition() { return true }
            await Task.yield()
        }
        return false
    }

    /// Turns until the task has ended.
    func end<Result: Sendable>(of task: Task<Result, any Error>) async -> Swift.Result<Result, any Error>? {
        var result: Swift.Result<Result, any Error>?
        Task { result = await task.result }
        return await until { result != nil } ? result : nil
    }

    func settle() async { for _ in 0..<50 { turn(); await Task.yield() } }

    func advance(by duration: Duration) async {
        network.advance(by: duration)
        await settle()
    }

    func publish(
        _ text: String, to topic: String, qos: UInt8 = 0, identifier: UInt16 = 0, duplicate: Bool = false, properties: [UInt8] = [], version: MQTTVersion = .v5
    ) {
        var output = ByteBuffer()
        let topic = Array(topic.utf8), payload = Array(text.utf8)
        MQTTEncoder.publish(
            version: version, topic: topic.span, properties: properties.span, payload: payload.span, qos: qos, packetIdentifier: identifier,
            retain: false, duplicate: duplicate, into: &output)
        network.write(output.span.array, to: serverEnd)
    }

    func send(_ message: MQTTServerOutgoing) {
        guard let connection = connections.last else { return }
        var output = ByteBuffer()
        do { try connection.machine.send(message, into: &output) } catch { Issue.record("the server cannot send \(message): \(error)") }
        network.write(output.span.array, to: serverEnd)
    }

    func turn() {
        loop.tick(until: loop.now)
        guard isListening, let connection = connections.last, !closed.contains(connection.serverEnd) else { return }
        connection.unread += network.read(from: connection.serverEnd)
        var output = ByteBuffer()
        let used = hear(connection.unread, connection, &connection.machine, &output)
        connection.unread.removeFirst(used)
        if !output.isEmpty { network.write(output.span.array, to: connection.serverEnd) }
    }

    private func hear(_ bytes: [UInt8], _ connection: Connection, _ machine: inout MQTTServerMachine, _ output: inout ByteBuffer) -> Int {
        var reader = ByteReader(bytes.span)
        do {
            machine.heard(at: network.now)
            while let event = try machine.nextEvent(from: &reader, into: &output) {
                let owned = event.owned(in: reader.bytes)
                events.append(owned)
                connection.events.append(owned)
                try answer(owned, &machine, &output)
            }
        } catch {
            Issue.record("the client broke the protocol: \(error)")
        }
        return reader.offset
    }

    private func answer(_ event: MQTTServerEvent.Owned, _ machine: inout MQTTServerMachine, _ output: inout ByteBuffer) throws {
        switch event {
        case .connect: if let connack { try machine.send(.connack(connack), into: &output) }
        case .publish(let publish) where publish.qos == 2 && acknowledges:
            try machine.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .pubrel(let identifier, _) where acknowledges:
            try machine.send(.pubcomp(packetIdentifier: identifier, reason: .success), into: &output)
        case .publish(let publish) where publish.qos > 0 && acknowledges:
            try machine.send(.puback(packetIdentifier: publish.packetIdentifier, reason: .success), into: &output)
        case .subscribe(let identifier, _, let subscriptions) where acknowledges:
            try machine.send(.suback(packetIdentifier: identifier, reasons: subscriptions.map { MQTTReason(rawValue: $0.options.qos) }), into: &output)
        case .unsubscribe(let identifier, let filters) where acknowledges:
            try machine.send(.unsuback(packetIdentifier: identifier, reasons: filters.map { _ in .success }), into: &output)
        default: break
        }
    }
}

/// A door that a test opens: what a busy handler waits at.
@MainActor final class Gate {
    private var isOpen = false
    private var waiters: [CheckedContinuation<Void, Never>] = []
    func open() {
        isOpen = true
        for waiter in waiters { waiter.resume() }
        waiters = []
    }
    func pass() async { if !isOpen { await withCheckedContinuation { waiters.append($0) } } }
}
