internal import MartletBytes
internal import MartletClient
internal import MartletDriver
internal import MartletEventLoop
internal import MartletMQTTProtocol

/// What lasts while connections come and go: what is under way (`MQTTPublishing`, `MQTTReceiving`), the subscriptions, and
/// the next connection. Confined to the loop.
/// ```
/// dialing --> opening --> open --(leave)--> ended
///    ^----------+----- waiting, after a loss -----'
/// ```
/// Invariant: `channel` is there in opening and open alone. Events only change what is kept here; `work` sends.
final class MQTTClientSession: ClientSession {
    private enum Phase { case dialing, opening, open, waiting, ended }

    let client: MQTTClient
    let clientID: String
    let options: MQTTClientOptions
    unowned let loop: EventLoop
    private unowned let tenant: MQTTClientTenant
    private let dial: MQTTDial
    private let makeLayer: (@Sendable () -> StreamLayer)?
    private var phase = Phase.dialing
    private var channel: MQTTClientChannel?
    private var connecting: MQTTReply<Void>?
    private var pause: PauseClock?
    private var hasBeenOpen = false
    private var openSince = Instant.never
    /// Attempts since the last connection that held.
    private var attempt = 0
    /// In a row.
    private var takeovers = 0

    private var identifiers = MQTTIdentifiers()
    private var publishing: MQTTPublishing
    private var receiving = MQTTReceiving()
    private var subscriptions: MQTTSubscriptions
    private var aliases: [UInt16: String] = [:]
    /// The last CONNECT asked for a session without a past.
    private var startsClean = false
    private var full: Set<UInt32> = []
    /// The server's challenge, while the authenticator thinks; what it says is sent by `work`.
    private var authAnswer: MQTTAuth.Owned?

    init(
        _ client: MQTTClient, _ clientID: String, _ options: MQTTClientOptions, _ tenant: MQTTClientTenant, on loop: EventLoop, dial: @escaping MQTTDial,
        makeLayer: (@Sendable () -> StreamLayer)?, connecting: MQTTReply<Void>
    ) {
        self.client = client
        self.clientID = clientID
        self.options = options
        self.tenant = tenant
        self.loop = loop
        self.dial = dial
        self.makeLayer = makeLayer
        self.connecting = connecting
        publishing = MQTTPublishing(options)
        subscriptions = MQTTSubscriptions(options.version)
    }

    var number: UInt64 { client.number }
    var isOpen: Bool { phase == .open }

    /// Full inboxes stop the reading, unless an answer stands behind the messages.
    var isReadingPaused: Bool { !full.isEmpty && publishing.isIdle && !subscriptions.isAsking }

    func trace(_ line: @autoclosure () -> String) { if let trace = options.trace { trace(line()) } }

    // MARK: Connecting

    /// The authenticator's first data, then a stream, then CONNECT.
    func start() {
        phase = .dialing
        guard let authenticator = options.authenticator, options.version == .v5 else { return dial(with: nil) }
        let number = client.number
        Task { [loop] in
            let outcome = await MQTTAuthOutcome { try await authenticator.initialData() }
            loop.execute { loop in MQTTClientTenant.on(loop)?.session(number)?.authenticated(outcome) { session, data in session.dial(with: data) } }
        }
    }

    private func dial(with authenticationData: [UInt8]?) {
        let number = client.number
        dial(loop, options.connectTimeout) { loop, result in
            guard let session = MQTTClientTenant.on(loop)?.session(number), session.phase == .dialing else {
                if case .success(let descriptor) = result { loop.discard(descriptor) }
                return
            }
            switch result {
            case .success(let descriptor): session.open(descriptor, authenticationData)
            case .failure(let error): session.lost(error)
            }
        }
    }

