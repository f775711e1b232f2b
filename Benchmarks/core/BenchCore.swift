import Glibc
import MartletBytes
import MartletCollections
import MartletCore

/// The core alone, on one thread: a million subscriptions, and a million retained messages. `bench-core [subscriptions] [retained]`;
/// or the journal on the disk of a directory: `bench-core journal [directory]`.
@main
struct BenchCore {
    static func main() {
        let wanted = CommandLine.arguments.dropFirst()
        if wanted.first == "journal" { return JournalBench(below: wanted.dropFirst().first ?? "/tmp").measure() }
        if wanted.isEmpty || wanted.contains("subscriptions") {
            Subscriptions().measure()
            OneSession().measure()
        }
        if wanted.isEmpty || wanted.contains("retained") { RetainedMessages().measure() }
    }
}

/// A core, what it leads to, and what is asked of every measurement: time and resident memory.
class Bench {
    let router = Router()
    let core: Pinned<BrokerCore>
    let effects = Pinned(Effects(shards: 1))
    let gateway = GatewayID(0)

    init() { core = Pinned(BrokerCore(router: router)) }

    static func residentBytes() -> Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, 128, file) != nil else { return 0 }
        let fields = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
        return (Int(fields[1]) ?? 0) * 4096
    }

    /// Processor time of this thread: what others do on the machine is left out, but for its caches.
    static func seconds(_ body: () -> Void) -> Double {
        func now() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
        }
        let start = now()
        body()
        return now() - start
    }

    static func report(_ what: String, _ count: Int, _ seconds: Double) {
        let rate = Double(count) / seconds
        print("\(what): \(Int(rate / 1000)) k/s, \(Int(seconds * 1e9 / Double(max(1, count)))) ns each, \((seconds * 1000).rounded() / 1000) s in all")
    }

    func session() -> QueueID {
        var policy = QueuePolicy()
        policy.passesAtMostOnce = true
        return core.value.openQueue(policy)
    }

    func publish(_ address: [UInt8], _ body: [UInt8], _ flags: MessageHeader.Flags) { publish(address.span, body, flags) }

    func publish(_ address: Span<UInt8>, _ body: [UInt8], _ flags: MessageHeader.Flags) {
        let header = MessageHeader(origin: gateway, flags: flags)
        let message = Message(hub: router.meetingPoint, address: address, properties: Span(), body: body.span, header: header)
        _ = core.value.publish(message, into: &effects.value)
        core.value.finish(&effects.value)
    }
}

/// Topics one behind the other, as they lie in what a connection reads.
struct Topics {
    private var bytes: [UInt8] = []
    private var ends = [0]
    var count: Int { ends.count - 1 }

    init(_ topics: [[UInt8]]) {
        for topic in topics {
            bytes += topic
            ends.append(bytes.count)
        }
    }

    func forEach(_ body: (Span<UInt8>) -> Void) {
        for index in 0..<count { body(bytes.span.extracting(ends[index]..<ends[index + 1])) }
    }
}

/// 1,000,000 subscriptions of 100,000 sessions; a device has one to five of them, and publishes three topics.
final class Subscriptions: Bench {
    private let count = 1_000_000
    private var queues: [QueueID] = []
    private var devices = 0

    private static func patterns(of device: Int) -> [String] {
        let site = device % 1000
        return [
            "site/+/device/\(device)/#", "site/\(site)/+/\(device)/temperature", "site/\(site)/device/\(device)/temperature",
            "+/\(site)/device/\(device)/+", "site/\(site)/device/\(device)/#",
        ]
    }

    private static func topic(_ device: Int, _ what: String) -> [UInt8] { Array("site/\(device % 1000)/device/\(device)/\(what)".utf8) }

    func measure() {
        for _ in 0..<100_000 { queues.append(session()) }
        let options = BindingOptions(flags: [.atMostOnce, .sparesReserved])
        var patterns: [[UInt8]] = []
        while patterns.count < count {
            patterns += Self.patterns(of: devices).prefix(1 + devices % 5).map { Array($0.utf8) }
            devices += 1
        }
        patterns.removeLast(patterns.count - count)
        let before = Self.residentBytes()
        let hub = router.meetingPoint
        let making = Self.seconds {
            for (index, pattern) in patterns.enumerated() { core.value.bind(queues[index % queues.count], to: hub, .address(pattern), options) }
        }
        Self.report("subscriptions made", count, making)
        print("bytes a subscription: \((Self.residentBytes() - before) / count)")
        routes()
        let removing = Self.seconds {
            for (index, pattern) in patterns.enumerated() { core.value.unbind(queues[index % queues.count], from: hub, .address(pattern)) }
        }
        Self.report("subscriptions removed", count, removing)
        precondition(router.bindingCount == 0)
    }

