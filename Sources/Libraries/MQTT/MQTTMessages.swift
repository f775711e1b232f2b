internal import MartletClient
public import MartletMQTTProtocol

/// What arrives for one subscription. One task iterates it.
///
/// Not iterating is back-pressure: above `MQTTClientLimits.undeliveredMax` waiting messages the client stops reading from the
/// server, and goes on below half of it. While this client itself waits for an acknowledgement it keeps reading, because the
/// acknowledgement stands behind the messages. A QoS 1 or 2 message is acknowledged to the server when it has been handed to the
/// iterating task; what that task has not taken when the client ends comes again, if the session is kept.
/// The sequence goes on over a reconnect. It ends when the subscription's scope does and throws when the client gives up, after
/// what had arrived before.
public struct MQTTMessages: AsyncSequence, Sendable {
    public typealias Element = MQTTMessage
    public typealias Failure = MQTTClientError
    let inbox: MQTTInbox
    /// The server's answer filter by filter: the QoS it granted.
    public let granted: [MQTTReason]

    public func makeAsyncIterator() -> Iterator { Iterator(inbox: inbox) }

    public struct Iterator: AsyncIteratorProtocol {
        let inbox: MQTTInbox

        public mutating func next() async throws(MQTTClientError) -> MQTTMessage? { try await inbox.take(atMost: 1)?.first }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(MQTTClientError) -> MQTTMessage? {
            try await inbox.take(atMost: 1)?.first
        }

        /// All messages that are there, at least one, at most `count`; waits only if there is none.
        public mutating func nextBatch(atMost count: Int = .max) async throws(MQTTClientError) -> [MQTTMessage]? {
            try await inbox.take(atMost: count)
        }
    }

    /// QoS 0 messages that were dropped because far too many waited (`MQTTClientLimits.undeliveredHardMax`).
    public var droppedCount: Int { inbox.droppedCount }
}

/// A message on its way to a task, with its place in the order of acknowledgements (0: none is wanted).
struct MQTTDelivery: Sendable {
    var message: MQTTMessage
    var sequence: UInt64
}

/// Messages between the loop, which puts, and one task, which takes.
final class MQTTInbox: Sendable {
    private struct Contents: Sendable {
        var deliveries: [MQTTDelivery] = []
        var first = 0
        /// Sequences that were handed over and that the loop does not know of yet.
        var handed: [UInt64] = []
        var hasReportUnderWay = false
        /// The loop was told that it is full.
        var isFull = false
        var end: Result<Void, MQTTClientError>?
        var droppedCount = 0

        var count: Int { deliveries.count - first }
    }
    private let monitor = MQTTMonitor(Contents())
    private let limits: MQTTClientLimits
    /// Asks the loop to take the report.
    private let callLoop: @Sendable () -> Void
    /// Takes each message on the loop, instead of a task.
    let sink: (@Sendable (MQTTMessage) -> Void)?

    init(limits: MQTTClientLimits, sink: (@Sendable (MQTTMessage) -> Void)? = nil, callLoop: @escaping @Sendable () -> Void) {
        self.limits = limits
        self.sink = sink
        self.callLoop = callLoop
    }

    var droppedCount: Int { monitor.with { $0.droppedCount } }

    // MARK: The task's side

    func take(atMost max: Int) async throws(MQTTClientError) -> [MQTTMessage]? {
        let limits = limits
        let (messages, wantsReport) = try await monitor.when { (contents) -> ([MQTTMessage]?, Bool)? in
            guard contents.count > 0 else {
                switch contents.end {
                case nil: return nil
                case .success: return (nil, false)
                case .failure: return ([], false)
                }
            }
            let end = min(contents.deliveries.count, contents.first + Swift.min(max, contents.count))
            var messages: [MQTTMessage] = []
            messages.reserveCapacity(end - contents.first)
            for delivery in contents.deliveries[contents.first..<end] {
                messages.append(delivery.message)
                if delivery.sequence != 0 { contents.handed.append(delivery.sequence) }
            }
            contents.first = end
            if contents.first == contents.deliveries.count {
                contents.deliveries.removeAll(keepingCapacity: contents.first <= 4 * limits.undeliveredMax)
                contents.first = 0
            } else if contents.first > 1_024, contents.first > contents.deliveries.count / 2 {
                contents.deliveries.removeFirst(contents.first)
                contents.first = 0
            }
            let wantsReport = !contents.hasReportUnderWay && (!contents.handed.isEmpty || contents.isFull && contents.count <= limits.undeliveredMax / 2)
            if wantsReport { contents.hasReportUnderWay = true }
            return (messages, wantsReport)
        }
        if wantsReport { callLoop() }
        if messages?.isEmpty == true, case .failure(let error) = monitor.with({ $0.end }) { throw error }
        return messages
    }

    // MARK: The loop's side

    /// Answers whether it is full now.
    func put(_ deliveries: [MQTTDelivery]) -> Bool {
        var isFull = false
        let limits = limits
        monitor.update { contents in
            for delivery in deliveries {
                if contents.count >= limits.undeliveredHardMax, delivery.sequence == 0 {
                    contents.droppedCount += 1
                } else {
                    contents.deliveries.append(delivery)
                }
            }
            if contents.count >= limits.undeliveredMax { contents.isFull = true }
            isFull = contents.isFull
        }
        return isFull
    }

    /// What was handed over since the last report, and whether there is room again.
    func report() -> (handed: [UInt64], isFull: Bool) {
        let limits = limits
        return monitor.with { contents in
            contents.hasReportUnderWay = false
            if contents.count <= limits.undeliveredMax / 2 { contents.isFull = false }
            let handed = contents.handed
            contents.handed = []
            return (handed, contents.isFull)
        }
    }

    /// No more will come. What is there can still be taken.
    func end(_ result: Result<Void, MQTTClientError>) {
        monitor.update { if $0.end == nil { $0.end = result } }
    }

    /// The scope has ended. Answers the sequences that were handed over and not yet reported, and those that nobody took.
    func close() -> (handed: [UInt64], left: [UInt64]) {
        let result = monitor.with { contents in
            let left = contents.deliveries[contents.first...].map(\.sequence).filter { $0 != 0 }
            let handed = contents.handed
            contents.handed = []
            contents.deliveries = []
            contents.first = 0
            return (handed, left)
        }
        end(.success(()))
        return result
    }
}