    private func open(_ descriptor: Int32, _ authenticationData: [UInt8]?) {
        let channel = MQTTClientChannel(self, options, now: loop.now)
        guard loop.add(channel, Transport(descriptor: descriptor, layer: makeLayer?())) != nil else { return end(.closed) }
        self.channel = channel
        phase = .opening
        aliases = [:]
        authAnswer = nil
        do throws(MQTTMisuse) {
            let connect = try options.connect(clientID: clientID, isFirst: !hasBeenOpen, authenticationData: authenticationData)
            try channel.send(.connect(connect))
            startsClean = connect.cleanStart
            let name = connect.version == .v5 ? "5" : connect.version == .v3_1 ? "3.1" : "3.1.1"
            trace("sending CONNECT (\(clientID), v\(name), c\(connect.cleanStart ? 1 : 0), k\(connect.keepAlive))")
        } catch {
            channel.end(.misuse(.connect, error))
        }
    }

    /// The connection, or the attempt to make one, is over.
    func lost(_ error: MQTTClientError) {
        guard phase != .ended else { return }
        channel = nil
        handOver()
        receiving.connectionLost()
        subscriptions.connectionLost(&identifiers)
        if phase == .open, loop.now - openSince >= options.reconnect.stableAfter { attempt = 0 }
        let triesAgain = options.reconnect.isEnabled && (hasBeenOpen || options.reconnect.includesFirst)
        let isCurable = isTakenOverByItself(error) || error.isCurable
        guard triesAgain, isCurable, attempt < options.reconnect.attemptsMax, connecting?.isAbandoned != true else { return end(error) }
        attempt += 1
        phase = .waiting
        let delay = options.reconnect.delay(before: attempt, chance: .random(in: 0..<1))
        client.tell(.disconnected(error))
        client.tell(.reconnecting(attempt: attempt, after: delay))
        trace("\(error)")
        trace("connecting again in \(delay)")
        pause = PauseClock(until: loop.now + delay, on: loop) { [weak self] in self?.resume() }
    }

    /// A server may see the CONNECT of a connection that broke after that of the next one, which it then takes over.
    private func isTakenOverByItself(_ error: MQTTClientError) -> Bool {
        guard case .connectionLost(_, .disconnected(.sessionTakenOver, _)) = error, phase == .open else {
            takeovers = 0
            return false
        }
        takeovers += 1
        return attempt > 0 && takeovers <= 3 && loop.now - openSince < .seconds(1)
    }

    /// The pause is over.
    func resume() {
        pause = nil
        if connecting?.isAbandoned == true { end(.cancelled) } else { start() }
    }

    // MARK: What the server says

    /// Answers why the connection is over, if it is.
    func handle(_ event: MQTTClientEvent, in bytes: Span<UInt8>) -> MQTTClientError? {
        switch event {
        case .publish(let publish): return arrived(publish, in: bytes)
        case .puback(let identifier, let reason):
            trace("received PUBACK (m\(identifier), \(reason.name))")
            publishing.acknowledged(identifier, reason, &identifiers)
        case .pubrec(let identifier, let reason):
            trace("received PUBREC (m\(identifier), \(reason.name))")
            publishing.received(identifier, reason, &identifiers)
        case .pubrel(let identifier, _):
            trace("received PUBREL (m\(identifier))")
            receiving.released(identifier)
        case .pubcomp(let identifier, let reason):
            trace("received PUBCOMP (m\(identifier), \(reason.name))")
            publishing.acknowledged(identifier, reason, &identifiers)
        case .connack(let connack): return opened(connack, in: bytes)
        case .suback(let identifier, let reasons): granted(identifier, bytes.at(reasons).array.map(MQTTReason.init))
        case .unsuback(let identifier, _):
            trace("received UNSUBACK (m\(identifier))")
            subscriptions.ended(identifier, &identifiers)
        case .pingresp: trace("received PINGRESP")
        case .auth(let auth): challenged(auth, in: bytes)
        case .disconnect(let reason, let text, _):
            trace("received DISCONNECT (\(reason.name))")
            return .connectionLost(server: client.server, .disconnected(reason, text: bytes.at(text).text))
        }
        return nil
    }

