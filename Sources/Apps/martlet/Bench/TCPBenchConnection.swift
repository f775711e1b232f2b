import CLinux
import MartletBytes
import MartletEventLoop
import MartletTLS

/// One connection of `martlet bench tcp`: sends numbered messages, and compares what comes back byte by byte.
final class TCPBenchConnection: Channel, EchoBenchClient {
    private let depth: Int
    private let size: Int
    private var pace: EchoBenchPace
    /// A message: its number in the first eight bytes, then the alphabet.
    private var message: [UInt8]
    /// The message that is coming back, as it should be, and how much of it has come.
    private var expected: [UInt8]
    private var offset = 0
    private var answered: UInt64 = 0
    /// TLS's handshake is done.
    private var isOpen = false

    init(_ options: EchoBenchOptions, index: Int) {
        (depth, size) = (options.depth, options.size)
        pace = EchoBenchPace(options, index: index)
        message = (0..<options.size).map { UInt8(ascii: "a") + UInt8($0 % 26) }
        expected = message
        super.init()
        Self.write(0, to: &expected)
    }

    private static func write(_ number: UInt64, to message: inout [UInt8]) {
        for index in 0..<8 { message[index] = UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * index)) }
    }

    private var hasRoom: Bool { pace.sequence - answered < UInt64(depth) }

    func startSending(at now: Int64, on loop: EventLoop) {
        pace.start(at: now)
        guard slot != 0 else { return }
        if pace.interval > 0 { loop.schedule(self) } else if let tenant = EchoBenchLoop.on(loop) { fill(tenant, due: now, on: loop) }
    }

    /// As much as `depth` allows.
    private func fill(_ tenant: EchoBenchLoop, due: Int64, on loop: EventLoop) {
        guard pace.left > 0, hasRoom else { return }
        loop.willWrite(slot)
        while pace.left > 0, hasRoom { send(due: due, tenant, on: loop) }
    }

    private func send(due: Int64, _ tenant: EchoBenchLoop, on loop: EventLoop) {
        Self.write(pace.sent(due: due), to: &message)
        let bytes = message
        loop[output: slot].append(bytes.span)
        tenant.counts.sent &+= 1
        tenant.counts.sentInAll &+= 1
    }

    func sendDue(on loop: EventLoop) -> Int64 {
        guard slot != 0, let tenant = EchoBenchLoop.on(loop) else { return .max }
        let now = cl_monotonic_ns()
        if hasRoom, pace.nextDue <= now {
            loop.willWrite(slot)
            while hasRoom, pace.nextDue <= now { send(due: pace.nextDue, tenant, on: loop) }
        }
        return hasRoom ? pace.nextDue : .max
    }

    override var deadline: Instant {
        guard pace.interval > 0, hasRoom, pace.nextDue != .max else { return .never }
        return Instant(nanoseconds: pace.nextDue - EchoBenchLoop.clockStep)
    }

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard let tenant = EchoBenchLoop.on(loop) else { return bytes.count }
        let now = cl_monotonic_ns()
        let before = answered
        var at = 0
        // Taken out for the read: a class's field is checked at each use.
        var latency = LatencyHistogram.none
        swap(&latency, &tenant.counts.latency)
        defer { swap(&latency, &tenant.counts.latency) }
        while at < bytes.count {
            let count = min(size - offset, bytes.count - at)
            guard answered < pace.sequence, isExpected(bytes.extracting(at..<at + count)) else {
                tenant.counts.failed("what came back is not what was sent, in message \(answered) of a connection; does the server echo?")
                loop.close(self, .finished)
                return bytes.count
            }
            at += count
            offset += count
            guard offset == size else { break }
            if tenant.isMeasuring { latency.add(nanoseconds: now &- pace.due(answered)) }
            offset = 0
            answered += 1
            Self.write(answered, to: &expected)
        }
        tenant.counts.received &+= answered - before
        tenant.counts.receivedInAll &+= answered - before
        if tenant.isSending, pace.interval == 0 { fill(tenant, due: now, on: loop) }
        return bytes.count
    }

    private func isExpected(_ bytes: Span<UInt8>) -> Bool {
        let expected = expected
        var difference: UInt8 = 0
        for index in 0..<bytes.count { difference |= bytes[index] ^ expected[offset + index] }
        return difference == 0
    }

    override func secured(on loop: EventLoop) {
        isOpen = true
        guard let tenant = EchoBenchLoop.on(loop) else { return }
        tenant.counts.readyCount += 1
        tenant.counts.security = tenant.counts.security ?? loop.tlsSession(of: slot).map { "\($0.version), \($0.cipher)" }
    }

    func close(on loop: EventLoop) { if slot != 0 { loop.close(self, .finished) } }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        guard reason != .finished, let tenant = EchoBenchLoop.on(loop) else { return }
        if case .layerFailed(let failure) = reason, !isOpen {
            tenant.counts.failed("no TLS: \(failure)", isUnreachable: true)
        } else {
            tenant.counts.failed("a connection was lost: \(reason)")
        }
    }
}
