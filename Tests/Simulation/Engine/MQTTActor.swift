import MartletBytes
import MartletEventLoop
import MartletMQTTGateway
import MartletMQTTProtocol
import MartletPipe

/// An MQTT client that lasts: what it has sent and not heard of, which QoS 2 messages it has, and what it asked for.
final class MQTTActor: Actor {
    private struct Sent {
        var publication: MQTTPublish.Owned
        let number: Int
        var isReceived = false
    }
    private enum Phase { case away, connecting, open, leaving }
    private enum Request { case subscribe([String]), unsubscribe(String) }

    let version: MQTTVersion
    /// Its session outlives its connections by this much; zero: it does not.
    let sessionExpirySeconds: UInt32
    private let book: MQTTBook
    private var machine: MQTTClientMachine
    private var input = UnreadBytes()
    private var phase = Phase.away
    private var openedAt: Int64 = 0
    private var isCleanStart = false

    private var sent: [UInt16: Sent] = [:]
    private var order: [UInt16] = []
    private var lastIdentifier: UInt16 = 0
    private var unreleased: Set<UInt16> = []
    private var requests: [UInt16: Request] = [:]
    private var filters: [String: UInt8] = [:]
    private var unread: [MQTTClientEvent.Owned] = []
    /// Sessions begun: order is promised within one.
    private var session = 0
    /// A subscription was acknowledged: it must be there. What else is acknowledged need not be on disk.
    private var hasSession = false
    /// When the last connection ended that had heard CONNACK, by the wall clock.
    private var lastSeen: Int64 = 0
    /// It has no session to go on with, and none was begun for certain: a CONNECT was not answered. If there is a session, it is not known which.
    private var mustBeginAnew = false
    private var isSettling = false
    private var isGoingForGood = false
    private(set) var isGone = false

    init(_ world: Simulation, number: Int, version: MQTTVersion, sessionExpirySeconds: UInt32) {
        self.version = version
        self.sessionExpirySeconds = sessionExpirySeconds
        book = world.mqttBook
        machine = MQTTClientMachine(limits: MQTTLimits(), now: world.network.now)
        super.init(world, "m\(number)", number: number)
    }

    private var publisher: String { "\(name)/\(session)" }
    private var isPersistent: Bool { sessionExpirySeconds > 0 }

    override var isIdle: Bool { isGone || phase == .open && sent.isEmpty && unread.isEmpty && unreleased.isEmpty && requests.isEmpty }

    override var waitsFor: String {
        let acknowledgements = sent.keys.sorted().map { "\($0)\(sent[$0]?.isReceived == true ? " released" : "") (\(sent[$0]?.number ?? 0))" }
        return "\(phase), acknowledgements \(acknowledgements), releases \(unreleased.sorted()), requests \(requests.keys.sorted())"
    }

    // MARK: Coming and going

    private func connect(cleanStart wantsCleanStart: Bool) {
        let cleanStart = wantsCleanStart || mustBeginAnew
        machine = MQTTClientMachine(limits: MQTTLimits(), now: world.network.now)
        input = UnreadBytes()
        unread = []
        requests = [:]
        open { world.broker.gateways.randomElement(using: &world.random)!.adopt(Transport(descriptor: $0)) }
        openedAt = world.network.wallTime.milliseconds
        isCleanStart = cleanStart || !isPersistent
        var options = MQTTConnectOptions(version: version, clientID: Array(name.utf8))
        options.cleanStart = isCleanStart
        // Before v5 a session ends with its connection or lasts.
        options.sessionExpiry = version == .v5 && !isGoingForGood ? sessionExpirySeconds : 0
        options.keepAlive = 0
        if version == .v5, !isGoingForGood { options.receiveMaximum = UInt16.random(in: 1...30, using: &world.random) }
        if !isSettling, Int.random(in: 0..<4, using: &world.random) == 0 { options.will = will() }
        if isCleanStart {
            book.sessionMayEnd(number)
            forgetSession()
        }
        phase = .connecting
        // A client that has given its session up has none to go on with, whatever became of this CONNECT [MQTT-3.2.2-4].
        mustBeginAnew = isCleanStart
        say(.connect(options))
    }