    private func opened(_ connack: MQTTConnack.Received, in bytes: Span<UInt8>) -> MQTTClientError? {
        trace("received CONNACK (\(connack.reason.name))")
        guard connack.reason == .success else {
            return .refused(server: client.server, reason: connack.reason, text: connack.reasonText.map { bytes.at($0).text } ?? "")
        }
        // [MQTT-3.2.2-4]
        guard !connack.sessionPresent || !startsClean else { return .connectionLost(server: client.server, .violation(.malformed(.connackFlags))) }
        if let authenticator = options.authenticator, options.version == .v5 {
            do { try authenticator.finished(with: connack.authenticationData.map { bytes.at($0).array }) } catch {
                return .authenticationFailed(method: authenticator.method, reason: "\(error)")
            }
        }
        let isFirst = !hasBeenOpen
        phase = .open
        openSince = loop.now
        hasBeenOpen = true
        if !connack.sessionPresent { receiving.sessionLost() }
        publishing.opened(connack, &identifiers)
        subscriptions.opened(connack, isFirst: isFirst)
        client.opened(assigned: connack.assignedClientID.map { bytes.at($0).text }, responseAddress: connack.responseAddress.map { bytes.at($0).text })
        client.tell(.connected(sessionPresent: connack.sessionPresent))
        connecting?.resolve(.success(()))
        connecting = nil
        return nil
    }

    private func granted(_ identifier: UInt16, _ reasons: [MQTTReason]) {
        trace("received SUBACK (m\(identifier), \(reasons.map(\.name).joined(separator: ", ")))")
        guard let refused = subscriptions.granted(identifier, reasons, &identifiers) else { return }
        let (filter, reason) = zip(refused.filters, reasons).first { $0.1.isFailure } ?? (MQTTFilter(""), .unspecifiedError)
        full.remove(refused.number)
        refused.inbox.end(.failure(.rejected(.subscribe(filter: filter.text), reason)))
    }

    private func arrived(_ publish: MQTTPublish, in bytes: Span<UInt8>) -> MQTTClientError? {
        var topic = bytes.at(publish.topic).text
        if publish.topicAlias > 0 {
            if !topic.isEmpty {
                aliases[publish.topicAlias] = topic
            } else if let known = aliases[publish.topicAlias] {
                topic = known
            } else {
                return .connectionLost(server: client.server, .violation(.topicAliasInvalid))
            }
        }
        let payload = bytes.at(publish.payload).array
        trace(
            "received PUBLISH (d\(publish.duplicate ? 1 : 0), q\(publish.qos), r\(publish.retain ? 1 : 0), m\(publish.packetIdentifier), '\(topic)', \(payload.count) bytes)"
        )
        var message = MQTTMessage(
            topic: topic, payload: payload, qos: MQTTQoS(rawValue: publish.qos) ?? .exactlyOnce, retain: publish.retain, isDuplicate: publish.duplicate,
            properties: publish.properties.isEmpty ? MQTTProperties() : MQTTProperties(publish.properties, in: bytes))
        message.packetIdentifier = publish.packetIdentifier
        message.topicAlias = publish.topicAlias
        if !publish.properties.isEmpty { message.subscriptionIdentifiers = MQTTMessage.subscriptionIdentifiers(publish.properties, in: bytes) }
        var delivery = MQTTDelivery(message: message, sequence: 0)
        let targets = subscriptions.targets(of: topic, identifiers: message.subscriptionIdentifiers)
        if publish.qos > 0 {
            guard let sequence = receiving.arrived(publish) else { return nil }
            delivery.sequence = sequence
            let isKept = targets.isEmpty && subscriptions.keepsUnclaimed
            receiving.expect(sequence, handedOverBy: isKept ? 1 : targets.count)
            if isKept { subscriptions.keep(delivery) }
        }
        subscriptions.deliver(delivery, to: targets)
        return nil
    }

    private func challenged(_ auth: MQTTAuth, in bytes: Span<UInt8>) {
        trace("received AUTH (\(auth.reason.name))")
        guard let authenticator = options.authenticator, auth.reason == .continueAuthentication else { return }
        let challenge = auth.data.map { bytes.at($0).array } ?? []
        let number = client.number
        Task { [loop] in
            let outcome = await MQTTAuthOutcome { try await authenticator.answer(to: challenge) }
            loop.execute { loop in
                MQTTClientTenant.on(loop)?.session(number)?.authenticated(outcome) { session, data in
                    session.authAnswer = MQTTAuth.Owned(reason: .continueAuthentication, method: Array(authenticator.method.utf8), data: data)
                    session.work()
                }
            }
        }
    }

