import CLinux
import MartletBytes
import MartletEventLoop

/// One loop of a bench of messages: its connections and what they counted. Publishers without a rate are filled at the end of each tick.
final class BenchLoop: LoopTenant {
    var counts = BenchCounts()
    private(set) var isMeasuring = false
    private var isSending = false
    private var isOver = false
    private var publishers: [any BenchPublisher] = []
    private var connections: [BenchConnection] = []
    private let load: BenchLoad
    private let alarm = BenchAlarm()

    /// Deliveries that a message leads to; 0 when they are not this loop's to count.
    private let copies: UInt64
    // Since the start, beside `counts`, which begin anew.
    private var sentBefore: UInt64 = 0, receivedBefore: UInt64 = 0
    private var givenUp: UInt64 = 0
    private var lastReceived: (count: UInt64, at: Int64) = (0, 0)
    /// Deliveries on their way before publishers wait: so that the server is measured and not its dropping, or the length of its queues. Eight
    /// reads of 64 KiB with messages of 32 bytes.
    private static let underWayMax: UInt64 = 16_384
    /// So long without a delivery, and what is on its way counts as dropped.
    private static let patience: Int64 = 50_000_000

    init(_ load: BenchLoad) {
        self.load = load
        copies = load.isHeldBack && load.loopCount == 1 ? UInt64(load.copies) : 0
    }

    /// Whether the receivers are so far behind that publishers wait.
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

    static func on(_ loop: EventLoop) -> BenchLoop? { loop.tenant as? BenchLoop }

    func tickBegan(on loop: EventLoop) {}
    func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}

    func tickEnded(on loop: EventLoop) {
        guard isSending else { return }
        if load.rate != nil { return sendDue(on: loop) }
        // The next deliveries call again, or that none came for so long.
        if isBehind() { return alarm.set(Instant(nanoseconds: cl_monotonic_ns() + Self.patience), on: loop) }
        var wantsAnother = false
        for publisher in publishers { if publisher.fill(self, on: loop) { wantsAnother = true } }
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

    func add(_ connection: BenchConnection, _ transport: Transport, on loop: EventLoop) {
        connections.append(connection)
        if let publisher = connection as? any BenchPublisher { publishers.append(publisher) }
        loop.add(connection, transport)
        connection.connect(on: loop)
    }

    func startSending(on loop: EventLoop) {
        isSending = true
        for publisher in publishers {
            publisher.pace.start(at: cl_monotonic_ns())
            if publisher.slot != 0 { loop.schedule(publisher) }
        }
    }

    func stopSending() { isSending = false }

    /// Counting begins anew, but for a count of messages, which is measured from its first on.
    func startMeasuring() {
        isMeasuring = true
        guard load.messageCount == nil else { return }
        sentBefore &+= counts.sent
        receivedBefore &+= counts.received
        let ready = counts.readyCount, errors = counts.errors
        counts = BenchCounts()
        (counts.readyCount, counts.errors) = (ready, errors)
    }

    func failed(_ reason: String, isUnreachable: Bool = false) { if !isOver { counts.failed(reason, isUnreachable: isUnreachable) } }

    /// Each connection takes its leave.
    func farewell(on loop: EventLoop) {
        isSending = false
        isOver = true
        for connection in connections where connection.slot != 0 { connection.farewell(on: loop) }
    }

    var openCount: Int { connections.count { $0.slot != 0 } }

    func close(on loop: EventLoop) {
        alarm.end(on: loop)
        for connection in connections where connection.slot != 0 { loop.close(connection, .finished) }
    }
}

/// Has the loop turn at a time when nothing else may.
final class BenchAlarm: Channel {
    private var at = Instant.never

    /// The last that was set counts.
    func set(_ at: Instant, on loop: EventLoop) {
        self.at = at
        if slot == 0 { loop.add(clock: self) } else { loop.schedule(self) }
    }

    func end(on loop: EventLoop) { if slot != 0 { loop.close(self, .finished) } }

    override var deadline: Instant { at }
    override func wake(on loop: EventLoop) { at = .never }
}

/// A connection of a bench of messages, of any protocol and side.
class BenchConnection: Channel {
    final private(set) var isReady = false

    /// It is on its loop: its protocol's first words.
    func connect(on loop: EventLoop) {}

    /// The bench is over: its protocol's last words, unless it has none.
    func farewell(on loop: EventLoop) { loop.close(self, .finished) }

    /// It may send or receive messages.
    final func ready(on loop: EventLoop) {
        guard !isReady else { return }
        isReady = true
        BenchLoop.on(loop)?.counts.readyCount += 1
    }

    final func fail(_ reason: String, on loop: EventLoop) {
        BenchLoop.on(loop)?.failed(reason)
        loop.close(self, .finished)
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        if reason != .finished { BenchLoop.on(loop)?.failed("a connection was lost: \(reason)") }
    }
}

/// A connection that publishes as fast as window and socket allow, or when each message is due.
protocol BenchPublisher: BenchConnection {
    var pace: BenchPace { get set }
    /// Fewer messages than its window are unanswered.
    var hasRoom: Bool { get }
    /// Its answers lead to the next tick.
    var awaitsAnswers: Bool { get }
    /// Writes one message.
    func send(due: Int64, on loop: EventLoop)

    /// All that is due by now; what the window holds up goes later, and counts as late. Answers when the next is due.
    func sendDue(_ tenant: BenchLoop, on loop: EventLoop) -> Int64
    /// Without a rate. Answers whether it wants to be called again although no answer is awaited.
    func fill(_ tenant: BenchLoop, on loop: EventLoop) -> Bool
}

extension BenchPublisher {
    /// When a rate wants its next message.
    var paceDeadline: Instant {
        guard pace.isRated, hasRoom else { return .never }
        let due = pace.nextDue
        return due == .max ? .never : Instant(nanoseconds: due - BenchLoop.clockStep)
    }

    func sendDue(_ tenant: BenchLoop, on loop: EventLoop) -> Int64 {
        guard isReady, slot != 0 else { return .max }
        let now = cl_monotonic_ns()
        if hasRoom, pace.nextDue <= now {
            var count: UInt64 = 0
            loop.willWrite(slot)
            while hasRoom, pace.nextDue <= now, loop[output: slot].count < 4 << 20 {
                send(due: pace.nextDue, on: loop)
                pace.sent()
                count += 1
            }
            tenant.counts.sent &+= count
        }
        return hasRoom ? pace.nextDue : .max
    }

    func fill(_ tenant: BenchLoop, on loop: EventLoop) -> Bool {
        guard isReady, slot != 0, pace.left > 0, hasRoom, !loop.isBlocked(slot) else { return false }
        let now = cl_monotonic_ns()
        var count: UInt64 = 0
        loop.willWrite(slot)
        while pace.left > 0, hasRoom, loop[output: slot].count < 48 << 10 {
            send(due: now, on: loop)
            pace.sent()
            count += 1
        }
        tenant.counts.sent &+= count
        return !awaitsAnswers && pace.left > 0
    }
}
