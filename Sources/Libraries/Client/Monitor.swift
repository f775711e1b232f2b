public import Synchronization

/// A client's error that can say that the waiting task was cancelled.
public protocol ClientFailure: Error { static var cancelled: Self { get } }

/// State under a lock that tasks wait for: the one place where the loop's thread and the users' tasks meet.
///
/// Whoever changes the state decides whether to wake the waiting tasks; they look again and wait on if it is not yet what they want.
/// Invariant: nobody waits over a change (the version says so), and a cancelled task waits no longer.
/// Not here: fairness between several waiting tasks.
public final class Monitor<State: Sendable, Failure: ClientFailure>: Sendable {
    @usableFromInline struct Contents: Sendable {
        @usableFromInline var state: State
        @usableFromInline var version: UInt64 = 0
        @usableFromInline var waiters: [CheckedContinuation<Void, Never>] = []

        @inlinable init(state: State) { self.state = state }
    }
    @usableFromInline let contents: Mutex<Contents>

    @inlinable public init(_ state: State) { contents = Mutex(Contents(state: state)) }

    /// Changes or reads the state and wakes nobody.
    @inlinable @discardableResult
    public func with<Value: Sendable>(_ change: (inout State) -> Value) -> Value { contents.withLock { change(&$0.state) } }

    /// Changes the state and has all waiting tasks look again.
    @inlinable public func update(_ change: (inout State) -> Void = { _ in }) {
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
    @inlinable public func when<Value: Sendable>(_ look: (inout State) -> Value?) async throws(Failure) -> Value {
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
    @inlinable public func whenever<Value: Sendable>(_ look: (inout State) -> Value?) async -> Value {
        while true {
            let (value, seen) = contents.withLock { (look(&$0.state), $0.version) }
            if let value { return value }
            await change(since: seen, endsWithTask: false)
        }
    }

    @usableFromInline func change(since seen: UInt64, endsWithTask: Bool) async {
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
