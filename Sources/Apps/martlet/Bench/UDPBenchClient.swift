import CLinux
import MartletBytes
import MartletEventLoop
import MartletNet

/// One socket of `martlet bench udp`: sends numbered datagrams, and compares what comes back byte by byte, in whatever order.
final class UDPBenchClient: DatagramChannel, EchoBenchClient {
    private let depth: Int
    private var pace: EchoBenchPace
    /// A datagram: its number in the first eight bytes, then the alphabet.
    private var message: [UInt8]
    /// Which of the last `isMissing.count` datagrams have no answer yet.
    private var isMissing: [Bool]
    private var flying = 0
    /// When an answer came last, or it was given up.
    private var heard: Int64 = .max
    /// Silence that means loss.
    private static let patience: Int64 = 200_000_000

    init(_ socket: DatagramSocket, _ options: EchoBenchOptions, index: Int) {
        depth = options.depth
        pace = EchoBenchPace(options, index: index)
        message = (0..<options.size).map { UInt8(ascii: "a") + UInt8($0 % 26) }
        isMissing = [Bool](repeating: false, count: max(1_024, 4 * options.depth))
        super.init(socket)
    }

    private var hasRoom: Bool { flying < depth }

    func startSending(at now: Int64, on loop: EventLoop) {
        pace.start(at: now)
        heard = now
        guard slot != 0 else { return }
        if pace.interval == 0, let tenant = EchoBenchLoop.on(loop) { fill(tenant, due: now, on: loop) }
        loop.schedule(self)
    }

    private func fill(_ tenant: EchoBenchLoop, due: Int64, on loop: EventLoop) { while pace.left > 0, hasRoom { send(due: due, tenant, on: loop) } }

    private func send(due: Int64, _ tenant: EchoBenchLoop, on loop: EventLoop) {
        let number = pace.sent(due: due)
        for index in 0..<8 { message[index] = UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * index)) }
        isMissing[Int(number % UInt64(isMissing.count))] = true
        flying += 1
        let bytes = message
        send(bytes.span, on: loop)
        tenant.counts.sent &+= 1
        tenant.counts.sentInAll &+= 1
    }

    func sendDue(on loop: EventLoop) -> Int64 {
        guard slot != 0, let tenant = EchoBenchLoop.on(loop) else { return .max }
        let now = cl_monotonic_ns()
        while hasRoom, pace.nextDue <= now { send(due: pace.nextDue, tenant, on: loop) }
        return hasRoom ? pace.nextDue : .max
    }

    override func received(_ datagram: borrowing ArrivedDatagram, on loop: EventLoop) {
        guard let tenant = EchoBenchLoop.on(loop) else { return }
        let bytes = datagram.bytes, now = cl_monotonic_ns()
        var number: UInt64 = 0
        if bytes.count == message.count { for index in 0..<8 { number = number << 8 | UInt64(bytes[index]) } }
        guard bytes.count == message.count, number < pace.sequence, isExpected(bytes) else {
            return tenant.counts.failed("what came back is not what was sent; does the server echo?")
        }
        heard = now
        let place = Int(number % UInt64(isMissing.count))
        // A datagram may come twice, or after it was given up.
        guard pace.sequence - number <= UInt64(isMissing.count), isMissing[place] else { return }
        isMissing[place] = false
        if flying > 0 { flying -= 1 }
        tenant.counts.received &+= 1
        tenant.counts.receivedInAll &+= 1
        if tenant.isMeasuring, pace.sequence - number <= UInt64(depth) { tenant.counts.latency.add(nanoseconds: now &- pace.due(number)) }
        if tenant.isSending, pace.interval == 0 { fill(tenant, due: now, on: loop) }
    }

    private func isExpected(_ bytes: Span<UInt8>) -> Bool {
        let message = message
        var difference: UInt8 = 0
        for index in 8..<bytes.count { difference |= bytes[index] ^ message[index] }
        return difference == 0
    }

    override var deadline: Instant {
        let loss = heard == .max || flying == 0 ? Instant.never : Instant(nanoseconds: heard + Self.patience)
        let due = pace.interval > 0 && hasRoom && pace.nextDue != .max ? Instant(nanoseconds: pace.nextDue - EchoBenchLoop.clockStep) : .never
        return min(super.deadline, min(loss, due))
    }

    override func wake(on loop: EventLoop) {
        super.wake(on: loop)
        guard let tenant = EchoBenchLoop.on(loop), flying > 0, heard != .max, loop.now.nanoseconds - heard >= Self.patience else { return }
        heard = loop.now.nanoseconds
        flying = 0
        if tenant.isSending, pace.interval == 0 { fill(tenant, due: heard, on: loop) }
    }

    /// Nobody listens: it sends no more.
    override func failed(_ error: NetError, on loop: EventLoop) {
        EchoBenchLoop.on(loop)?.counts.failed("\(error)")
        loop.close(self, .finished)
    }
}
