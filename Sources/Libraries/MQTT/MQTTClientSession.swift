internal import MartletBytes
internal import MartletDriver
internal import MartletEventLoop
internal import MartletMQTTProtocol

/// What a client and the server have agreed on and what is under way between them: packet identifiers, unacknowledged messages,
/// subscriptions and the order of acknowledgements. Confined to the loop.
///
/// Apart from the connection (`MQTTClientChannel`), which comes and goes: what a reconnect resends is all here.
/// Invariants: PUBLISH leaves in the order of the calls; PUBACK in the order of arrival [MQTT-4.6.0-2].
/// Not here yet: QoS 2 and reconnecting.
final class MQTTClientSession {
    /// An arrived QoS 1 message: how many subscriptions have not yet handed it over.
    private struct Arrival {
        let identifier: UInt16
        var remaining: Int
        /// A kept session's message that was not taken: it comes again in the next connection.
        var staysUnacknowledged = false
    }
    private struct Subscription {
        let number: UInt32
        let filters: [MQTTFilter]
        let inbox: MQTTInbox
        /// A later subscription has one of its filters: the server names only that one.
        var isShadowed = false
        var arrived: [MQTTDelivery] = []
    }
    private enum Request {
        case subscribe(MQTTReply<[MQTTReason]>)
        case unsubscribe
    }

    let client: MQTTClient
    private let options: MQTTClientOptions
    private let limits: MQTTClientLimits
    private var connecting: MQTTReply<Void>?
    private(set) var isOpen = false
    private var lastIdentifier: UInt16 = 0

    private var waiting = MQTTLine<MQTTPublication>()
    private var unacknowledged: [UInt16: MQTTPublication] = [:]
    private var window: Int

    private var requests: [UInt16: Request] = [:]
    private var subscriptions: [Subscription] = []
    private var usesIdentifiers = false
    private var arrivals = MQTTLine<Arrival>()
    /// The sequence of the first of `arrivals`.
    private var firstSequence: UInt64 = 1
    /// QoS 1 messages of a kept session that came before somebody subscribed again.
    private var unclaimed: [MQTTDelivery] = []
    private var keepsUnclaimed = false
    private var full: Set<UInt32> = []

    init(_ client: MQTTClient, _ options: MQTTClientOptions, connecting: MQTTReply<Void>) {
        self.client = client
        self.options = options
        self.connecting = connecting
        limits = options.limits
        window = options.limits.unacknowledgedMax
    }

    /// Full inboxes stop the reading, unless an answer stands behind the messages.
    var isReadingPaused: Bool { !full.isEmpty && waiting.isEmpty && unacknowledged.isEmpty && requests.isEmpty }

    func trace(_ line: @autoclosure () -> String) { if let trace = options.trace { trace(line()) } }

    // MARK: What the server says

