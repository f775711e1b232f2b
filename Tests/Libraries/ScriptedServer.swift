import MartletBytes
import MartletEventLoop
import MartletMQTTProtocol
import MartletPipe
import Testing

@testable import MartletMQTT

/// A server machine at the far end of an in-memory stream, and the client's loop, both turned by the test: time moves only when it says so.
///
/// All of it, and the client's tasks, live on the main actor; `until` lets them run between two turns.
@MainActor final class ScriptedServer {
    let network = PipeNetwork()
    let loop: EventLoop
    let clientEnd: Int32, serverEnd: Int32
    private var machine = MQTTServerMachine(limits: MQTTLimits(), now: Instant(nanoseconds: 0))
    private var unread: [UInt8] = []
    private(set) var events: [MQTTServerEvent.Owned] = []
    /// What CONNECT is answered with; `nil`: silence.
    var connack: MQTTConnack? = MQTTConnack()
    var acknowledges = true
    var isListening = true

    init() {
        var limits = EventLoopLimits()
        limits.outputHighWater = .max
        loop = EventLoop(kernel: PipeKernel(network), limits: limits)
        loop.settle(MQTTClientTenant())
        (clientEnd, serverEnd) = network.makeStream()
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
        Task { try await MQTTClient.withConnection(over: clientEnd, on: loop, clientID: "tester", options: options) { try await body($0) } }
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

    func publish(_ text: String, to topic: String, qos: UInt8 = 0, identifier: UInt16 = 0, version: MQTTVersion = .v5) {
        var output = ByteBuffer()
        let topic = Array(topic.utf8), payload = Array(text.utf8), none: [UInt8] = []
        MQTTEncoder.publish(
            version: version, topic: topic.span, properties: none.span, payload: payload.span, qos: qos, packetIdentifier: identifier,
            retain: false, duplicate: false, into: &output)
        network.write(output.span.array, to: serverEnd)
    }

    func send(_ message: MQTTServerOutgoing) {
        var output = ByteBuffer()
        do { try machine.send(message, into: &output) } catch { Issue.record("the server cannot send \(message): \(error)") }
        network.write(output.span.array, to: serverEnd)
    }

    func turn() {
        loop.tick(until: loop.now)
        guard isListening else { return }
        unread += network.read(from: serverEnd)
        var output = ByteBuffer()
        var used = 0
        do {
            machine.heard(at: network.now)
            var reader = ByteReader(unread.span)
            while let event = try machine.nextEvent(from: &reader, into: &output) {
                let owned = event.owned(in: reader.bytes)
                events.append(owned)
                try answer(owned, &machine, &output)
            }
            used = reader.offset
        } catch {
            Issue.record("the client broke the protocol: \(error)")
        }
        unread.removeFirst(used)
        if !output.isEmpty { network.write(output.span.array, to: serverEnd) }
    }

    private func answer(_ event: MQTTServerEvent.Owned, _ machine: inout MQTTServerMachine, _ output: inout ByteBuffer) throws {
        switch event {
        case .connect: if let connack { try machine.send(.connack(connack), into: &output) }
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
