import CLinux
import MartletBytes
import MartletDriver
import MartletEventLoop
import MartletMQTTProtocol

/// Counts what arrives and how late.
final class MQTTBenchSubscriber: MQTTBenchConnection {
    private let topics: [String]

    init(_ options: MQTTBenchOptions, clientID: String, topics: [String], now: Instant) {
        self.topics = topics
        super.init(options, clientID: clientID, now: now)
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = BenchLoop.on(loop) else { return bytes.count }
        var received: UInt64 = 0
        var opened = false, subscribed = false
        var failure: String?
        var used = bytes.count
        let now = cl_monotonic_ns()
        let measures = tenant.isMeasuring
        // Taken out for the read: a class's field is checked at each use.
        var latency = LatencyHistogram.none
        swap(&latency, &tenant.counts.latency)
        do throws(MQTTViolation) {
            used = try loop.drive(&machine, over: bytes, slot: slot) { event, machine in
                switch event {
                case .publish(let publish):
                    received &+= 1
                    if measures, publish.payload.count >= 16 {
                        let at = Int(publish.payload.start)
                        let due = UInt64(bytes.uint32(at: at)) << 32 | UInt64(bytes.uint32(at: at + 4))
                        latency.add(nanoseconds: now &- Int64(bitPattern: due))
                    }
                    if publish.qos == 1 { try? machine.send(.puback(packetIdentifier: publish.packetIdentifier, reason: .success), into: &loop[output: slot]) }
                    if publish.qos == 2 { try? machine.send(.pubrec(packetIdentifier: publish.packetIdentifier, reason: .success), into: &loop[output: slot]) }
                case .pubrel(let identifier, _): try? machine.send(.pubcomp(packetIdentifier: identifier, reason: .success), into: &loop[output: slot])
                case .connack(let connack):
                    if connack.reason == .success { opened = true } else { failure = "a subscriber was refused: \(connack.reason.name)" }
                case .suback(_, let reasons):
                    if bytes.at(reasons).array.contains(where: { $0 >= 0x80 }) { failure = "a subscription was refused" } else { subscribed = true }
                case .disconnect(let reason, _, _): failure = "the server sent DISCONNECT: \(reason.name)"
                default: break
                }
                return true
            }
        } catch { failure = "the server broke the protocol: \(error)" }
        swap(&latency, &tenant.counts.latency)
        tenant.counts.received &+= received
        if subscribed { ready(on: loop) }
        if opened { subscribe(on: loop) }
        if let failure { fail(failure, on: loop) }
        return used
    }

    private func subscribe(on loop: EventLoop) {
        let wanted = topics.map { MQTTSubscription(filter: Array($0.utf8), options: MQTTSubscriptionOptions(qos: options.qos)) }
        do throws(MQTTMisuse) {
            try loop.send(.subscribe(packetIdentifier: 1, subscriptionIdentifier: 0, subscriptions: wanted), through: &machine, slot: slot)
        } catch { fail("SUBSCRIBE: \(error)", on: loop) }
    }
}