    private func will() -> MQTTConnectOptions.Will {
        let qos = UInt8.random(in: 0...2, using: &world.random), topic = "w/\(name)"
        let message = book.publish("\(name)/will", topic, qos: qos, size: 10, isWill: true)
        let delay = version == .v5 && Bool.random(using: &world.random) ? UInt32.random(in: 1...5, using: &world.random) : 0
        return MQTTConnectOptions.Will(topic: Array(topic.utf8), payload: message.body, qos: qos, delaySeconds: delay)
    }

    private func connected(_ connack: MQTTConnack) {
        guard connack.reason == .success else { return world.trace.fail("\(name) was refused: \(connack.reason)") }
        phase = .open
        mustBeginAnew = false
        let away = world.network.wallTime.milliseconds - lastSeen
        if !isCleanStart, hasSession, !connack.sessionPresent, away < Int64(sessionExpirySeconds) * 1000 - 5000 {
            world.trace.expectUndamaged(false, "\(name) has no session any more")
        }
        if connack.sessionPresent {
            world.trace.expect(!isCleanStart, "\(name) began anew, and its session is still there")
            return resume()
        }
        book.sessionEnded(number)
        forgetSession()
        guard isGoingForGood else { return }
        say(.disconnect(reason: .success, sessionExpiry: nil))
        phase = .leaving
    }

    private func forgetSession() {
        for identifier in order { if let lost = sent[identifier] { book.abandon(lost.number) } }
        (sent, order, unreleased, filters) = ([:], [], [], [:])
        session += 1
        hasSession = false
    }

    /// What was not acknowledged, again and in order.
    private func resume() {
        for identifier in order {
            guard var again = sent[identifier] else { continue }
            if again.isReceived {
                say(.pubrel(packetIdentifier: identifier, reason: .success))
            } else {
                again.publication.duplicate = true
                book.sentAgain(again.number)
                say(.publish(again.publication))
            }
        }
    }

    override func connectionEnded() {
        if phase == .leaving, isGoingForGood { isGone = true }
        if phase != .connecting {
            lastSeen = world.network.wallTime.milliseconds
        } else if world.network.wallTime.milliseconds - lastSeen >= Int64(sessionExpirySeconds) * 1000 - 5000 {
            mustBeginAnew = true
        }
        phase = .away
        unread = []
        // Before v5 a clean session ends with its connection.
        guard !isPersistent || version != .v5 && isCleanStart else { return }
        book.sessionEnded(number)
        forgetSession()
    }

    // MARK: What it does

    override func act() {
        let random = Int.random(in: 0..<100, using: &world.random)
        guard phase == .open else {
            if phase == .away, random < 30 { connect(cleanStart: Int.random(in: 0..<15, using: &world.random) == 0) }
            return
        }
        switch random {
        case 0..<40: answer(Int.random(in: 1...8, using: &world.random))
        case 40..<75: publish()
        case 75..<87: subscribe()
        case 87..<90: unsubscribe()
        case 90: say(.disconnect(reason: .success, sessionExpiry: nil)); phase = .leaving
        case 91: cut()
        case 92: wire?.endOutput()
        case 93: wire?.stall(turns: Int.random(in: 1...60, using: &world.random))
        default: break
        }
    }

    override func settle() {
        isSettling = true
        if isGone { return }
        switch phase {
        case .away: connect(cleanStart: isGoingForGood)
        case .open: answer(.max)
        default: break
        }
    }

    override func leave() {
        isGoingForGood = true
        cut()
    }