    /// Every message is dropped at its targets, which have no consumer: what is measured is who they are.
    private func routes() {
        let body = Array("21.5".utf8)
        var random = SystemRandomNumberGenerator()
        let few = Topics((0..<50_000).map { Self.topic($0 * devices / 50_000, "temperature") }.shuffled(using: &random))
        few.forEach { publish($0, body, .atMostOnce) }
        let dropped = core.value.counters.droppedSlow
        for _ in 0..<3 {
            let cached = Self.seconds { for _ in 0..<20 { few.forEach { publish($0, body, .atMostOnce) } } }
            Self.report("cached matches, 50,000 topics", 20 * few.count, cached)
        }
        print("targets a match: \(Double(core.value.counters.droppedSlow - dropped) / Double(60 * few.count))")
        var all: [[UInt8]] = []
        for what in ["temperature", "humidity", "state"] { for device in 0..<devices { all.append(Self.topic(device, what)) } }
        let many = Topics(all.shuffled(using: &random))
        for _ in 0..<3 {
            let uncached = Self.seconds { many.forEach { publish($0, body, .atMostOnce) } }
            Self.report("uncached matches, \(many.count) topics", many.count, uncached)
        }
    }
}

/// What one session may do to everybody: many filters of its own, or one filter among many sessions'.
final class OneSession: Bench {
    func measure() {
        let hub = router.meetingPoint, queue = session()
        let filters = (0..<60_000).map { Array("site/+/device/\($0)/#".utf8) }
        for filter in filters { core.value.bind(queue, to: hub, .address(filter)) }
        Self.report(
            "60,000 filters of one session removed", filters.count,
            Self.seconds { for filter in filters { core.value.unbind(queue, from: hub, .address(filter)) } })
        let queues = (0..<1_000_000).map { _ in session() }
        let pattern = Pattern.address(Array("all/#".utf8))
        Self.report("sessions bound to one pattern", queues.count, Self.seconds { for queue in queues { core.value.bind(queue, to: hub, pattern) } })
        Self.report("sessions unbound from one pattern", queues.count, Self.seconds { for queue in queues { core.value.unbind(queue, from: hub, pattern) } })
    }
}

/// 1,000,000 retained messages with topics of 40 bytes and bodies of 20.
final class RetainedMessages: Bench {
    private let count = 1_000_000

    func measure() {
        func padded(_ number: Int, _ width: Int) -> String { String(String(1_000_000_000 + number).suffix(width)) }
        let topics = (0..<count).map { Array("building/\(padded($0 % 1000, 4))/sensor/\(padded($0, 7))/temperature".utf8) }
        precondition(topics[0].count == 40)
        let body = [UInt8](repeating: 1, count: 20), flags: MessageHeader.Flags = [.retained, .atMostOnce]
        let before = Self.residentBytes()
        var slowest = 0.0
        let storing = Self.seconds {
            for topic in topics {
                let one = Self.seconds { publish(topic, body, flags) }
                slowest = max(slowest, one)
            }
        }
        Self.report("retained messages stored", count, storing)
        print("slowest store: \(Int(slowest * 1e6)) us; bytes a message: \((Self.residentBytes() - before) / count)")
        Self.report("replaced", count, Self.seconds { for topic in topics { publish(topic, body, flags) } })
        replay("#")
        replay("building/+/sensor/+/temperature")
        replay("building/+/sensor/+/nothing")
        replay("building/0001/sensor/0000001/temperature")
        Self.report("removed", count, Self.seconds { for topic in topics { publish(topic, [], flags) } })
        precondition(router.retainedCount == 0)
    }

    private func replay(_ pattern: String) {
        let queue = session(), hub = router.meetingPoint
        _ = core.value.addConsumer(to: queue, gateway: gateway, token: 1)
        var ticks: [Double] = [], given = 0
        let binding = Self.seconds {
            core.value.bind(queue, to: hub, .address(Array(pattern.utf8)), BindingOptions(flags: [.atMostOnce, .sparesReserved]), replay: .always)
        }
        while core.value.isUnfinished {
            ticks.append(
                Self.seconds {
                    core.value.continuePumping(into: &effects.value)
                    given += effects.value.deliveries.count
                    core.value.finish(&effects.value)
                })
        }
        ticks.sort()
        let all = ticks.reduce(0, +)
        func microseconds(_ seconds: Double) -> Int { Int(seconds * 1e6) }
        print(
            "replay of \(pattern): \(given) messages in \(ticks.count) ticks, \((all * 1000).rounded() / 1000) s; bind \(microseconds(binding)) us, tick p50",
            "\(microseconds(ticks[ticks.count / 2])) us, p99 \(microseconds(ticks[ticks.count * 99 / 100])) us, slowest \(microseconds(ticks.last ?? 0)) us")
        core.value.deleteQueue(queue, into: &effects.value)
    }
}
