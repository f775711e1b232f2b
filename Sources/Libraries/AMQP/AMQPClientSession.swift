internal import MartletAMQPProtocol
internal import MartletBytes
internal import MartletClient
internal import MartletDriver
internal import MartletEventLoop

/// What lasts while connections come and go: the channels with what is under way on them, what was declared (`AMQPTopology`), and the next
/// connection. Confined to the loop.
/// ```
/// dialing --> opening --> recovering --> open --(leave)--> ended
///    ^----------+-- waiting, after a loss --'
/// ```
/// Invariant: `stream` is there in opening, recovering and open alone. Events only change what is kept here; `pump` sends.
final class AMQPClientSession: ClientSession {
    private enum Phase { case dialing, opening, recovering, open, waiting, ended }

    let connection: AMQPConnection
    let options: AMQPConnectionOptions
    unowned let loop: EventLoop
    private unowned let tenant: AMQPClientTenant
    private let dial: AMQPDial
    private let makeLayer: (@Sendable () -> StreamLayer)?
    private var phase = Phase.dialing
    private(set) var stream: AMQPStream?
    private var connecting: AMQPReply<Void>?
    private var leaving: [AMQPReply<Void>] = []
    private var pause: PauseClock?
    private var hasBeenOpen = false
    private var openSince = Instant.never
    /// Attempts since the last connection that held.
    private var attempt = 0

    var topology = AMQPTopology()
    private var channels: [UInt64: AMQPChannelState] = [:]
    private var numbers: [UInt16: AMQPChannelState] = [:]
    /// The one of the last event: most are of one channel.
    private var lastChannel: AMQPChannelState?
    private var lowestFree: UInt16 = 1
    /// As was agreed on last.
    private var channelMax: UInt16
    /// Those that have something to say.
    private var ready = Line<AMQPChannelState>()
    private(set) var recovery: AMQPRecovery?
    /// In the order of their deadlines.
    private var closings = Line<(deadline: Instant, channel: AMQPChannelState)>()
    /// Of channel 0, and close-ok of others.
    private var answers: [(channel: UInt16, method: AMQPMethod<[UInt8]>)] = []
    /// What the server offered, while it is not answered.
    private var offered: AMQPMethod<[UInt8]>.ConnectionTune?
    private(set) var isBlocked = false
    var completions = AMQPCompletions()
    /// Those that got something in this read.
    private var touched: [AMQPConsumer] = []
    /// Those whose task takes too slowly.
    private var full: Set<ObjectIdentifier> = []
    /// Publications that wait, and their bytes.
    private var waitingCount = 0
    private var waitingBytes = 0

    init(
        _ connection: AMQPConnection, _ options: AMQPConnectionOptions, _ tenant: AMQPClientTenant, on loop: EventLoop, dial: @escaping AMQPDial,
        makeLayer: (@Sendable () -> StreamLayer)?, connecting: AMQPReply<Void>
    ) {
        self.connection = connection
        self.options = options
        self.tenant = tenant
        self.loop = loop
        self.dial = dial
        self.makeLayer = makeLayer
        self.connecting = connecting
        channelMax = options.channelMax
    }

    var number: UInt64 { connection.number }
    var isOpen: Bool { phase == .open }
    /// The server has let this connection in.
    var hasOpened: Bool { phase == .open || phase == .recovering }
    var all: some Collection<AMQPChannelState> { channels.values }
    /// All that was asked has left.
    var isDrained: Bool { phase == .open && ready.isEmpty && channels.values.allSatisfy(\.isDrained) }

    /// Full inboxes stop the reading, unless an answer stands behind the deliveries.
    var isReadingPaused: Bool { !full.isEmpty && isOpen && channels.values.allSatisfy { !$0.awaitsAnswer } }

    // MARK: Connecting

    func start() {
        phase = .dialing
        let number = connection.number
        dial(loop, options.connectTimeout) { loop, result in
            guard let session = AMQPClientTenant.on(loop)?.session(number), session.phase == .dialing else {
                if case .success(let descriptor) = result { loop.discard(descriptor) }
                return
            }
            switch result {
            case .success(let descriptor): session.open(descriptor)
            case .failure(let error): session.lost(error)
            }
        }
    }

