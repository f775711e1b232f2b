import CLinux
import MartletAMQPProtocol
import MartletBytes
import MartletDriver
import MartletEventLoop

/// Counts what arrives and how late, and acknowledges it.
final class AMQPBenchConsumer: AMQPBenchConnection {
    private let queues: [[UInt8]]
    private var consumeOkCount = 0
    private var unacknowledged = 0
    /// The delivery tag of a message in pieces.
    private var tag: UInt64 = 0
    private var isFirstPiece = false

    init(_ options: AMQPBenchOptions, queues: [[UInt8]], now: Instant) {
        self.queues = queues
        super.init(options, now: now)
    }

    override func opened(_ machine: inout AMQPClientMachine, on loop: EventLoop) {
        if options.ackEvery != nil { send(.basicQos(.init(prefetchCount: UInt16(options.prefetch))), &machine, on: loop) }
        for queue in queues { send(.basicConsume(.init(queue: queue, noAck: options.ackEvery == nil)), &machine, on: loop) }
    }

    override func answered(_ method: AMQPMethod<ByteRange>, _ machine: inout AMQPClientMachine, on loop: EventLoop) {
        guard case .basicConsumeOk = method else { return }
        consumeOkCount += 1
        if consumeOkCount == queues.count { ready(on: loop) }
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = BenchLoop.on(loop) else { return bytes.count }
        var received: UInt64 = 0
        var used = bytes.count
        let now = cl_monotonic_ns(), measures = tenant.isMeasuring
        // Taken out for the read: a class's field is checked at each use.
        var latency = LatencyHistogram.none
        swap(&latency, &tenant.counts.latency)
        func count(from start: UInt32) {
            guard measures else { return }
            let due = UInt64(bytes.uint32(at: Int(start))) << 32 | UInt64(bytes.uint32(at: Int(start) + 4))
            latency.add(nanoseconds: now &- Int64(bitPattern: due))
        }
        func ended(_ tag: UInt64, _ machine: inout AMQPClientMachine) {
            received &+= 1
            guard let every = options.ackEvery else { return }
            unacknowledged += 1
            guard unacknowledged >= every else { return }
            unacknowledged = 0
            send(.basicAck(.init(deliveryTag: tag, multiple: every > 1)), &machine, on: loop)
        }
        do throws(AMQPViolation) {
            used = try loop.drive(&machine, over: bytes, slot: slot) { event, machine in
                switch event {
                case .content(_, .basicDeliver(let deliver), _, let body):
                    if body.count >= 16 { count(from: body.start) }
                    ended(deliver.deliveryTag, &machine)
                case .method(_, .basicDeliver(let deliver)): tag = deliver.deliveryTag
                case .header(_, _): isFirstPiece = true
                case .body(_, let piece, let remaining):
                    if isFirstPiece, piece.count >= 16 { count(from: piece.start) }
                    isFirstPiece = false
                    if remaining == 0 { ended(tag, &machine) }
                default: return take(event, in: bytes, &machine, on: loop)
                }
                return true
            }
        } catch { failure = "the server broke the protocol: \(error)" }
        swap(&latency, &tenant.counts.latency)
        tenant.counts.received &+= received
        settle(on: loop)
        return used
    }
}
