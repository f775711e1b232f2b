import MartletBytes
import MartletCollections
import MartletMQTTProtocol
import MartletSimulation

/// One client of `MQTTModelTests` over all its connections: it keeps what a real one keeps (what it has sent and not heard of, which
/// QoS 2 messages it has), answers late or not at all, loses its connection, and comes back somewhere else.
final class MQTTModelActor {
    private struct Sent {
        var publication: MQTTPublish.Owned
        var isReceived = false
    }
    struct Receipt {
        let number: Int
        let qos: UInt8
        let topic: String
    }
    let broker: PipeBroker
    let name: String
    let version: MQTTVersion
    private(set) var client: PipeClient?
    private var sent: [UInt16: Sent] = [:]
    private var order: [UInt16] = []
    private var lastIdentifier: UInt16 = 0
    /// QoS 2 messages it has and whose PUBREL has not come.
    private var unreleased: Set<UInt16> = []
    private var unread: [MQTTClientEvent.Owned] = []
    /// Each message as often as an application would be told of it.
    private(set) var receipts: [Receipt] = []
    private(set) var violations: [String] = []
    var filters: [String: UInt8] = [:]

    init(_ broker: PipeBroker, _ name: String, _ version: MQTTVersion) {
        self.broker = broker
        self.name = name
        self.version = version
    }

    var isConnected: Bool { client != nil }
    /// Nothing is owed, and nothing has come.
    func isIdle() -> Bool {
        hear()
        return sent.isEmpty && unread.isEmpty && unreleased.isEmpty
    }

    /// A clean start begins its session anew; the answer is which of its messages may have come to nothing.
    func connectClean(on loop: Int) -> [Int] {
        let lost = sent.values.map { Int(String(decoding: $0.publication.payload, as: UTF8.self))! }
        (sent, order, unreleased, unread, filters) = ([:], [], [], [], [:])
        client = broker.connected(name, on: loop, version: version, cleanStart: true, sessionExpiry: 600)
        // Before v5 a clean session would end with its connection.
        if version != .v5 { connect(on: loop, window: 10) }
        return lost
    }

    func connect(on loop: Int, window: UInt16) {
        client = broker.connected(name, on: loop, version: version, cleanStart: false, sessionExpiry: 600) {
            $0.receiveMaximum = self.version == .v5 ? window : .max
        }
        unread = []
        for identifier in order {
            guard var again = sent[identifier] else { continue }
            if again.isReceived {
                client?.send(.pubrel(packetIdentifier: identifier, reason: .success))
            } else {
                again.publication.duplicate = true
                client?.send(.publish(again.publication))
            }
        }
        hear()
    }

    func drop() {
        client?.drop()
        client = nil
        unread = []
    }

    /// Its connection was taken over: it has not noticed.
    func forgetConnection() { client = nil; unread = [] }

    func subscribe(_ filter: String, qos: UInt8) {
        filters[filter] = qos
        let subscription = MQTTSubscription(filter: Array(filter.utf8), options: MQTTSubscriptionOptions(qos: qos))
        client?.send(.subscribe(packetIdentifier: 60_000, subscriptionIdentifier: 0, subscriptions: [subscription]))
        hear()
    }

    func unsubscribe(_ filter: String) {
        filters[filter] = nil
        client?.send(.unsubscribe(packetIdentifier: 60_001, filters: [Array(filter.utf8)]))
        hear()
    }

    func publish(_ number: Int, to topic: String, qos: UInt8) {
        var publication = MQTTPublish.Owned(topic: Array(topic.utf8), payload: Array("\(number)".utf8), qos: qos)
        if qos > 0 {
            repeat { lastIdentifier = lastIdentifier % 50 + 1 } while sent[lastIdentifier] != nil
            publication.packetIdentifier = lastIdentifier
            sent[lastIdentifier] = Sent(publication: publication)
            order.removeAll { $0 == lastIdentifier }
            order.append(lastIdentifier)
        }
        client?.send(.publish(publication))
        hear()
    }

    var canPublish: Bool { isConnected && sent.count < 40 }

    private func hear() {
        guard let client else { return }
        unread += client.take()
        if client.hasEnded { violations.append("\(name) was sent away: \(unread.suffix(1))") }
    }

    /// Answers some of what came, in order.
    func answer(_ count: Int) {
        hear()
        for _ in 0..<min(count, unread.count) { answer(unread.removeFirst()) }
    }

    private func answer(_ event: MQTTClientEvent.Owned) {
        switch event {
        case .publish(let publish): take(publish)
        case .puback(let identifier, _): sent[identifier] = nil
        case .pubrec(let identifier, let reason):
            if reason.isFailure { sent[identifier] = nil; return }
            sent[identifier]?.isReceived = true
            client?.send(.pubrel(packetIdentifier: identifier, reason: .success))
        case .pubcomp(let identifier, _): sent[identifier] = nil
        case .pubrel(let identifier, _):
            unreleased.remove(identifier)
            client?.send(.pubcomp(packetIdentifier: identifier, reason: .success))
        case .disconnect(let reason, let text, _): violations.append("\(name): \(reason) \(text)")
        default: break
        }
    }

    private func take(_ publish: MQTTPublish.Owned) {
        let isNew = publish.qos < 2 || unreleased.insert(publish.packetIdentifier).inserted
        if isNew {
            let number = Int(String(decoding: publish.payload, as: UTF8.self))!
            receipts.append(Receipt(number: number, qos: publish.qos, topic: String(decoding: publish.topic, as: UTF8.self)))
        }
        if publish.qos == 1 { client?.puback(publish.packetIdentifier) }
        if publish.qos == 2 { client?.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success)) }
    }
}
