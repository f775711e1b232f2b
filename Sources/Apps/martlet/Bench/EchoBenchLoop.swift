import CLinux
import MartletBytes
import MartletEventLoop

/// One loop of an echo bench: its connections, and what they counted.
final class EchoBenchLoop: LoopTenant {
    var counts = EchoBenchCounts()
    var isMeasuring = false
    private(set) var isSending = false
    private var clients: [any EchoBenchClient] = []
    private let isPaced: Bool

    init(_ options: EchoBenchOptions) { isPaced = options.rate != nil }

    static func on(_ loop: EventLoop) -> EchoBenchLoop? { loop.tenant as? EchoBenchLoop }

    /// Those that wait for their time look before it: the loop waits in whole milliseconds, and what is due within one is waited for by turning.
    static let clockStep: Int64 = 1_000_000

    func add(_ client: any EchoBenchClient) { clients.append(client) }

    func startSending(on loop: EventLoop) {
        isSending = true
        let now = cl_monotonic_ns()
        for client in clients { client.startSending(at: now, on: loop) }
    }

    func stopSending() { isSending = false }

    func startMeasuring() {
        counts.startMeasuring()
        isMeasuring = true
    }

    func close(on loop: EventLoop) {
        isSending = false
        for client in clients { client.close(on: loop) }
    }

    func tickBegan(on loop: EventLoop) {}
    func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}

    func tickEnded(on loop: EventLoop) {
        guard isSending, isPaced else { return }
        var nearest = Int64.max
        for client in clients { nearest = min(nearest, client.sendDue(on: loop)) }
        if nearest != .max, nearest - cl_monotonic_ns() <= Self.clockStep { loop.execute { _ in } }
    }
}

/// A connection of such a bench: TCP, UDP or HTTP.
protocol EchoBenchClient: AnyObject {
    /// Without a rate it sends what its depth allows, and from then on a message for each answer.
    func startSending(at now: Int64, on loop: EventLoop)
    /// With a rate: all that is due by now. Answers when the next is due; `.max`: none is.
    func sendDue(on loop: EventLoop) -> Int64
    func close(on loop: EventLoop)
}

/// When the messages of one connection are due, and when those in flight were.
struct EchoBenchPace {
    /// Nanoseconds between two; 0: as many as go.
    let interval: Double
    private var start = Int64.max
    private(set) var sequence: UInt64 = 0
    private var dueTimes: [Int64]
    /// Left to send.
    private(set) var left: Int

    /// One of `options.connectionCount`.
    init(_ options: EchoBenchOptions, index: Int) {
        interval = options.rate.map { 1e9 * Double(options.connectionCount) / $0 } ?? 0
        dueTimes = [Int64](repeating: 0, count: options.depth)
        left = options.messageCount.map { $0 / options.connectionCount + (index < $0 % options.connectionCount ? 1 : 0) } ?? .max
    }

    /// The connections of a rate do not all send at once.
    mutating func start(at now: Int64) { start = now + Int64(Double.random(in: 0..<1) * interval) }

    /// When the next is due; `.max`: none is.
    var nextDue: Int64 { left > 0 && start != .max ? start + Int64(Double(sequence) * interval) : .max }

    /// The next message is sent; answers its number.
    mutating func sent(due: Int64) -> UInt64 {
        defer { sequence += 1 }
        dueTimes[Int(sequence % UInt64(dueTimes.count))] = due
        left -= 1
        return sequence
    }

    /// When the message `number`, of the last `depth`, was due.
    func due(_ number: UInt64) -> Int64 { dueTimes[Int(number % UInt64(dueTimes.count))] }
}
