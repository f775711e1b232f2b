import CLinux

/// A thread of the system's own: for code that blocks, which would take Swift's cooperative pool one of its few threads.
public enum DetachedThread {
    /// Starts one that nobody joins. `stackSize` in bytes, at least 16 KiB; only what is used of it is memory.
    /// Answers 0, or a negative errno (EAGAIN, 11: the system gives no more threads).
    public static func start(stackSize: Int, _ body: @escaping @Sendable () -> Void) -> Int32 {
        let box = Unmanaged.passRetained(Box(body))
        let error = cl_thread_detached({ Unmanaged<Box>.fromOpaque($0!).takeRetainedValue().body() }, box.toOpaque(), stackSize)
        if error != 0 { box.release() }
        return error
    }

    /// Puts the calling thread to sleep.
    public static func sleep(_ duration: Duration) { cl_sleep_ns(Int64(duration / .nanoseconds(1))) }

    private final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
}