    private func open(_ descriptor: Int32) {
        let stream = AMQPStream(self, options, now: loop.now)
        guard loop.add(stream, Transport(descriptor: descriptor, layer: makeLayer?())) != nil else { return end(.closed) }
        self.stream = stream
        phase = .opening
        try? stream.send(.protocolHeader)
    }

    /// The connection, or the attempt to make one, is over.
    func lost(_ error: AMQPError) {
        guard phase != .ended else { return }
        stream = nil
        recovery = nil
        answers = []
        isBlocked = false
        handOver()
        _ = ready.removeAll()
        _ = closings.removeAll()
        numbers = numbers.filter { $0.value.handle != nil }
        lastChannel = nil
        if phase == .open, loop.now - openSince >= options.reconnect.stableAfter { attempt = 0 }
        let triesAgain = options.reconnect.isEnabled && (hasBeenOpen || options.reconnect.includesFirst)
        guard triesAgain, error.isCurable, attempt < options.reconnect.attemptsMax, connecting?.isAbandoned != true else { return end(error) }
        if phase == .open || phase == .recovering { for channel in Array(channels.values) { channel.connectionLost(error) } }
        attempt += 1
        phase = .waiting
        let delay = options.reconnect.delay(before: attempt, chance: .random(in: 0..<1))
        connection.tell(.disconnected(error))
        connection.tell(.reconnecting(attempt: attempt, after: delay))
        pause = PauseClock(until: loop.now + delay, on: loop) { [weak self] in self?.resume() }
    }

    /// The pause is over.
    private func resume() {
        pause = nil
        if connecting?.isAbandoned == true { end(.cancelled) } else { start() }
    }

    // MARK: What the server says

    /// Answers why the connection is over, if it is.
    func handle(_ event: AMQPEvent, in bytes: Span<UInt8>) -> AMQPError? {
        switch event {
        case .content(let number, let method, let header, let body):
            if let channel = channel(numbered: number) { channel.arrived(method, header, body, in: bytes) }
        case .method(0, let method): return heard(method.owned(in: bytes))
        case .method(let number, .basicAck(let ack)):
            channel(numbered: number)?.confirmed(ack.deliveryTag, multiple: ack.multiple, isAck: true)
        case .method(let number, let method): return channel(numbered: number)?.heard(method.owned(in: bytes))
        case .header(let number, let header): channel(numbered: number)?.began(header, in: bytes)
        case .body(let number, let piece, let remaining): channel(numbered: number)?.went(on: bytes.at(piece), remaining: remaining)
        case .bodyTooLarge(let number, let size): channel(numbered: number)?.end(.bodyTooLarge(size: size))
        case .protocolHeader, .heartbeat, .discarded: break
        }
        return nil
    }

    private func channel(numbered number: UInt16) -> AMQPChannelState? {
        if let lastChannel, lastChannel.number == number { return lastChannel }
        lastChannel = numbers[number]
        return lastChannel
    }

    /// On channel 0.
    private func heard(_ method: AMQPMethod<[UInt8]>) -> AMQPError? {
        switch method {
        case .connectionStart(let start): return started(start)
        case .connectionSecure: answers.append((0, .connectionSecureOk(.init(response: options.sasl.response))))
        case .connectionTune(let tune): offered = tune
        case .connectionOpenOk: opened()
        case .connectionClose(let close):
            let exception = AMQPException(
                code: close.replyCode, text: String(decoding: close.replyText, as: UTF8.self), classID: close.classID, methodID: close.methodID)
            return hasOpened
                ? .connectionLost(server: connection.server, .exception(exception)) : .refused(server: connection.server, exception)
        case .connectionCloseOk: stream?.left()
        case .connectionBlocked(let blocked):
            isBlocked = true
            connection.tell(.blocked(reason: String(decoding: blocked.reason, as: UTF8.self)))
        case .connectionUnblocked:
            isBlocked = false
            connection.tell(.unblocked)
            for channel in channels.values { mark(channel) }
        default: break
        }
        return nil
    }