    private func publish() {
        guard sent.count < 20 else { return }
        var qos = UInt8.random(in: 0...2, using: &world.random)
        let size = Int.random(in: 0..<20, using: &world.random) == 0 ? Int.random(in: 0...9000, using: &world.random) : 12
        var topic = ["t/0", "t/1", "t/2", "s/0", "s/1"].randomElement(using: &world.random)!, lifetime = Int64.max
        var properties: [UInt8] = []
        // One writer a topic, and one QoS, so that it is known which message is the last.
        let isRetained = qos > 0 && isPersistent && Int.random(in: 0..<8, using: &world.random) == 0
        if isRetained { (topic, qos) = ("r/\(name)", UInt8(1 + number % 2)) }
        if version == .v5, !isRetained, Int.random(in: 0..<10, using: &world.random) == 0 {
            let seconds = UInt8.random(in: 1...20, using: &world.random)
            properties = [2, 0, 0, 0, seconds]
            lifetime = Int64(seconds) * 1000
        }
        let message = book.publish(publisher, topic, qos: qos, size: size, lifetime: lifetime, isRetained: isRetained)
        var publication = MQTTPublish.Owned(topic: Array(topic.utf8), properties: properties, payload: message.body, qos: qos, retain: isRetained)
        if qos > 0 {
            repeat { lastIdentifier = lastIdentifier % 50 + 1 } while sent[lastIdentifier] != nil || requests[lastIdentifier] != nil
            publication.packetIdentifier = lastIdentifier
            sent[lastIdentifier] = Sent(publication: publication, number: message.number)
            order.removeAll { $0 == lastIdentifier }
            order.append(lastIdentifier)
        }
        world.trace.note("publishes", message.number, "\(name) on \(topic) at \(qos)")
        say(.publish(publication))
    }

    private func subscribe() {
        guard requests.count < 5 else { return }
        let filter = ["t/0", "t/1", "t/+", "t/#", "r/+", "w/#", MQTTBook.group].randomElement(using: &world.random)!
        // Members of the group take everything once, and stay; before v5 there are no groups.
        let isGroup = filter == MQTTBook.group
        if isGroup, version != .v5 || sessionExpirySeconds < 3600 { return }
        let qos = isGroup ? 2 : UInt8.random(in: 0...2, using: &world.random), identifier = requestIdentifier()
        filters[filter] = qos
        requests[identifier] = .subscribe([filter])
        book.subscribes(number, filter, qos: qos)
        let subscription = MQTTSubscription(filter: Array(filter.utf8), options: MQTTSubscriptionOptions(qos: qos))
        world.trace.note("subscribes", number, "\(name) to \(filter) at \(qos)")
        say(.subscribe(packetIdentifier: identifier, subscriptionIdentifier: 0, subscriptions: [subscription]))
    }

    private func unsubscribe() {
        guard requests.count < 5, let filter = filters.keys.sorted().randomElement(using: &world.random) else { return }
        let identifier = requestIdentifier()
        filters[filter] = nil
        requests[identifier] = .unsubscribe(filter)
        book.unsubscribes(number, filter)
        world.trace.note("unsubscribes", number, "\(name) from \(filter)")
        say(.unsubscribe(packetIdentifier: identifier, filters: [Array(filter.utf8)]))
    }

    private func requestIdentifier() -> UInt16 { (60_000..<60_100).first { requests[$0] == nil }! }

    private func say(_ message: MQTTClientOutgoing) {
        world.trace.note("says", 0, "\(name) \(message)")
        var output = ByteBuffer()
        do { try machine.send(message, into: &output) } catch {
            if !world.isStopping { world.trace.fail("\(name): misuse \(error) in \(message)") }
        }
        send(output.span.array)
    }

    // MARK: What it hears

