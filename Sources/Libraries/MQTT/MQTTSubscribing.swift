internal import MartletBytes
internal import MartletClient
internal import MartletMQTTProtocol

/// How a subscription is made (MQTT 5.0 section 3.8.3.1). All but `qos` is v5's; before v5 nothing else is sent.
public struct MQTTSubscribing: Sendable, Equatable {
    /// The highest quality of service wanted.
    public var qos: MQTTQoS
    /// Not what this client itself publishes.
    public var noLocal: Bool
    /// `retain` as it was published, instead of "older than the subscription".
    public var retainAsPublished: Bool
    public var retained: Retained

    /// Which retained messages come.
    public enum Retained: UInt8, Sendable {
        case always = 0
        /// Only if the subscription did not exist.
        case ifNew = 1
        case never = 2
    }

    public init(qos: MQTTQoS = .atMostOnce, noLocal: Bool = false, retainAsPublished: Bool = false, retained: Retained = .always) {
        self.qos = qos
        self.noLocal = noLocal
        self.retainAsPublished = retainAsPublished
        self.retained = retained
    }

    func options(_ version: MQTTVersion) -> MQTTSubscriptionOptions {
        guard version == .v5 else { return MQTTSubscriptionOptions(qos: qos.rawValue) }
        return MQTTSubscriptionOptions(qos: qos.rawValue, noLocal: noLocal, retainAsPublished: retainAsPublished, retainHandling: retained.rawValue)
    }
}

/// A client's subscriptions: which there are, what of them the server knows, and which of them a message is for.
///
/// They outlive the connection: a server that has lost the session is asked again for each.
struct MQTTSubscriptions {
    struct Subscription {
        enum State: Equatable {
            case wanted
            case asked(UInt16)
            case granted
        }
        let number: UInt32
        let filters: [MQTTFilter]
        let how: MQTTSubscribing
        let inbox: MQTTInbox
        /// Of the task that subscribes, until it is answered.
        var reply: MQTTReply<[MQTTReason]>?
        var state = State.wanted
        /// A later subscription has one of its filters: the server names only that one.
        var isShadowed = false
        var arrived: [MQTTDelivery] = []
    }
    private struct Unsubscription {
        let filters: [String]
        /// 0: not asked yet.
        var identifier: UInt16 = 0
        var reply: MQTTReply<Void>?
    }

    private let version: MQTTVersion
    private(set) var all: [Subscription] = []
    private var unsubscriptions: [Unsubscription] = []
    private var usesIdentifiers = false
    /// QoS 1 and 2 messages of a kept session that came before somebody subscribed again.
    private var unclaimed: [MQTTDelivery] = []
    private(set) var keepsUnclaimed = false

    init(_ version: MQTTVersion) { self.version = version }

    /// An answer of the server is waited for.
    var isAsking: Bool {
        all.contains { if case .asked = $0.state { true } else { false } } || unsubscriptions.contains { $0.identifier != 0 }
    }

    // MARK: From the tasks

    mutating func add(_ subscription: Subscription) {
        for index in all.indices where all[index].filters.contains(where: { subscription.filters.contains($0) }) { all[index].isShadowed = true }
        var subscription = subscription
        let isMine = { (delivery: MQTTDelivery) in
            let levels = MQTTFilter.levels(of: delivery.message.topic)
            return subscription.filters.contains { $0.matches(levels) }
        }
        let mine = unclaimed.filter(isMine)
        unclaimed.removeAll(where: isMine)
        subscription.arrived = mine
        all.append(subscription)
    }

    /// The scope of a subscription has ended. Answers it, if there is one.
    mutating func remove(_ number: UInt32, staysSubscribed: Bool, _ identifiers: inout MQTTIdentifiers) -> Subscription? {
        guard let index = all.firstIndex(where: { $0.number == number }) else { return nil }
        let gone = all.remove(at: index)
        if case .asked(let identifier) = gone.state { identifiers.giveBack(identifier) }
        if staysSubscribed || gone.state == .wanted { return gone }
        keepsUnclaimed = false
        let filters = gone.filters.filter { filter in !all.contains { $0.filters.contains(filter) } }.map(\.text)
        if !filters.isEmpty { unsubscriptions.append(Unsubscription(filters: filters)) }
        return gone
    }

    /// Filters that no task has subscribed to: a kept session's.
    mutating func remove(_ filters: [String], _ reply: MQTTReply<Void>) {
        keepsUnclaimed = false
        unsubscriptions.append(Unsubscription(filters: filters, reply: reply))
    }

    // MARK: From the server

    mutating func opened(_ connack: MQTTConnack.Received, isFirst: Bool) {
        usesIdentifiers = version == .v5 && connack.subscriptionIdentifiersAvailable != false
        if isFirst { keepsUnclaimed = connack.sessionPresent }
        if connack.sessionPresent { return }
        keepsUnclaimed = false
        unclaimed = []
        for unsubscription in unsubscriptions { unsubscription.reply?.resolve(.success(())) }
        unsubscriptions = []
        for index in all.indices { all[index].state = .wanted }
    }

