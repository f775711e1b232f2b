import MartletAMQPProtocol
import MartletBytes
import MartletClient
import MartletEventLoop
import MartletPipe
import Testing

@testable import MartletAMQP

/// A server at the far end of in-memory streams, one connection after the other, and the client's loop, both turned by the test: time moves only
/// when it says so. It agrees to all, unless `refuse` or `answers` say otherwise, and keeps no messages.
///
/// All of it, and the client's tasks, live on the main actor; `until` lets them run between two turns.
@MainActor final class AMQPScriptedServer {
    /// One connection: a server machine and what it has heard.
    final class Connection {
        let serverEnd: Int32
        fileprivate var machine: AMQPServerMachine
        fileprivate var unread: [UInt8] = []
        /// One line a method: "1 queue.declare tasks".
        fileprivate(set) var heard: [String] = []
        /// Delivery tags of what was published, by channel, in confirm mode.
        fileprivate var piece: [UInt8] = []
        fileprivate var published: [UInt16: UInt64] = [:]

        init(_ serverEnd: Int32, _ limits: AMQPLimits, now: Instant) {
            self.serverEnd = serverEnd
            machine = AMQPServerMachine(limits: limits, now: now)
        }
    }
    let network = PipeNetwork()
    let loop: EventLoop
    private(set) var connections: [Connection] = []
    private var closed: Set<Int32> = []
    /// Of all connections, in order.
    private(set) var heard: [String] = []
    /// The bodies of what was published, of all connections.
    private(set) var bodies: [String] = []
    private(set) var heartbeatCount = 0
    private(set) var dialCount = 0
    var limits = AMQPLimits()
    /// Silent from now on.
    var isListening = true
    var isReachable = true
    var confirms = true
    /// What is not answered with its ok: by its line, as in `heard`.
    var refuse: (String) -> AMQPMethod<[UInt8]>? = { _ in nil }
    /// Lines that get no answer at all.
    var ignores: Set<String> = []
    /// The names for queues that have none.
    var queueNames = ["amq.gen-1", "amq.gen-2", "amq.gen-3"]

    init() {
        var limits = EventLoopLimits()
        limits.outputHighWater = .max
        loop = EventLoop(kernel: PipeKernel(network), limits: limits)
        loop.settle(AMQPClientTenant())
    }

    /// Of the newest connection.
    var newest: [String] { connections.last?.heard ?? [] }
    private var serverEnd: Int32 { connections.last?.serverEnd ?? -1 }

    private func dial(_ loop: EventLoop, _ finished: (EventLoop, Result<Int32, AMQPError>) -> Void) {
        dialCount += 1
        guard isReachable else { return finished(loop, .failure(.connectionLost(server: "server", .failed(errno: 111)))) }
        let (clientEnd, serverEnd) = network.makeStream()
        connections.append(Connection(serverEnd, limits, now: network.now))
        finished(loop, .success(clientEnd))
    }

    /// The connection breaks: what is still on its way is lost.
    func cut() {
        guard let connection = connections.last else { return }
        _ = network.read(from: connection.serverEnd)
        network.end(connection.serverEnd)
        closed.insert(connection.serverEnd)
    }

    func run<Result: Sendable>(
        _ options: AMQPConnectionOptions = AMQPConnectionOptions(), _ body: @escaping @MainActor (AMQPConnection) async throws -> Result
    ) -> Task<Result, any Error> {
        Task {
            let connection = try await AMQPConnection.connect(
                by: { [self] loop, _, finished in MainActor.assumeIsolated { dial(loop, finished) } }, server: "server", on: loop, options: options)
            return try await AMQPConnection.run(in: connection) { try await body($0) }
        }
    }

