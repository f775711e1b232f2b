import MartletBytes
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletShard
import MartletWebSocketProtocol

/// One page's connection: its machine, and what the page wants.
final class WebSocketPageChannel: Channel {
    /// A request that waits for its answer.
    struct Request {
        let id: [UInt8]
        let until: Instant
    }
    let gateway: WebSocketGateway
    var machine: WebSocketMachine
    /// It may do what it likes; before, it has to say who it is.
    var isIn: Bool
    private let inBy: Instant
    private var pingAt: Instant
    private var silence = PeerSilence()
    /// Made by the first subscription.
    var queue = QueueID.none, consumer = ConsumerID.none
    var subscriptionCount = 0
    /// Made by the first message whose acknowledgement waits.
    var publisher = PublisherID.none
    /// The ids of messages whose acknowledgement is owed, by their tags.
    var owed: [UInt64: [UInt8]] = [:]
    var lastTag: UInt64 = 0
    /// `$reply/…/`, once there was a request; the request's number follows.
    var replyPrefix: [UInt8] = []
    var requests: [UInt64: Request] = [:]
    var lastRequest: UInt64 = 0
    /// The nearest time when a request's is over, or an earlier one.
    var requestsUntil = Instant.never

    init(_ gateway: WebSocketGateway, isIn: Bool, now: Instant) {
        self.gateway = gateway
        self.isIn = isIn
        machine = WebSocketMachine(server: gateway.limits, now: now)
        inBy = now + gateway.options.connectTimeout
        pingAt = gateway.options.pingInterval > .zero ? now + gateway.options.pingInterval : .never
        super.init()
    }

    // MARK: Input

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        // The machine is taken once a read, not once an event: a class's field costs an exclusivity check each time.
        let (used, end) = Self.handle(bytes, self, &machine, gateway, loop)
        if let end {
            loop.finish(self, end)
            return bytes.count
        }
        if gateway.shard.isCongested { gateway.shard.holdBack(self) }
        return used
    }

    private static func handle(
        _ bytes: Span<UInt8>, _ channel: WebSocketPageChannel, _ machine: inout WebSocketMachine, _ gateway: WebSocketGateway, _ loop: EventLoop
    ) -> (used: Int, CloseReason?) {
        var end: CloseReason?
        do throws(WebSocketViolation) {
            let used = try loop.drive(&machine, over: bytes, slot: channel.slot) { event, machine in
                switch event {
                case .text(let range): end = gateway.take(range, channel, &machine)
                case .binary: end = gateway.close(.unsupported, "JSON is text", &machine, channel.slot)
                case .part, .ping, .pong: break
                case .close: end = .finished
                }
                return end == nil
            }
            return (used, end)
        } catch {
            gateway.counters.violations += 1
            return (bytes.count, .refused("\(error)"))
        }
    }

    // MARK: Time

    override var deadline: Instant { min(min(machine.deadline, isIn ? .never : inBy), min(pingAt, requestsUntil)) }

    override func wake(on loop: EventLoop) {
        let isExcused = silence.isExcused(slot, on: loop)
        if isExcused { machine.heard(at: loop.now) }
        if !isIn, loop.now >= inBy {
            let end = gateway.close(.policyViolation, "no connect came in time", &machine, slot)
            return loop.finish(self, end)
        }
        if loop.now >= requestsUntil { expire(on: loop) }
        do throws(WebSocketViolation) { try loop.wake(&machine, slot: slot) } catch {
            gateway.counters.violations += 1
            return loop.finish(self, .refused("\(error)"))
        }
        guard loop.now >= pingAt else { return }
        pingAt = loop.now + gateway.options.pingInterval
        if !isExcused { gateway.ping(&machine, slot) }
    }

    private func expire(on loop: EventLoop) {
        requestsUntil = .never
        for (number, request) in requests.sorted(by: { $0.key < $1.key }) {
            if request.until <= loop.now {
                requests[number] = nil
                gateway.counters.requestsUnanswered += 1
                gateway.fail(request.id.span, "no answer came in time", &machine, slot)
            } else {
                requestsUntil = min(requestsUntil, request.until)
            }
        }
    }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) {
        guard !consumer.isNone else { return }
        gateway.shard.perform { [consumer] in $0.pause(consumer, blocked, into: &$1) }
    }

    override func closed(_ reason: CloseReason, on loop: EventLoop) { gateway.closed(self, reason) }
}