    /// SUBACK. Answers a subscription that was made again and refused now: it is over.
    mutating func granted(_ identifier: UInt16, _ reasons: [MQTTReason], _ identifiers: inout MQTTIdentifiers) -> Subscription? {
        guard let index = all.firstIndex(where: { $0.state == .asked(identifier) }) else { return nil }
        identifiers.giveBack(identifier)
        all[index].state = .granted
        if let reply = all[index].reply {
            all[index].reply = nil
            reply.resolve(.success(reasons))
            return nil
        }
        return reasons.contains(where: \.isFailure) ? all.remove(at: index) : nil
    }

    /// UNSUBACK.
    mutating func ended(_ identifier: UInt16, _ identifiers: inout MQTTIdentifiers) {
        guard let index = unsubscriptions.firstIndex(where: { $0.identifier == identifier }) else { return }
        identifiers.giveBack(identifier)
        unsubscriptions.remove(at: index).reply?.resolve(.success(()))
    }

    /// What was asked and not answered is asked again.
    mutating func connectionLost(_ identifiers: inout MQTTIdentifiers) {
        for index in all.indices {
            guard case .asked(let identifier) = all[index].state else { continue }
            identifiers.giveBack(identifier)
            all[index].state = .wanted
        }
        for index in unsubscriptions.indices where unsubscriptions[index].identifier != 0 {
            identifiers.giveBack(unsubscriptions[index].identifier)
            unsubscriptions[index].identifier = 0
        }
    }

    // MARK: To the server

    /// Sends the SUBSCRIBEs and UNSUBSCRIBEs that are due. Answers those that cannot be sent, with the reason.
    mutating func ask(through channel: MQTTClientChannel, _ identifiers: inout MQTTIdentifiers) -> [(Subscription, MQTTMisuse)] {
        // UNSUBSCRIBE first: a filter that is wanted again comes behind.
        for index in unsubscriptions.indices where unsubscriptions[index].identifier == 0 {
            guard let identifier = identifiers.take() else { return [] }
            unsubscriptions[index].identifier = identifier
            do throws(MQTTMisuse) {
                try channel.send(.unsubscribe(packetIdentifier: identifier, filters: unsubscriptions[index].filters.map { Array($0.utf8) }))
            } catch {
                let filters = unsubscriptions[index].filters.joined(separator: ", ")
                unsubscriptions[index].reply?.resolve(.failure(.misuse(.subscribe(filter: filters), error)))
            }
            channel.session.trace("sending UNSUBSCRIBE (m\(identifier), \(unsubscriptions[index].filters.joined(separator: ", ")))")
        }
        guard all.contains(where: { $0.state == .wanted }) else { return [] }
        var failed: [(Subscription, MQTTMisuse)] = []
        for index in all.indices where all[index].state == .wanted {
            guard let identifier = identifiers.take() else { break }
            let subscription = all[index]
            let wanted = subscription.filters.map { MQTTSubscription(filter: Array($0.text.utf8), options: subscription.how.options(version)) }
            do throws(MQTTMisuse) {
                try channel.send(
                    .subscribe(
                        packetIdentifier: identifier, subscriptionIdentifier: usesIdentifiers ? subscription.number : 0, subscriptions: wanted))
                channel.session.trace(
                    "sending SUBSCRIBE (m\(identifier), \(subscription.filters.map(\.text).joined(separator: ", ")), QoS \(subscription.how.qos.rawValue))")
                all[index].state = .asked(identifier)
            } catch {
                identifiers.giveBack(identifier)
                failed.append((subscription, error))
            }
        }
        for (subscription, _) in failed { all.removeAll { $0.number == subscription.number } }
        return failed
    }

    // MARK: Arrivals

    /// The subscriptions that a message is for. Servers may send a copy for each of two overlapping subscriptions; the identifiers
    /// say which is whose. Identifiers of an earlier connection mean nothing here, so the filter counts too.
    func targets(of topic: String, identifiers: [UInt32]) -> [Int] {
        if all.count == 1, identifiers == [all[0].number], !keepsUnclaimed { return [0] }
        let levels = MQTTFilter.levels(of: topic)
        let matching = all.indices.filter { all[$0].filters.contains { $0.matches(levels) } }
        let named = matching.filter { identifiers.contains(all[$0].number) }
        return named.isEmpty ? matching : matching.filter { all[$0].isShadowed || identifiers.contains(all[$0].number) }
    }

    mutating func deliver(_ delivery: MQTTDelivery, to targets: [Int]) { for target in targets { all[target].arrived.append(delivery) } }
    mutating func keep(_ delivery: MQTTDelivery) { unclaimed.append(delivery) }

    /// After the events of one read: what arrived goes to the tasks in one batch each. Answers whose inboxes are full, and
    /// the sequences of what needed no task.
    mutating func handOver() -> (full: [UInt32], taken: [UInt64]) {
        var full: [UInt32] = []
        var taken: [UInt64] = []
        for index in all.indices where !all[index].arrived.isEmpty {
            if let sink = all[index].inbox.sink {
                for delivery in all[index].arrived { sink(delivery.message) }
                taken += all[index].arrived.map(\.sequence)
            } else if all[index].inbox.put(all[index].arrived) {
                full.append(all[index].number)
            }
            all[index].arrived.removeAll(keepingCapacity: true)
        }
        return (full, taken)
    }

    mutating func end(_ error: MQTTClientError) {
        for subscription in all {
            subscription.reply?.resolve(.failure(error))
            subscription.inbox.end(.failure(error))
        }
        for unsubscription in unsubscriptions { unsubscription.reply?.resolve(.failure(error)) }
    }
}