    /// With a channel.
    func runChannel<Result: Sendable>(
        _ options: AMQPConnectionOptions = AMQPConnectionOptions(), _ body: @escaping @MainActor (AMQPChannel) async throws -> Result
    ) -> Task<Result, any Error> {
        run(options) { connection in try await connection.withChannel { try await body($0) } }
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

    func hears(_ line: String) async -> Bool { await until { newest.contains(line) } }

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

    // MARK: Saying

    func send(_ method: AMQPMethod<[UInt8]>, on channel: UInt16 = 1) { send(.method(channel: channel, method)) }

    func send(_ message: AMQPOutgoing) {
        guard let connection = connections.last else { return }
        var output = ByteBuffer()
        do { try connection.machine.send(message, into: &output) } catch { Issue.record("the server cannot send \(message): \(error)") }
        network.write(output.span.array, to: connection.serverEnd)
    }

    func deliver(_ text: String, tag: UInt64, to consumer: String = "martlet-1", redelivered: Bool = false, on channel: UInt16 = 1) {
        var properties = AMQPProperties()
        properties.deliveryMode = 2
        send(
            .content(
                channel: channel,
                .basicDeliver(.init(consumerTag: Array(consumer.utf8), deliveryTag: tag, redelivered: redelivered, exchange: [], routingKey: Array("q".utf8))),
                properties: properties, body: Array(text.utf8)))
    }

    func close(_ code: AMQPReplyCode, _ text: String, about id: AMQPMethodID, on channel: UInt16 = 1) {
        let (classID, methodID) = (UInt16(id.rawValue >> 16), UInt16(truncatingIfNeeded: id.rawValue))
        let text = Array("\(code.name) - \(text)".utf8)
        if channel == 0 {
            send(.connectionClose(.init(replyCode: code.rawValue, replyText: text, classID: classID, methodID: methodID)), on: 0)
        } else {
            send(.channelClose(.init(replyCode: code.rawValue, replyText: text, classID: classID, methodID: methodID)), on: channel)
        }
    }

    // MARK: Hearing

    func turn() {
        loop.tick(until: loop.now)
        guard isListening, let connection = connections.last, !closed.contains(connection.serverEnd) else { return }
        connection.unread += network.read(from: connection.serverEnd)
        var output = ByteBuffer()
        let used = hear(connection.unread, connection, &connection.machine, &output)
        connection.unread.removeFirst(used)
        if !output.isEmpty { network.write(output.span.array, to: connection.serverEnd) }
    }

    private func hear(_ bytes: [UInt8], _ connection: Connection, _ machine: inout AMQPServerMachine, _ output: inout ByteBuffer) -> Int {
        var reader = ByteReader(bytes.span)
        do {
            machine.heard(at: network.now)
            try machine.wake(at: network.now, into: &output)
            while let event = try machine.nextEvent(from: &reader, into: &output) {
                try answer(event.owned(in: reader.bytes), connection, &machine, &output)
            }
        } catch {
            Issue.record("the client broke the protocol: \(error)")
        }
        return reader.offset
    }

    private func answer(_ event: AMQPEvent.Owned, _ connection: Connection, _ machine: inout AMQPServerMachine, _ output: inout ByteBuffer) throws {
        switch event {
        case .protocolHeader:
            try machine.send(
                .method(channel: 0, .connectionStart(.init(mechanisms: Array("PLAIN AMQPLAIN".utf8), locales: Array("en_US".utf8)))), into: &output)
        case .heartbeat: heartbeatCount += 1
        case .content(let channel, let method, _, let body):
            note("\(channel) \(method.line)", connection)
            try take(body, channel, connection, &machine, &output)
        case .body(let channel, let piece, let remaining):
            connection.piece += piece
            guard remaining == 0 else { return }
            try take(connection.piece, channel, connection, &machine, &output)
            connection.piece = []
        case .method(let channel, let method):
            let line = "\(channel) \(method.line)"
            note(line, connection)
            if case .confirmSelect = method { connection.published[channel] = 1 }
            guard !ignores.contains(line) else { return }
            if let answer = refuse(line) ?? agree(method, machine.tune) { try machine.send(.method(channel: channel, answer), into: &output) }
        default: break
        }
    }

    private func take(
        _ body: [UInt8], _ channel: UInt16, _ connection: Connection, _ machine: inout AMQPServerMachine, _ output: inout ByteBuffer
    ) throws {
        bodies.append(String(decoding: body, as: UTF8.self))
        guard let tag = connection.published[channel] else { return }
        connection.published[channel] = tag + 1
        if confirms { try machine.send(.method(channel: channel, .basicAck(.init(deliveryTag: tag))), into: &output) }
    }

    private func note(_ line: String, _ connection: Connection) {
        connection.heard.append(line)
        heard.append(line)
    }

    private func agree(_ method: AMQPMethod<[UInt8]>, _ tune: AMQPMethod<[UInt8]>) -> AMQPMethod<[UInt8]>? {
        switch method {
        case .connectionStartOk: tune
        case .connectionOpen: .connectionOpenOk(.init())
        case .connectionClose: .connectionCloseOk
        case .channelOpen: .channelOpenOk(.init())
        case .channelClose: .channelCloseOk
        case .exchangeDeclare: .exchangeDeclareOk
        case .exchangeDelete: .exchangeDeleteOk
        case .exchangeBind: .exchangeBindOk
        case .exchangeUnbind: .exchangeUnbindOk
        case .queueDeclare(let declare): .queueDeclareOk(.init(queue: declare.queue.isEmpty ? Array(queueNames.removeFirst().utf8) : declare.queue))
        case .queueBind: .queueBindOk
        case .queueUnbind: .queueUnbindOk
        case .queuePurge: .queuePurgeOk(.init(messageCount: 7))
        case .queueDelete: .queueDeleteOk(.init(messageCount: 3))
        case .basicQos: .basicQosOk
        case .basicConsume(let consume): .basicConsumeOk(.init(consumerTag: consume.consumerTag))
        case .basicCancel(let cancel): .basicCancelOk(.init(consumerTag: cancel.consumerTag))
        case .basicGet: .basicGetEmpty(.init())
        case .basicRecover: .basicRecoverOk
        case .confirmSelect: .confirmSelectOk
        case .txSelect: .txSelectOk
        case .txCommit: .txCommitOk
        case .txRollback: .txRollbackOk
        default: nil
        }
    }
}

extension AMQPMethod<[UInt8]> {
    /// The method and what it is about, for the server's record.
    var line: String {
        func text(_ parts: [UInt8]...) -> String { parts.map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ") }
        let about =
            switch self {
            case .exchangeDeclare(let declare): text(declare.exchange, declare.type)
            case .exchangeDelete(let delete): text(delete.exchange)
            case .exchangeBind(let bind): text(bind.destination, bind.source, bind.routingKey)
            case .queueDeclare(let declare): text(declare.queue) + (declare.passive ? " passive" : "")
            case .queueDelete(let delete): text(delete.queue)
            case .queueBind(let bind): text(bind.queue, bind.exchange, bind.routingKey)
            case .queueUnbind(let unbind): text(unbind.queue, unbind.exchange, unbind.routingKey)
            case .queuePurge(let purge): text(purge.queue)
            case .basicQos(let qos): "\(qos.prefetchCount)" + (qos.global ? " global" : "")
            case .basicConsume(let consume): text(consume.queue, consume.consumerTag)
            case .basicCancel(let cancel): text(cancel.consumerTag)
            case .basicPublish(let publish): text(publish.exchange, publish.routingKey)
            case .basicGet(let get): text(get.queue)
            case .basicAck(let ack): "\(ack.deliveryTag)" + (ack.multiple ? " multiple" : "")
            case .basicNack(let nack): "\(nack.deliveryTag)" + (nack.requeue ? " requeue" : "") + (nack.multiple ? " multiple" : "")
            case .basicReject(let reject): "\(reject.deliveryTag)" + (reject.requeue ? " requeue" : "")
            default: ""
            }
        return about.isEmpty ? id.dotted : "\(id.dotted) \(about)"
    }
}
