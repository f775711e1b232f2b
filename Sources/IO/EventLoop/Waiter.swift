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
    private let address: Int

    /// Nil outside of any task. Valid as long as that task lives.
    public static var current: TaskMark? { withUnsafeCurrentTask { task in task.map { TaskMark(address: unsafeBitCast($0, to: Int.self)) } } }
}
