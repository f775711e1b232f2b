internal import MartletClient

/// Deliveries between the loop, which puts, and one task, which takes.
final class AMQPInbox: Sendable {
    private struct Contents: Sendable {
        var deliveries = Line<AMQPDelivery>()
        /// The loop was told that it is full.
        var isFull = false
        var end: Result<Void, AMQPError>?
    }
    private let monitor = AMQPMonitor(Contents())
    /// Above this it is full; prefetch bounds others.
    private let max: Int
    /// Tells the loop that there is room again.
    private let callLoop: @Sendable () -> Void

    init(max: Int, callLoop: @escaping @Sendable () -> Void) {
        self.max = max
        self.callLoop = callLoop
    }

    // MARK: The task's side

    /// The next; `nil` at the end.
    func take() async throws(AMQPError) -> AMQPDelivery? {
        let (taken, hasRoom) = try await monitor.when { contents -> (Result<AMQPDelivery?, AMQPError>, Bool)? in
            guard let first = contents.deliveries.popFirst() else { return contents.end.map { ($0.map { nil }, false) } }
            return (.success(first), self.hasRoom(&contents))
        }
        if hasRoom { callLoop() }
        return try taken.get()
    }

    /// All that are there, at least one, at most `count`.
    func take(atMost count: Int) async throws(AMQPError) -> [AMQPDelivery]? {
        let (taken, hasRoom) = try await monitor.when { contents -> (Result<[AMQPDelivery]?, AMQPError>, Bool)? in
            guard !contents.deliveries.isEmpty else { return contents.end.map { ($0.map { nil }, false) } }
            var taken: [AMQPDelivery] = []
            if contents.deliveries.count <= count {
                taken = contents.deliveries.removeAll()
            } else {
                taken.reserveCapacity(Swift.max(1, count))
                while taken.count < Swift.max(1, count), let first = contents.deliveries.popFirst() { taken.append(first) }
            }
            return (.success(taken), self.hasRoom(&contents))
        }
        if hasRoom { callLoop() }
        return try taken.get()
    }

    private func hasRoom(_ contents: inout Contents) -> Bool {
        guard contents.isFull, contents.deliveries.count <= max / 2 else { return false }
        contents.isFull = false
        return true
    }

    // MARK: The loop's side

    /// Answers whether it is full now.
    func put(_ deliveries: [AMQPDelivery]) -> Bool {
        var isFull = false
        monitor.update { contents in
            contents.deliveries.append(contentsOf: deliveries)
            if contents.deliveries.count >= max { contents.isFull = true }
            isFull = contents.isFull
        }
        return isFull
    }

    var isFull: Bool { monitor.with { $0.isFull } }
    var count: Int { monitor.with { $0.deliveries.count } }

    /// The server will deliver again what was not acknowledged: who has not got it yet need not get it twice.
    func dropUnacknowledged() {
        monitor.with { contents in
            let kept = contents.deliveries.removeAll().filter { !$0.needsAck }
            contents.deliveries.append(contentsOf: kept)
            if contents.deliveries.count <= max / 2 { contents.isFull = false }
        }
    }

    /// No more will come. What is there can still be taken.
    func end(_ result: Result<Void, AMQPError>) { monitor.update { if $0.end == nil { $0.end = result } } }

    /// The scope has ended. Answers what nobody took.
    func close() -> [AMQPDelivery] {
        let left = monitor.with { contents in
            contents.isFull = false
            return contents.deliveries.removeAll()
        }
        end(.success(()))
        return left
    }
}
