import CLinux

/// A thread of the system's own that somebody waits for at its end: for calls that block for as long as a disk does.
public struct WorkerThread: ~Copyable, Sendable {
    private let thread: UInt64

    /// `name` is what `top -H` shows, at most 15 bytes. Fails (EAGAIN) when the system gives no more threads.
    public init(_ name: String, _ body: @escaping @Sendable () -> Void) throws(FileError) {
        let box = Unmanaged.passRetained(
            Body {
                cl_name_thread(name)
                body()
            })
        var thread: UInt64 = 0
        let error = cl_thread({ Unmanaged<Body>.fromOpaque($0!).takeRetainedValue().call() }, box.toOpaque(), &thread)
        if error != 0 {
            box.release()
            throw FileError(.make, "thread \(name)", errno: error)
        }
        self.thread = thread
    }

    /// Waits until its body has returned. **Blocks.**
    public consuming func join() {
        cl_join(thread)
        discard self
    }

    deinit { cl_detach(thread) }

    private final class Body {
        let call: @Sendable () -> Void
        init(_ call: @escaping @Sendable () -> Void) { self.call = call }
    }
}

/// Wakes the one thread that waits. Raised twice before that looks, it is raised once. Costs a system call only if the thread sleeps.
public final class Signal: @unchecked Sendable {  // atomic operations alone touch the word
    private let word: UnsafeMutablePointer<UInt32>

    public init() {
        word = .allocate(capacity: 1)
        word.initialize(to: 0)
    }

    deinit { word.deallocate() }

    public func raise() { cl_signal_raise(word) }

    /// Until it is raised, or was since the last wait. **Blocks.** One thread only.
    public func wait() { _ = cl_signal_wait(word, -1) }

    /// False when the time came first.
    public func wait(atMost time: Duration) -> Bool { cl_signal_wait(word, max(0, Int64(time / .nanoseconds(1)))) == 1 }
}
