import CLinux
public import MartletBytes
import Synchronization

/// A suspended task that waits for one value. Whoever takes it out of where it waits resumes it, once: it is moved, never copied.
///
/// A task that was started for the loop goes on within the same tick; any other on its own executor. Not here: cancellation, which must find the
/// place where the waiter lies.
public struct Waiter<Value: Sendable>: ~Copyable, Sendable {
    @usableFromInline let continuation: UnsafeContinuation<Value, Never>

    @usableFromInline init(_ continuation: UnsafeContinuation<Value, Never>) { self.continuation = continuation }

    @inlinable public consuming func resume(returning value: consuming sending Value) { continuation.resume(returning: value) }

    /// Suspends the task. `place` puts the waiter where it will be found, and must do so: one that is dropped leaves its task suspended for ever.
    @inlinable public static func wait(_ place: (consuming Waiter<Value>) -> Void) async -> Value {
        await withUnsafeContinuation { place(Waiter($0)) }
    }
}

/// Which task is running: to tell whether a wait is its own task's, whose cancellation has been taken care of, or another's.
public struct TaskMark: Equatable, Sendable {
    private let address: UInt

    /// Nil outside of any task. Valid as long as that task lives.
    public static var current: TaskMark? {
        let address = cl_current_task()
        return address == 0 ? nil : TaskMark(address: UInt(address))
    }
}

/// A value that one task or thread waits for and that somebody gives, from any thread, before or after: the first value counts.
/// For waits that are not the hot path: it is an object.
public final class Once<Value: Sendable>: Sendable {
    private struct State: ~Copyable {
        var waiter: Waiter<Value>?
        /// A thread that blocks, instead.
        var thread: ThreadWord?
        /// Given, and not taken yet.
        var value: Value?
        var isGiven = false
    }
    private let state = Mutex(State())

    public init() {}

    /// False if there was a value already.
    @discardableResult public func resume(returning value: Value) -> Bool {
        var waiter: Waiter<Value>?
        let isFirst = state.withLock { state in
            guard !state.isGiven else { return false }
            state.isGiven = true
            waiter = state.waiter.take()
            if waiter == nil { state.value = value }
            // Within the lock: the thread takes it too before the word is gone.
            if let thread = state.thread { cl_signal_raise(thread.word) }
            return true
        }
        if let waiter = waiter.take() { waiter.resume(returning: value) }
        return isFirst
    }

    /// Waits for the value, also in a cancelled task: what cancels gives a value that says so. Once, by one task.
    public func wait() async -> Value {
        await Waiter.wait { waiter in
            var waiter: Waiter<Value>? = consume waiter
            let value = state.withLock { state in
                let value = state.value
                state.value = nil
                if value == nil { state.waiter = waiter.take() }
                return value
            }
            if let value, let waiter = waiter.take() { waiter.resume(returning: value) }
        }
    }

    /// The same for a thread of the system's own, never inside of a task: it **blocks**. Nil when the time came first; what is given then is nobody's.
    @discardableResult public func wait(blockingUntil deadline: Instant) -> Value? {
        var word: UInt32 = 0
        return withUnsafeMutablePointer(to: &word) { word in
            let thread = ThreadWord(word: word)
            let value = state.withLock { state in
                if state.value == nil { state.thread = thread }
                return state.value.take()
            }
            if let value { return value }
            _ = cl_signal_wait(word, deadline == .never ? -1 : max(0, deadline.nanoseconds &- cl_monotonic_ns()))
            return state.withLock { state in
                state.thread = nil
                return state.value.take()
            }
        }
    }
}

/// What a thread sleeps on, which lies on its stack as long as it waits.
private struct ThreadWord: @unchecked Sendable {  // atomic operations alone touch the word
    let word: UnsafeMutablePointer<UInt32>
}