    /// Answers why the connection is over, if it is.
    func handle(_ event: MQTTClientEvent, in bytes: Span<UInt8>) -> MQTTClientError? {
        switch event {
        case .publish(let publish): arrived(publish, in: bytes)
        case .puback(let identifier, let reason): acknowledged(identifier, reason)
        case .connack(let connack): return opened(connack, in: bytes)
        case .suback(let identifier, let reasons):
            trace("received SUBACK (m\(identifier))")
            guard case .subscribe(let reply)? = requests.removeValue(forKey: identifier) else { break }
            reply.resolve(.success(bytes.at(reasons).array.map(MQTTReason.init)))
        case .unsuback(let identifier, _):
            trace("received UNSUBACK (m\(identifier))")
            requests[identifier] = nil
        case .pingresp: trace("received PINGRESP")
        case .pubrec, .pubrel, .pubcomp, .auth: break
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
        isOpen = true
        window = min(limits.unacknowledgedMax, Int(connack.receiveMaximum ?? .max))
        usesIdentifiers = options.version == .v5 && connack.subscriptionIdentifiersAvailable != false
        keepsUnclaimed = connack.sessionPresent
        connecting?.resolve(.success(()))
        connecting = nil
        return nil
    }

    private func acknowledged(_ identifier: UInt16, _ reason: MQTTReason) {
        trace("received PUBACK (m\(identifier), \(reason.name))")
        guard let publication = unacknowledged.removeValue(forKey: identifier) else { return }
        publication.complete(reason.isFailure ? .rejected(.publish(topic: publication.topic), reason) : nil)
    }

    private func arrived(_ publish: MQTTPublish, in bytes: Span<UInt8>) {
        let message = MQTTMessage(
            topic: bytes.at(publish.topic).text, payload: bytes.at(publish.payload).array, qos: publish.qos == 0 ? .atMostOnce : .atLeastOnce,
            retain: publish.retain, isDuplicate: publish.duplicate)
        trace(
            "received PUBLISH (d\(publish.duplicate ? 1 : 0), q\(publish.qos), r\(publish.retain ? 1 : 0), m\(publish.packetIdentifier), '\(message.topic)', \(message.payload.count) bytes)"
        )
        let targets = targets(of: message.topic, identifiers: publish.properties.isEmpty ? [] : Self.identifiers(publish.properties, in: bytes))
        var delivery = MQTTDelivery(message: message, sequence: 0)
        if publish.qos > 0 {
            delivery.sequence = firstSequence &+ UInt64(arrivals.count)
            let isKept = targets.isEmpty && keepsUnclaimed
            arrivals.append(Arrival(identifier: publish.packetIdentifier, remaining: isKept ? 1 : targets.count))
            if isKept { unclaimed.append(delivery) }
        }
        for target in targets { subscriptions[target].arrived.append(delivery) }
    }

    private static func identifiers(_ properties: ByteRange, in bytes: Span<UInt8>) -> [UInt32] {
        var identifiers: [UInt32] = []
        var cursor = MQTTPropertyCursor(properties, in: bytes)
        while let property = cursor.next() { if property.identifier == .subscriptionIdentifier { identifiers.append(property.number) } }
        return identifiers
    }

    /// The subscriptions that a message is for. Servers may send a copy for each of two overlapping subscriptions; the identifiers
    /// say which is whose. Identifiers of an earlier connection mean nothing here, so the filter counts too.
    private func targets(of topic: String, identifiers: [UInt32]) -> [Int] {
        if subscriptions.count == 1, identifiers == [subscriptions[0].number], !keepsUnclaimed { return [0] }
        let levels = MQTTFilter.levels(of: topic)
        let matching = subscriptions.indices.filter { subscriptions[$0].filters.contains { $0.matches(levels) } }
        let named = matching.filter { identifiers.contains(subscriptions[$0].number) }
        return named.isEmpty ? matching : matching.filter { subscriptions[$0].isShadowed || identifiers.contains(subscriptions[$0].number) }
    }

    /// After the events of one read: what arrived goes to the tasks in one batch each.
    func handOver() {
        for index in subscriptions.indices where !subscriptions[index].arrived.isEmpty {
            if subscriptions[index].inbox.put(subscriptions[index].arrived) { full.insert(subscriptions[index].number) }
            subscriptions[index].arrived.removeAll(keepingCapacity: true)
        }
    }

    // MARK: What the tasks say

    func add(_ publications: [MQTTPublication]) { waiting.append(contentsOf: publications) }

    /// Sends what may be sent. Answers false if the socket takes no more for now.
    func pump(_ machine: inout MQTTClientMachine, slot: UInt32, on loop: EventLoop) -> Bool {
        acknowledge(&machine, slot, loop)
        guard isOpen else { return true }
        while let next = waiting.first {
            if next.isAbandoned {
                waiting.removeFirst()
                continue
            }
            if loop[output: slot].count >= limits.outputMax, !loop.flushEarly(slot, limit: limits.outputMax) { return false }
            var publish = next.message
            if publish.qos > 0 {
                guard unacknowledged.count < window else { return true }
                publish.packetIdentifier = takeIdentifier()
            }
            waiting.removeFirst()
            do throws(MQTTMisuse) {
                try loop.send(.publish(publish), through: &machine, slot: slot)
                trace(
                    "sending PUBLISH (d0, q\(publish.qos), r\(publish.retain ? 1 : 0), m\(publish.packetIdentifier), '\(next.topic)', \(publish.payload.count) bytes)"
                )
                if publish.qos > 0 { unacknowledged[publish.packetIdentifier] = next } else { next.complete() }
            } catch {
                next.complete(.misuse(.publish(topic: next.topic), error))
            }
        }
        return true
    }

    private func takeIdentifier() -> UInt16 {
        repeat {
            lastIdentifier = lastIdentifier == .max ? 1 : lastIdentifier + 1
        } while unacknowledged[lastIdentifier] != nil || requests[lastIdentifier] != nil
        return lastIdentifier
    }

    func subscribe(
        _ number: UInt32, _ filters: [String], _ qos: MQTTQoS, _ inbox: MQTTInbox, _ reply: MQTTReply<[MQTTReason]>,
        _ machine: inout MQTTClientMachine, slot: UInt32, on loop: EventLoop
    ) {
        guard !reply.isAbandoned else { return }
        let identifier = takeIdentifier()
        let wanted = filters.map { MQTTSubscription(filter: Array($0.utf8), options: MQTTSubscriptionOptions(qos: qos.rawValue)) }
        do throws(MQTTMisuse) {
            try loop.send(
                .subscribe(packetIdentifier: identifier, subscriptionIdentifier: usesIdentifiers ? number : 0, subscriptions: wanted), through: &machine,
                slot: slot)
        } catch {
            return reply.resolve(.failure(.misuse(.subscribe(filter: filters.joined(separator: ", ")), error)))
        }
        trace("sending SUBSCRIBE (m\(identifier), \(filters.joined(separator: ", ")), QoS \(qos.rawValue))")
        requests[identifier] = .subscribe(reply)
        for index in subscriptions.indices where subscriptions[index].filters.contains(where: { filters.contains($0.text) }) {
            subscriptions[index].isShadowed = true
        }
        var subscription = Subscription(number: number, filters: filters.map(MQTTFilter.init), inbox: inbox)
        let isMine = { (delivery: MQTTDelivery) in
            let levels = MQTTFilter.levels(of: delivery.message.topic)
            return subscription.filters.contains { $0.matches(levels) }
        }
        let mine = unclaimed.filter(isMine)
        unclaimed.removeAll(where: isMine)
        subscription.arrived = mine
        subscriptions.append(subscription)
        handOver()
    }

    /// The scope of a subscription has ended.
    func unsubscribe(_ number: UInt32, staysSubscribed: Bool, _ machine: inout MQTTClientMachine, slot: UInt32, on loop: EventLoop) {
        guard let index = subscriptions.firstIndex(where: { $0.number == number }) else { return }
        let subscription = subscriptions.remove(at: index)
        full.remove(number)
        let (handed, left) = subscription.inbox.close()
        handedOver(handed)
        for sequence in left { letGo(sequence, staysUnacknowledged: staysSubscribed) }
        guard !staysSubscribed else { return }
        keepsUnclaimed = false
        let filters = subscription.filters.filter { filter in !subscriptions.contains { $0.filters.contains(filter) } }.map { Array($0.text.utf8) }
        guard !filters.isEmpty else { return }
        let identifier = takeIdentifier()
        guard (try? loop.send(.unsubscribe(packetIdentifier: identifier, filters: filters), through: &machine, slot: slot)) != nil else { return }
        trace("sending UNSUBSCRIBE (m\(identifier))")
        requests[identifier] = .unsubscribe
    }

    /// A task has taken messages from its inbox.
    func report(_ number: UInt32) {
        guard let subscription = subscriptions.first(where: { $0.number == number }) else { return }
        let (handed, isFull) = subscription.inbox.report()
        if !isFull { full.remove(number) }
        handedOver(handed)
    }

    private func handedOver(_ sequences: [UInt64]) {
        for sequence in sequences { letGo(sequence, staysUnacknowledged: false) }
    }

    private func letGo(_ sequence: UInt64, staysUnacknowledged: Bool) {
        guard sequence >= firstSequence, sequence < firstSequence &+ UInt64(arrivals.count) else { return }
        let index = Int(sequence - firstSequence)
        arrivals[index].remaining -= 1
        if staysUnacknowledged { arrivals[index].staysUnacknowledged = true }
    }

    private func acknowledge(_ machine: inout MQTTClientMachine, _ slot: UInt32, _ loop: EventLoop) {
        while let arrival = arrivals.first, arrival.remaining <= 0 {
            arrivals.removeFirst()
            firstSequence &+= 1
            if arrival.staysUnacknowledged { continue }
            try? loop.send(.puback(packetIdentifier: arrival.identifier, reason: .success), through: &machine, slot: slot)
            trace("sending PUBACK (m\(arrival.identifier))")
        }
    }

    // MARK: The end

    func end(_ error: MQTTClientError) {
        isOpen = false
        handOver()
        connecting?.resolve(.failure(error))
        connecting = nil
        for publication in waiting.removeAll() { publication.complete(error) }
        for publication in unacknowledged.values { publication.complete(error) }
        unacknowledged = [:]
        for case .subscribe(let reply) in requests.values { reply.resolve(.failure(error)) }
        requests = [:]
        for subscription in subscriptions { subscription.inbox.end(.failure(error)) }
        client.end(error)
    }
}
