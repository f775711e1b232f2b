import CLinux
import MartletAMQPProtocol
import MartletBytes
import MartletDriver
import MartletEventLoop

/// Publishes to its queues in turn. The payload begins with the time the message was due, eight bytes.
final class AMQPBenchPublisher: AMQPBenchConnection, BenchPublisher {
    var pace: BenchPace
    private let exchange: [UInt8]
    private let targets: [AMQPBenchTopology.Target]
    private var payload: [UInt8]
    private let window: Int
    /// When each unconfirmed message was due, by its delivery tag; `confirmed` behind those that were.
    private var dueOf: [Int64]
    private static let confirmed = Int64.min
    /// The first tag that is unconfirmed, and the next that is sent.
    private var low: UInt64 = 1, next: UInt64 = 1
    private var unconfirmed = 0

    init(_ options: AMQPBenchOptions, exchange: [UInt8], targets: [AMQPBenchTopology.Target], index: Int, now: Instant) {
        self.exchange = exchange
        self.targets = targets
        payload = [UInt8](repeating: UInt8(ascii: "x"), count: options.load.payloadSize)
        window = options.confirmWindow ?? .max
        pace = BenchPace(options.load, index: index)
        // Confirms come out of order: what is behind one that is missing stays in view.
        dueOf = options.confirmWindow.map { [Int64](repeating: Self.confirmed, count: 4 * $0) } ?? []
        super.init(options, now: now)
    }

    override func opened(_ machine: inout AMQPClientMachine, on loop: EventLoop) {
        if options.confirmWindow != nil { send(.confirmSelect(.init()), &machine, on: loop) } else { ready(on: loop) }
    }

    override func answered(_ method: AMQPMethod<ByteRange>, _ machine: inout AMQPClientMachine, on loop: EventLoop) {
        if case .confirmSelectOk = method { ready(on: loop) }
    }

    override var deadline: Instant { isReady ? paceDeadline : super.deadline }
    override func wake(on loop: EventLoop) { if !isReady { super.wake(on: loop) } }

    var hasRoom: Bool { dueOf.isEmpty || unconfirmed < window && next - low < UInt64(dueOf.count) }
    var awaitsAnswers: Bool { !dueOf.isEmpty }

    func send(due: Int64, on loop: EventLoop) {
        let bits = UInt64(bitPattern: due)
        for index in 0..<8 { payload[index] = UInt8(truncatingIfNeeded: bits >> UInt64(56 - 8 * index)) }
        if !dueOf.isEmpty {
            dueOf[Int(next % UInt64(dueOf.count))] = due
            next += 1
            unconfirmed += 1
        }
        let index = targets.count == 1 ? 0 : pace.sequence % targets.count
        let exchange = exchange, routingKey = targets[index].routingKey, properties = targets[index].properties, payload = payload
        do throws(AMQPMisuse) {
            try machine.publish(
                channel: Self.channel, exchange: exchange.span, routingKey: routingKey.span, properties: properties.span, body: payload.span,
                into: &loop[output: slot])
        } catch { failure = failure ?? "a message could not be sent: \(error)" }
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = BenchLoop.on(loop) else { return bytes.count }
        var acknowledged: UInt64 = 0, refused: UInt64 = 0
        var used = bytes.count
        let now = cl_monotonic_ns()
        let measures = tenant.isMeasuring && options.load.receiverCount == 0
        func land(_ tag: UInt64) {
            guard tag >= low, tag < next else { return }
            let index = Int(tag % UInt64(dueOf.count))
            guard dueOf[index] != Self.confirmed else { return }
            if measures { tenant.counts.latency.add(nanoseconds: now &- dueOf[index]) }
            dueOf[index] = Self.confirmed
            acknowledged += 1
        }
        func land(_ tag: UInt64, multiple: Bool) {
            if multiple {
                let end = min(tag, next - 1)
                if low <= end { for tag in low...end { land(tag) } }
                low = max(low, end + 1)
            } else {
                land(tag)
            }
            while low < next, dueOf[Int(low % UInt64(dueOf.count))] == Self.confirmed { low += 1 }
        }
        do throws(AMQPViolation) {
            used = try loop.drive(&machine, over: bytes, slot: slot) { event, machine in
                switch event {
                case .method(_, .basicAck(let ack)): land(ack.deliveryTag, multiple: ack.multiple)
                case .method(_, .basicNack(let nack)):
                    let before = acknowledged
                    land(nack.deliveryTag, multiple: nack.multiple)
                    refused += acknowledged - before
                default: return take(event, in: bytes, &machine, on: loop)
                }
                return true
            }
        } catch { failure = "the server broke the protocol: \(error)" }
        unconfirmed -= Int(acknowledged)
        tenant.counts.acknowledged &+= acknowledged
        if refused > 0 { tenant.counts.failed("the server refused messages (basic.nack)", count: refused) }
        settle(on: loop)
        return used
    }
}
