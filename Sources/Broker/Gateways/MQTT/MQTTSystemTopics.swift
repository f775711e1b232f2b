import Glibc
import MartletBytes
import MartletCollections
import MartletCore
import MartletEventLoop
import MartletNet
import MartletShard

/// The `$SYS/#` topics, with mosquitto's names: retained, published anew at every interval if they have changed.
///
/// Lives on one shard and asks the others, so that the numbers are the server's. Values are text: whole numbers, loads with two
/// decimals. "Load" is a moving average over 1, 5 and 15 minutes, per minute, as mosquitto computes it.
final class MQTTSystemTopics: Channel {
    /// The unit that all sums are taken over.
    struct Sample: Sendable {
        var mqtt = MQTTCounters()
        var core = CoreCounters()
        var bytesReceived: UInt64 = 0
        var bytesSent: UInt64 = 0
        var connected: UInt64 = 0
        var sessions: UInt64 = 0
        var subscriptions: UInt64 = 0
        var sharedSubscriptions: UInt64 = 0
        var storedMessages: UInt64 = 0
        var storedBytes: UInt64 = 0

        static func + (a: Sample, b: Sample) -> Sample {
            var sum = a
            sum.mqtt.add(b.mqtt)
            sum.core.add(b.core)
            sum.bytesReceived += b.bytesReceived
            sum.bytesSent += b.bytesSent
            sum.connected += b.connected
            sum.sessions += b.sessions
            sum.subscriptions += b.subscriptions
            sum.sharedSubscriptions += b.sharedSubscriptions
            sum.storedMessages += b.storedMessages
            sum.storedBytes += b.storedBytes
            return sum
        }
    }
    private static let minutes = [1, 5, 15]

    private unowned let gateway: MQTTGateway
    private let interval: Duration
    private let version: String
    private let started: Instant
    private var next: Instant
    private var awaited = 0
    private var sum = Sample()
    private var clientsMax: UInt64 = 0
    /// What was counted at the last interval, and the averages: by name.
    private var counted: [String: UInt64] = [:]
    private var loads: [String: [Double]] = [:]
    private var published: [String: String] = [:]

    init(_ gateway: MQTTGateway, interval: Duration, version: String) {
        self.gateway = gateway
        self.interval = interval
        self.version = version
        started = gateway.shard.loop.now
        next = started
        super.init()
    }

    override var deadline: Instant { next }

    override func wake(on loop: EventLoop) {
        guard loop.now >= next else { return }
        // While the server starts, nothing may be published.
        guard !gateway.shard.core.value.isJournaled || gateway.shard.hasJournal else {
            next = loop.now + .milliseconds(10)
            return
        }
        next = loop.now + interval
        // An interval that nobody has answered is left out.
        guard awaited == 0 else { return }
        let shard = gateway.shard, number = gateway.id, home = shard.number
        awaited = shard.count
        sum = Sample()
        for peer in 0..<UInt8(shard.count) {
            shard.loop(of: peer).execute { loop in
                guard let shard = loop.tenant as? Shard, let gateway = shard.gateway(number) as? MQTTGateway else { return }
                let sample = gateway.sample
                shard.loop(of: home).execute { loop in
                    ((loop.tenant as? Shard)?.gateway(number) as? MQTTGateway)?.systemTopics?.add(sample)
                }
            }
        }
    }

    private func add(_ sample: Sample) {
        sum = sum + sample
        awaited -= 1
        if awaited == 0 { publishAll() }
    }

    private func publishAll() {
        let now = gateway.shard.loop.now
        clientsMax = max(clientsMax, sum.connected)
        let dropped = sum.core.droppedSlow + sum.core.droppedNewest + sum.core.droppedOldest + sum.mqtt.droppedSlow + sum.mqtt.droppedOversized
        publish("version", "martlet version \(version)")
        publish("uptime", "\((now - started).components.seconds) seconds")
        let numbers: [(String, UInt64)] = [
            ("clients/total", sum.sessions), ("clients/inactive", sum.sessions - sum.connected), ("clients/disconnected", sum.sessions - sum.connected),
            ("clients/active", sum.connected), ("clients/connected", sum.connected), ("clients/maximum", clientsMax),
            ("clients/expired", sum.mqtt.sessionsExpired), ("messages/stored", sum.storedMessages), ("messages/received", sum.mqtt.packetsReceived),
            ("messages/sent", sum.mqtt.packetsSent), ("store/messages/count", sum.storedMessages), ("store/messages/bytes", sum.storedBytes),
            ("subscriptions/count", sum.subscriptions), ("shared_subscriptions/count", sum.sharedSubscriptions),
            ("retained messages/count", UInt64(gateway.shard.router.retainedCount)), ("heap/current", ProcessSetup.heapInUse),
            ("publish/messages/dropped", dropped), ("publish/messages/received", sum.mqtt.publishesReceived),
            ("publish/messages/sent", sum.mqtt.publishesSent), ("publish/bytes/received", sum.mqtt.publishBytesReceived),
            ("publish/bytes/sent", sum.mqtt.publishBytesSent), ("bytes/received", sum.bytesReceived), ("bytes/sent", sum.bytesSent),
        ]
        for (name, value) in numbers { publish(name, "\(value)") }
        let rates: [(String, UInt64)] = [
            ("messages/received", sum.mqtt.packetsReceived), ("messages/sent", sum.mqtt.packetsSent), ("publish/dropped", dropped),
            ("publish/received", sum.mqtt.publishesReceived), ("publish/sent", sum.mqtt.publishesSent), ("bytes/received", sum.bytesReceived),
            ("bytes/sent", sum.bytesSent), ("sockets", sum.mqtt.sockets), ("connections", sum.mqtt.connectionsAccepted),
        ]
        for (name, value) in rates { publishLoad(name, value) }
    }

    private func publishLoad(_ name: String, _ value: UInt64) {
        let seconds = interval / .seconds(1)
        let rate = Double(value - counted[name, default: 0]) * 60 / seconds
        counted[name] = value
        var averages = loads[name] ?? [0, 0, 0]
        for (index, minutes) in Self.minutes.enumerated() {
            averages[index] = rate + exp(-seconds / Double(60 * minutes)) * (averages[index] - rate)
            let hundredths = Int((averages[index] * 100).rounded())
            publish("load/\(name)/\(minutes)min", "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)")
        }
        loads[name] = averages
    }

    private func publish(_ name: String, _ value: String) {
        guard published[name] != value else { return }
        published[name] = value
        let topic = Array("$SYS/broker/\(name)".utf8), body = Array(value.utf8)
        let message = Message(
            hub: gateway.hub, address: topic.span, properties: Span(), body: body.span, header: MessageHeader(origin: gateway.id, flags: [.retained, .passing]))
        _ = gateway.shard.publish(message, through: gateway)
    }
}

extension MQTTGateway {
    /// This shard's part of the numbers.
    var sample: MQTTSystemTopics.Sample {
        var sample = MQTTSystemTopics.Sample()
        sample.mqtt = counters
        sample.core = shard.core.value.counters
        sample.bytesReceived = shard.loop.counters.bytesRead
        sample.bytesSent = shard.loop.counters.bytesWritten
        sample.connected = UInt64(attachedCount)
        sample.sessions = UInt64(sessions.value.count)
        sample.subscriptions = UInt64(subscriptionCount)
        sample.sharedSubscriptions = UInt64(shard.core.value.membershipCount)
        sample.storedMessages = UInt64(shard.core.value.storedCount)
        sample.storedBytes = UInt64(shard.core.value.storedBytes)
        return sample
    }
}
