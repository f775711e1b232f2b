import CLinux
import MartletBytes
import MartletDriver
import MartletEventLoop
import MartletMQTTProtocol

/// The packets are encoded past the machine, which hears the answers: a bench must cost less than what it measures.
/// The payload begins with the time the message was due, eight bytes.
final class MQTTBenchPublisher: MQTTBenchConnection, BenchPublisher {
    var pace: BenchPace
    private let topics: [[UInt8]]
    private var payload: [UInt8]
    private var window: Int
    private var underWay = 0
    private var identifier: UInt16 = 0
    /// When each packet identifier was due; only without subscribers.
    private var dueOf: [Int64] = []

    init(_ options: MQTTBenchOptions, clientID: String, topics: [String], index: Int, now: Instant) {
        self.topics = topics.map { Array($0.utf8) }
        payload = [UInt8](repeating: UInt8(ascii: "x"), count: options.load.payloadSize)
        window = options.window
        pace = BenchPace(options.load, index: index)
        if options.qos > 0, options.load.receiverCount == 0 { dueOf = [Int64](repeating: 0, count: 65_536) }
        super.init(options, clientID: clientID, now: now)
    }

    override var deadline: Instant { isReady ? paceDeadline : machine.deadline }

    var hasRoom: Bool { options.qos == 0 || underWay < window }
    var awaitsAnswers: Bool { options.qos > 0 }

    override func wake(on loop: EventLoop) { if !isReady { fail("the server did not answer CONNECT", on: loop) } }

    func send(due: Int64, on loop: EventLoop) {
        let bits = UInt64(bitPattern: due)
        for index in 0..<8 { payload[index] = UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * index)) }
        if options.qos > 0 {
            identifier = identifier == .max ? 1 : identifier + 1
            underWay += 1
            if !dueOf.isEmpty { dueOf[Int(identifier)] = due }
        }
        let topic = topics[topics.count == 1 ? 0 : pace.sequence % topics.count], payload = payload, none: [UInt8] = []
        MQTTEncoder.publish(
            version: options.version, topic: topic.span, properties: none.span, payload: payload.span, qos: options.qos,
            packetIdentifier: identifier, retain: false, duplicate: false, into: &loop[output: slot])
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = BenchLoop.on(loop) else { return bytes.count }
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
                    ready(on: loop)
                case .disconnect(let reason, _, _): failure = "the server sent DISCONNECT: \(reason.name)"
                default: break
                }
                return true
            }
        } catch { failure = "the server broke the protocol: \(error)" }
        underWay -= acknowledged
        tenant.counts.acknowledged &+= UInt64(acknowledged)
        if refused > 0 { tenant.counts.failed("the server refused messages", count: refused) }
        if let failure { fail(failure, on: loop) }
        return used
    }
}