    private func authenticated(_ outcome: MQTTAuthOutcome, _ goOn: (MQTTClientSession, [UInt8]?) -> Void) {
        switch outcome {
        case .said(let bytes): if phase == .dialing || channel != nil { goOn(self, bytes) }
        case .failed(let reason):
            let error = MQTTClientError.authenticationFailed(method: options.authenticator?.method ?? "", reason: reason)
            if let channel { channel.end(error) } else { end(error) }
        }
    }

    /// After the events of one read.
    func handOver() {
        let (full, taken) = subscriptions.handOver()
        self.full.formUnion(full)
        for sequence in taken where sequence != 0 { receiving.letGo(sequence, staysUnacknowledged: false) }
    }

    /// Sends what may be sent. Answers false if the socket takes no more for now.
    func pump(through channel: MQTTClientChannel) -> Bool {
        if let answer = authAnswer {
            authAnswer = nil
            try? channel.send(.auth(answer))
            trace("sending AUTH")
        }
        guard isOpen else { return true }
        receiving.answer(through: channel)
        for (subscription, misuse) in subscriptions.ask(through: channel, &identifiers) {
            let error = MQTTClientError.misuse(.subscribe(filter: subscription.filters.map(\.text).joined(separator: ", ")), misuse)
            subscription.reply?.resolve(.failure(error))
            subscription.inbox.end(.failure(error))
        }
        return publishing.pump(through: channel, &identifiers)
    }

    private func work() { channel?.work() }

    // MARK: What the tasks say

    func add(_ publications: [MQTTPublication]) {
        publishing.add(publications, isOffline: !isOpen, server: client.server)
        work()
    }

    func subscribe(_ number: UInt32, _ filters: [String], _ how: MQTTSubscribing, _ inbox: MQTTInbox, _ reply: MQTTReply<[MQTTReason]>) {
        guard !reply.isAbandoned else { return }
        subscriptions.add(.init(number: number, filters: filters.map(MQTTFilter.init), how: how, inbox: inbox, reply: reply))
        handOver()
        work()
    }

    func unsubscribe(_ number: UInt32, staysSubscribed: Bool) {
        guard let gone = subscriptions.remove(number, staysSubscribed: staysSubscribed, &identifiers) else { return }
        full.remove(number)
        let (handed, left) = gone.inbox.close()
        for sequence in handed { receiving.letGo(sequence, staysUnacknowledged: false) }
        for sequence in left + gone.arrived.map(\.sequence) where sequence != 0 { receiving.letGo(sequence, staysUnacknowledged: staysSubscribed) }
        work()
    }

    func unsubscribe(from filters: [String], _ reply: MQTTReply<Void>) {
        subscriptions.remove(filters, reply)
        work()
    }

    /// A task has taken messages from its inbox.
    func report(_ number: UInt32) {
        guard let subscription = subscriptions.all.first(where: { $0.number == number }) else { return }
        let (handed, isFull) = subscription.inbox.report()
        if !isFull { full.remove(number) }
        for sequence in handed { receiving.letGo(sequence, staysUnacknowledged: false) }
        work()
    }

    // MARK: The end

    /// Says DISCONNECT; `reply` is resolved when it has left, or could not in time.
    func leave(_ reply: MQTTReply<Void>) {
        guard isOpen, let channel else {
            end(.closed)
            return reply.resolve(.success(()))
        }
        channel.leave(reply, sessionExpiry: options.sessionExpiryAtLeaving)
    }

    /// For good.
    func end(_ error: MQTTClientError) {
        guard phase != .ended else { return }
        phase = .ended
        handOver()
        tenant.remove(self)
        if let pause { loop.close(pause, .finished) }
        if let channel { loop.close(channel, .finished) }
        channel = nil
        connecting?.resolve(.failure(error))
        publishing.end(error)
        subscriptions.end(error)
        client.end(error)
    }
}

/// What an authenticator said, or threw.
enum MQTTAuthOutcome: Sendable {
    case said([UInt8]?)
    case failed(String)

    init(_ body: () async throws -> [UInt8]?) async {
        do { self = .said(try await body()) } catch { self = .failed("\(error)") }
    }
}
