import CLinux
import MartletBytes
import MartletEventLoop
import MartletMQTT
import MartletMQTTProtocol

/// What one loop of the generator has counted.
struct MQTTBenchCounts: Sendable {
    var sent: UInt64 = 0
    var acknowledged: UInt64 = 0
    var received: UInt64 = 0
    var errors: UInt64 = 0
    /// The newest reason, for the report.
    var failure: String?
    var readyCount = 0
    var latency = LatencyHistogram()

    mutating func add(_ other: MQTTBenchCounts) {
        sent += other.sent
        acknowledged += other.acknowledged
        received += other.received
        errors += other.errors
        failure = failure ?? other.failure
        readyCount += other.readyCount
        latency.add(other.latency)
    }
}

/// One loop of the generator: its connections and what they counted. Publishers without a rate are filled at the end of each tick.
final class MQTTBenchLoop: LoopTenant {
    var counts = MQTTBenchCounts()
    var isSending = false
    var isMeasuring = false
    private(set) var publishers: [MQTTBenchPublisher] = []
    private var channels: [Channel] = []
    private let options: MQTTBenchOptions

    /// Deliveries that a message leads to; 0 when they are not this loop's to count.
    private let copies: UInt64
    // Since the start, beside `counts`, which begin anew.
    private var sentBefore: UInt64 = 0, receivedBefore: UInt64 = 0
    private var givenUp: UInt64 = 0
    private var lastReceived: (count: UInt64, at: Int64) = (0, 0)
    /// Deliveries on their way at QoS 0 before publishers wait: so that the server is measured and not its dropping. Eight reads of 64 KiB with
    /// messages of 32 bytes.
    private static let underWayMax: UInt64 = 16_384
    /// So long without a delivery, and what is on its way counts as dropped.
    private static let patience: Int64 = 50_000_000

    init(_ options: MQTTBenchOptions) {
        self.options = options
        copies = options.qos == 0 && options.loopCount == 1 && options.subscriberCount > 0 ? UInt64(max(1, options.subscriberCount / options.topicCount)) : 0
    }

    /// Whether the subscribers are so far behind that publishers wait.
    private func isBehind() -> Bool {
        guard copies > 0 else { return false }
        let received = receivedBefore &+ counts.received
        let expected = (sentBefore &+ counts.sent) &* copies
        guard expected > received &+ givenUp &+ Self.underWayMax else { return false }
        let now = cl_monotonic_ns()
        if received != lastReceived.count || lastReceived.at == 0 { lastReceived = (received, now) }
        guard now - lastReceived.at > Self.patience else { return true }
        givenUp = expected &- received
        return false
    }

    static func on(_ loop: EventLoop) -> MQTTBenchLoop? { loop.tenant as? MQTTBenchLoop }

    func tickBegan(on loop: EventLoop) {}
    func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}

    func tickEnded(on loop: EventLoop) {
        guard isSending else { return }
        if options.rate != nil { return sendDue(on: loop) }
        var wantsAnother = isBehind()
        if !wantsAnother { for publisher in publishers { if publisher.fill(self, on: loop) { wantsAnother = true } } }
        // Nothing but the next tick would call again: no answer is awaited.
        if wantsAnother { loop.execute { _ in } }
    }

    /// The loop waits in whole milliseconds: what is due within one is waited for by turning.
    static let clockStep: Int64 = 1_000_000

    private func sendDue(on loop: EventLoop) {
        var nearest = Int64.max
        for publisher in publishers { nearest = min(nearest, publisher.sendDue(self, on: loop)) }
        if nearest != .max, nearest - cl_monotonic_ns() <= Self.clockStep { loop.execute { _ in } }
    }

    func add(_ channel: Channel, _ transport: Transport, on loop: EventLoop) {
        channels.append(channel)
        if let publisher = channel as? MQTTBenchPublisher { publishers.append(publisher) }
        loop.add(channel, transport)
    }

    func startSending(on loop: EventLoop) {
        isSending = true
        for publisher in publishers {
            publisher.start(at: Instant(nanoseconds: cl_monotonic_ns()))
            if publisher.slot != 0 { loop.schedule(publisher) }
        }
    }

    /// Counting begins anew.
    func startMeasuring() {
        sentBefore &+= counts.sent
        receivedBefore &+= counts.received
        let ready = counts.readyCount, errors = counts.errors
        counts = MQTTBenchCounts()
        (counts.readyCount, counts.errors) = (ready, errors)
        isMeasuring = true
    }

    func failed(_ reason: String) {
        counts.errors += 1
        counts.failure = counts.failure ?? reason
    }

    func close(on loop: EventLoop) {
        isSending = false
        for channel in channels where channel.slot != 0 { loop.close(channel, .finished) }
    }
}

/// What publishers and subscribers share: CONNECT, and the end.
class MQTTBenchConnection: Channel {
    final let options: MQTTBenchOptions
    final var machine: MQTTClientMachine
    final let clientID: String
    final var isReady = false

    init(_ options: MQTTBenchOptions, clientID: String, now: Instant) {
        self.options = options
        self.clientID = clientID
        var limits = MQTTLimits()
        limits.packetSizeMax = 256 << 20
        machine = MQTTClientMachine(limits: limits, now: now)
        super.init()
    }

    final func connect(on loop: EventLoop) {
        var connect = MQTTConnectOptions(version: options.version, clientID: Array(clientID.utf8))
        connect.keepAlive = 0
        connect.userName = options.server.userName.map { Array($0.utf8) }
        connect.password = options.server.password.map { Array($0.utf8) }
        loop.willWrite(slot)
        do throws(MQTTMisuse) { try machine.send(.connect(connect), into: &loop[output: slot]) } catch { MQTTBenchLoop.on(loop)?.failed("CONNECT: \(error)") }
    }

    final func fail(_ reason: String, on loop: EventLoop) {
        MQTTBenchLoop.on(loop)?.failed(reason)
        loop.close(self, .finished)
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        if reason != .finished { MQTTBenchLoop.on(loop)?.failed("a connection was lost: \(reason)") }
    }
}
