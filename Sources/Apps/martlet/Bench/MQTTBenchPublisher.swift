import CLinux
import MartletBytes
import MartletDriver
import MartletEventLoop
import MartletMQTTProtocol

/// Publishes as fast as window and socket allow, or when each message is due.
///
/// The packets are encoded past the machine, which hears the answers: a bench must cost less than what it measures.
/// The payload begins with the time the message was due, eight bytes.
final class MQTTBenchPublisher: MQTTBenchConnection {
    private let topics: [[UInt8]]
    private var payload: [UInt8]
    private var window: Int
    private var underWay = 0
    private var sequence = 0
    private var identifier: UInt16 = 0
    /// When each packet identifier was due; only without subscribers.
    private var dueOf: [Int64] = []
    /// Messages left to send; `.max`: by time.
    private(set) var left: Int
    private let interval: Double
    private var start = Instant.never

    init(_ options: MQTTBenchOptions, clientID: String, topics: [String], count: Int?, now: Instant) {
        self.topics = topics.map { Array($0.utf8) }
        payload = [UInt8](repeating: UInt8(ascii: "x"), count: options.payloadSize)
        window = options.window
        left = count ?? .max
        interval = options.rate.map { 1e9 * Double(options.publisherCount) / $0 } ?? 0
        if options.qos > 0, options.subscriberCount == 0 { dueOf = [Int64](repeating: 0, count: 65_536) }
        super.init(options, clientID: clientID, now: now)
    }

    func start(at now: Instant) {
        // The publishers of a rate do not all send at once.
        start = Instant(nanoseconds: now.nanoseconds + Int64(Double.random(in: 0..<1) * interval))
    }

    private var nextDue: Int64 { start.nanoseconds + Int64(Double(sequence) * interval) }

    override var deadline: Instant {
        guard isReady, start != .never, interval > 0, left > 0, hasRoom else { return machineDeadline }
        return Instant(nanoseconds: nextDue - MQTTBenchLoop.clockStep)
    }

    private var machineDeadline: Instant { isReady ? .never : machine.deadline }
    private var hasRoom: Bool { options.qos == 0 || underWay < window }

    override func wake(on loop: EventLoop) { if !isReady { fail("the server did not answer CONNECT", on: loop) } }

    /// All that is due by now; what the window holds up goes later, and counts as late. Answers when the next is due.
    func sendDue(_ tenant: MQTTBenchLoop, on loop: EventLoop) -> Int64 {
        guard isReady, interval > 0, slot != 0 else { return .max }
        let now = cl_monotonic_ns()
        if left > 0, hasRoom, nextDue <= now {
            var count = 0
            loop.willWrite(slot)
            while left > 0, hasRoom, nextDue <= now, loop[output: slot].count < 4 << 20 {
                send(due: nextDue, on: loop)
                count += 1
            }
            tenant.counts.sent &+= UInt64(count)
        }
        return left > 0 && hasRoom ? nextDue : .max
    }

    /// Without a rate. Answers whether it wants to be called again although no answer is awaited.
    func fill(_ tenant: MQTTBenchLoop, on loop: EventLoop) -> Bool {
        guard isReady, slot != 0, left > 0, hasRoom, !loop.isBlocked(slot) else { return false }
        let now = cl_monotonic_ns()
        var count = 0
        loop.willWrite(slot)
        while left > 0, hasRoom, loop[output: slot].count < 48 << 10 {
            send(due: now, on: loop)
            count += 1
        }
        tenant.counts.sent &+= UInt64(count)
        return options.qos == 0 && left > 0
    }

    private func send(due: Int64, on loop: EventLoop) {
        let bits = UInt64(bitPattern: due)
        for index in 0..<8 { payload[index] = UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * index)) }
        if options.qos > 0 {
            identifier = identifier == .max ? 1 : identifier + 1
            underWay += 1
            if !dueOf.isEmpty { dueOf[Int(identifier)] = due }
        }
        let topic = topics[topics.count == 1 ? 0 : sequence % topics.count], payload = payload, none: [UInt8] = []
        MQTTEncoder.publish(
            version: options.version, topic: topic.span, properties: none.span, payload: payload.span, qos: options.qos,
            packetIdentifier: identifier, retain: false, duplicate: false, into: &loop[output: slot])
        sequence += 1
        left -= 1
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = MQTTBenchLoop.on(loop) else { return bytes.count }
        var acknowledged = 0
        var failure: String?
        var refused: UInt64 = 0
        var used = bytes.count
        let now = cl_monotonic_ns()
        let measures = tenant.isMeasuring && !dueOf.isEmpty
        func landed(_ identifier: UInt16, _ reason: MQTTReason) {
            acknowledged += 1
            if reason.isFailure { refused += 1 }
            if measures { tenant.counts.latency.add(nanoseconds: now &- dueOf[Int(identifier)]) }
        }
        do throws(MQTTViolation) {
            used = try loop.drive(&machine, over: bytes, slot: slot) { event, machine in
                switch event {
                case .puback(let identifier, let reason), .pubcomp(let identifier, let reason): landed(identifier, reason)
                case .pubrec(let identifier, let reason):
                    if reason.isFailure {
                        landed(identifier, reason)
                    } else {
                        try? machine.send(.pubrel(packetIdentifier: identifier, reason: .success), into: &loop[output: slot])
                    }
                case .connack(let connack):
                    guard connack.reason == .success else {
                        failure = "a publisher was refused: \(connack.reason.name)"
                        return false
                    }
                    window = min(window, Int(connack.receiveMaximum ?? .max))
                    isReady = true
                    tenant.counts.readyCount += 1
                case .disconnect(let reason, _, _): failure = "the server sent DISCONNECT: \(reason.name)"
                default: break
                }
                return true
            }
        } catch { failure = "the server broke the protocol: \(error)" }
        underWay -= acknowledged
        tenant.counts.acknowledged &+= UInt64(acknowledged)
        if refused > 0 {
            tenant.counts.errors += refused
            tenant.counts.failure = tenant.counts.failure ?? "the server refused messages"
        }
        if let failure { fail(failure, on: loop) }
        return used
    }
}