    private func started(_ start: AMQPMethod<[UInt8]>.ConnectionStart) -> AMQPError? {
        connection.started(AMQPTable(encoded: start.serverProperties))
        let sasl = options.sasl
        guard AMQPSASL.offers(start.mechanisms, sasl.mechanism) else {
            return .mechanismNotOffered(server: connection.server, offered: String(decoding: start.mechanisms, as: UTF8.self))
        }
        answers.append(
            (
                0,
                .connectionStartOk(
                    .init(
                        clientProperties: options.properties.encoded, mechanism: sasl.mechanism, response: sasl.response, locale: Array("en_US".utf8)))
            ))
        return nil
    }

    private func opened() {
        openSince = loop.now
        let isFirst = !hasBeenOpen
        hasBeenOpen = true
        phase = .recovering
        if !isFirst, options.reconnect.recoversTopology { recovery = AMQPRecovery(in: self) }
        if recovery == nil { recovered() }
    }

    /// Whether the connection is better made once more than without what the server refuses now: for some two heartbeats.
    var mayTryAgain: Bool { options.reconnect.isEnabled && attempt < 8 }

    /// Exchanges, queues and bindings are there again; now the channels.
    func recovered() {
        recovery?.carrier.close()
        recovery = nil
        lastChannel = nil
        phase = .open
        for channel in channels.values.sorted(by: { $0.number < $1.number }) { mark(channel) }
        connection.tell(.connected)
        connecting?.resolve(.success(()))
        connecting = nil
        if !leaving.isEmpty { stream?.leave(within: options.limits.closeTimeout) }
    }

    /// After the events of one read.
    func handOver() {
        completions.flush()
        for consumer in touched where consumer.handOver() { full.insert(ObjectIdentifier(consumer)) }
        touched.removeAll(keepingCapacity: true)
    }

    func touch(_ consumer: AMQPConsumer) { touched.append(consumer) }
    func relieve(_ consumer: AMQPConsumer) { full.remove(ObjectIdentifier(consumer)) }

    // MARK: To the server

    /// It has something to say.
    func mark(_ channel: AMQPChannelState) {
        guard !channel.isReady else { return }
        channel.isReady = true
        ready.append(channel)
    }

    /// An answer of its own: close-ok.
    func answer(_ method: AMQPMethod<[UInt8]>, on channel: UInt16) { answers.append((channel, method)) }

    /// Sends what may be sent. Answers false if the socket takes no more for now.
    func pump(through stream: AMQPStream) -> Bool {
        if let tune = offered {
            offered = nil
            try? stream.send(stream.tuneOk(to: tune), on: 0)
            channelMax = stream.channelMax
            try? stream.send(.connectionOpen(.init(virtualHost: Array(options.virtualHost.utf8))), on: 0)
        }
        if !answers.isEmpty {
            for (channel, method) in answers { try? stream.send(method, on: channel) }
            answers = []
        }
        if let carrier = recovery?.carrier { return carrier.pump(through: stream) }
        guard isOpen else { return true }
        defer { completions.flush() }
        while let channel = ready.first {
            guard channel.pump(through: stream) else { return false }
            ready.removeFirst()
            channel.isReady = false
        }
        return true
    }

    func work() { stream?.work() }

    // MARK: What the tasks say

    func open(_ handle: AMQPChannel, _ reply: AMQPReply<Void>) {
        guard !reply.isAbandoned else { return }
        guard let number = freeNumber(), hasNumberForRecovery(beside: number) else {
            return reply.resolve(.failure(.channelsExhausted(server: connection.server, count: channels.count)))
        }
        let channel = AMQPChannelState(number, handle, in: self)
        channel.opening = reply
        channels[handle.id] = channel
        numbers[number] = channel
        lastChannel = nil
        mark(channel)
        work()
    }

