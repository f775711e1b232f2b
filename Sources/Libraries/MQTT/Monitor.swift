internal import Synchronization

/// State under a lock that tasks wait for: the one place where the loop's thread and the users' tasks meet.
///
/// Whoever changes the state decides whether to wake the waiting tasks; they look again and wait on if it is not yet what they want.
/// Invariant: nobody waits over a change (the version says so), and a cancelled task waits no longer.
/// Not here: fairness between several waiting tasks.
final class Monitor<State: Sendable>: Sendable {
    private struct Contents: Sendable {
        var state: State
        var version: UInt64 = 0
        var waiters: [CheckedContinuation<Void, Never>] = []
    }
    private let contents: Mutex<Contents>

    init(_ state: State) { contents = Mutex(Contents(state: state)) }

    /// Changes or reads the state and wakes nobody.
    @discardableResult
    func with<Value: Sendable>(_ change: (inout State) -> Value) -> Value { contents.withLock { change(&$0.state) } }

    /// Changes the state and has all waiting tasks look again.
    func update(_ change: (inout State) -> Void = { _ in }) {
        let waiters = contents.withLock { contents in
            change(&contents.state)
            contents.version &+= 1
            let waiters = contents.waiters
            contents.waiters = []
            return waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Waits until `look` answers a value.
    func when<Value: Sendable>(_ look: (inout State) -> Value?) async throws(MQTTClientError) -> Value {
        while true {
            let (value, seen) = contents.withLock { (look(&$0.state), $0.version) }
            if let value { return value }
            if Task.isCancelled { throw .cancelled }
            await withTaskCancellationHandler {
                await change(since: seen, endsWithTask: true)
            } onCancel: {
                update()
            }
        }
    }

    /// Waits, also in a cancelled task: for ends that come in bounded time.
    func whenever<Value: Sendable>(_ look: (inout State) -> Value?) async -> Value {
        while true {
            let (value, seen) = contents.withLock { (look(&$0.state), $0.version) }
            if let value { return value }
            await change(since: seen, endsWithTask: false)
        }
    }

    private func change(since seen: UInt64, endsWithTask: Bool) async {
        await withCheckedContinuation { (waiter: CheckedContinuation<Void, Never>) in
            // The task's flag is set before its handler takes the lock: either it is seen here, or the handler finds the waiter.
            let hasChanged = contents.withLock { contents in
                if contents.version != seen || endsWithTask && Task.isCancelled { return true }
                contents.waiters.append(waiter)
                return false
            }
            if hasChanged { waiter.resume() }
        }
    }
}

/// The answer to one request: resolved once by the loop, awaited by one task.
final class MQTTReply<Value: Sendable>: Sendable {
    private enum State: Sendable {
        case open
        case resolved(Result<Value, MQTTClientError>)
        /// Nobody waits any more.
        case abandoned
    }
    private let monitor = Monitor(State.open)

    var isAbandoned: Bool { monitor.with { if case .abandoned = $0 { true } else { false } } }

    /// The first answer counts.
    func resolve(_ result: Result<Value, MQTTClientError>) {
        monitor.update { if case .open = $0 { $0 = .resolved(result) } }
    }

    /// Throws `.cancelled` when the task is; the request may then still be under way.
    func value() async throws(MQTTClientError) -> Value {
        do throws(MQTTClientError) {
            return try await monitor.when(Self.result).get()
        } catch {
            monitor.with { if case .open = $0 { $0 = .abandoned } }
            throw error
        }
    }

    /// Waits in a cancelled task too.
    func outcome() async -> Result<Value, MQTTClientError> { await monitor.whenever(Self.result) }

    private static func result(_ state: inout State) -> Result<Value, MQTTClientError>? {
        if case .resolved(let result) = state { result } else { nil }
    }
}