    override func hear(_ bytes: [UInt8]) {
        var used = 0, output = ByteBuffer(), heard: [MQTTClientEvent.Owned] = []
        do {
            let all = input.show(bytes.span)
            var reader = ByteReader(all)
            machine.heard(at: world.network.now)
            while let event = try machine.nextEvent(from: &reader, into: &output) { heard.append(event.owned(in: all)) }
            used = reader.offset
        } catch { world.trace.fail("\(name): violation \(error)") }
        input.keep(bytes.span, used: used)
        for event in heard {
            world.trace.note("event", 0, "\(name) \(event)")
            if case .connack(let connack) = event { connected(connack) } else { unread.append(event) }
        }
    }

    private func answer(_ count: Int) {
        for _ in 0..<min(count, unread.count) where !unread.isEmpty { answer(unread.removeFirst()) }
    }

    private func answer(_ event: MQTTClientEvent.Owned) {
        switch event {
        case .publish(let publish): take(publish)
        case .puback(let identifier, let reason): acknowledged(identifier, reason)
        case .pubrec(let identifier, let reason):
            if reason.isFailure { return acknowledged(identifier, reason) }
            guard let one = sent[identifier] else { break }
            if !one.isReceived { book.acknowledged(one.number, finds: reason != .noMatchingSubscribers, at: world.network.wallTime.milliseconds) }
            sent[identifier]?.isReceived = true
            say(.pubrel(packetIdentifier: identifier, reason: .success))
        case .pubcomp(let identifier, _): sent[identifier] = nil
        case .pubrel(let identifier, _):
            unreleased.remove(identifier)
            say(.pubcomp(packetIdentifier: identifier, reason: .success))
        case .suback(let identifier, let reasons): subscribed(identifier, reasons)
        case .unsuback(let identifier, _):
            guard case .unsubscribe(let filter) = requests.removeValue(forKey: identifier) else { break }
            if filters[filter] == nil, !isAsked(filter) { book.unsubscribed(number, filter) }
        case .disconnect(let reason, let text, _):
            world.trace.expect(reason == .sessionTakenOver || reason == .serverShuttingDown && world.isStopping, "\(name) was sent away: \(reason) \(text)")
        default: break
        }
    }

    private func isAsked(_ filter: String) -> Bool {
        requests.values.contains { if case .subscribe(let filters) = $0 { filters.contains(filter) } else { false } }
    }

    private func subscribed(_ identifier: UInt16, _ reasons: [MQTTReason]) {
        guard case .subscribe(let asked) = requests.removeValue(forKey: identifier) else { return }
        hasSession = true
        for (filter, reason) in zip(asked, reasons) {
            guard !reason.isFailure else { world.trace.fail("\(name) may not subscribe to \(filter): \(reason)"); continue }
            // An UNSUBSCRIBE, or another wish, may have followed.
            if let wanted = filters[filter], !isAsked(filter), !isLeaving(filter) { book.subscribed(number, filter, qos: wanted) }
        }
    }

    private func isLeaving(_ filter: String) -> Bool {
        requests.values.contains { if case .unsubscribe(filter) = $0 { true } else { false } }
    }

    private func acknowledged(_ identifier: UInt16, _ reason: MQTTReason) {
        guard let one = sent.removeValue(forKey: identifier) else { return }
        if reason.isFailure { return book.refused(one.number) }
        book.acknowledged(one.number, finds: reason != .noMatchingSubscribers, at: world.network.wallTime.milliseconds)
    }

    private func take(_ publish: MQTTPublish.Owned) {
        if publish.qos < 2 || unreleased.insert(publish.packetIdentifier).inserted, !publish.payload.isEmpty {
            book.received(
                by: number, name, String(decoding: publish.topic, as: UTF8.self), publish.payload, qos: publish.qos, isReplay: publish.retain,
                isAgain: publish.duplicate,
                connection: connection, openedAt: openedAt)
        }
        if publish.qos == 1 { say(.puback(packetIdentifier: publish.packetIdentifier, reason: .success)) }
        if publish.qos == 2 { say(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success)) }
    }
}