    /// The lowest: servers keep tables of them.
    func freeNumber() -> UInt16? {
        let most = channelMax == 0 ? .max : channelMax
        var number = lowestFree
        while numbers[number] != nil {
            guard number < most else { return nil }
            number += 1
        }
        guard number <= most else { return nil }
        lowestFree = number
        return number
    }

    /// Making things anew wants a channel of its own.
    private func hasNumberForRecovery(beside number: UInt16) -> Bool {
        let most = channelMax == 0 ? .max : channelMax
        return !options.reconnect.isEnabled || most == 1 || channels.count + 1 < Int(most)
    }

    /// Its opening has failed, or nobody waits for it.
    func abandon(_ id: UInt64) {
        guard let channel = channels[id] else { return }
        channel.close()
        work()
    }

    func takeOutbox(of handle: AMQPChannel) {
        let (commands, settlements) = handle.takeOutbox()
        guard let channel = channels[handle.id] else { return }
        channel.add(commands, settlements)
        // No connection is waited for to close in.
        if channel.isClosing, !hasOpened { return channel.end(.closed) }
        mark(channel)
        work()
        if channel.isClosing, !channel.isEnded { watchClosing(channel) }
    }

    private func watchClosing(_ channel: AMQPChannelState) {
        while closings.first?.channel.isEnded == true { closings.removeFirst() }
        closings.append((loop.now + options.limits.closeTimeout, channel))
        if let stream { loop.schedule(stream) }
    }

    /// When the first channel that is being closed has waited long enough.
    var closeDeadline: Instant { closings.first?.deadline ?? .never }

    func closeOverdue() {
        while let first = closings.first, first.deadline <= loop.now || first.channel.isEnded {
            closings.removeFirst()
            first.channel.closeOverdue()
        }
        work()
    }

    /// A consumer's task has made room.
    func hasRoom(_ id: UInt64, _ consumerTag: String) {
        if let consumer = channels[id]?.consumer(consumerTag), !consumer.terms.inbox.isFull { relieve(consumer) }
        work()
    }

    func enter(_ channel: AMQPChannelState) { numbers[channel.number] = channel }

    /// The channel is no more. Its number is free, once close-ok has gone.
    func forget(_ channel: AMQPChannelState) {
        if let handle = channel.handle { channels[handle.id] = nil }
        if numbers[channel.number] === channel { numbers[channel.number] = nil }
        lowestFree = min(lowestFree, channel.number)
        lastChannel = nil
    }

    /// While there is no connection only so many wait; what is too much fails here.
    func admits(_ publication: AMQPPublication) -> Bool {
        let limits = options.limits
        if !isOpen, waitingCount >= limits.offlineCountMax || waitingBytes + publication.size > limits.offlineBytesMax {
            publication.complete(.offlineQueueFull(server: connection.server, count: waitingCount))
            return false
        }
        waitingCount += 1
        waitingBytes += publication.size
        return true
    }

    /// It waits no longer.
    func leaves(_ publication: AMQPPublication) {
        waitingCount -= 1
        waitingBytes -= publication.size
    }

    /// A consumer of the queue has ended.
    func unconsumed(_ queue: String) {
        let name = topology.currentName(Array(queue.utf8))
        let isConsumed = channels.values.contains { channel in
            channel.consumers.contains { topology.currentName(Array($0.terms.queue.utf8)) == name }
        }
        if !isConsumed { topology.unconsumed(name) }
    }

    // MARK: The end

    /// Closes the connection; `reply` is resolved when that is done, or could not be in time.
    func leave(_ reply: AMQPReply<Void>) {
        leaving.append(reply)
        if hasOpened, let stream { stream.leave(within: options.limits.closeTimeout) } else { end(.closed) }
    }

    /// For good.
    func end(_ error: AMQPError) {
        guard phase != .ended else { return }
        phase = .ended
        handOver()
        tenant.remove(self)
        if let pause { loop.close(pause, .finished) }
        if let stream { loop.close(stream, .finished) }
        stream = nil
        connecting?.resolve(.failure(error))
        for channel in Array(channels.values) { channel.end(error) }
        completions.flush()
        connection.end(error)
        for reply in leaving { reply.resolve(.success(())) }
    }
}
