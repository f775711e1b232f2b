import CLinux
import Glibc

/// What a network program sets once at its start.
public enum ProcessSetup {
    /// Raises the soft descriptor limit to the hard one, ignores SIGPIPE, and keeps SIGINT and SIGTERM for `nextTermination`.
    /// On the main thread, before any other is started. Answers the descriptor limit.
    @discardableResult public static func prepare() -> Int {
        cl_ignore_sigpipe()
        cl_block_termination()
        return Int(max(0, cl_raise_file_limit()))
    }

    /// Waits for the next SIGINT (2) or SIGTERM (15). **Blocks.**
    public static func nextTermination() -> Int32 { cl_wait_termination() }

    /// Runs `handler` on a thread of its own for each SIGINT and SIGTERM.
    public static func onTermination(_ handler: @escaping @Sendable (Int32) -> Void) {
        let box = Unmanaged.passRetained(Handler(handler)).toOpaque()
        var thread: UInt64 = 0
        _ = cl_thread(
            { box in
                let handler = Unmanaged<Handler>.fromOpaque(box!).takeRetainedValue()
                while true { handler.call(cl_wait_termination()) }
            }, box, &thread)
    }

    /// Keeps SIGHUP for `onHangup`, where it would end the process. Before any other thread is started.
    public static func keepHangup() { cl_block_hangup() }

    /// Runs `handler` on a thread of its own for each SIGHUP, after `keepHangup`.
    public static func onHangup(_ handler: @escaping @Sendable () -> Void) {
        let box = Unmanaged.passRetained(Handler { _ in handler() }).toOpaque()
        var thread: UInt64 = 0
        _ = cl_thread(
            { box in
                let handler = Unmanaged<Handler>.fromOpaque(box!).takeRetainedValue()
                while true {
                    cl_wait_hangup()
                    handler.call(1)
                }
            }, box, &thread)
    }

    /// Ends the process at once.
    public static func exit(_ code: Int32) -> Never { Glibc.exit(code) }

    /// Bytes of the heap that are in use.
    public static var heapInUse: UInt64 { cl_heap_in_use() }

    private final class Handler {
        let call: @Sendable (Int32) -> Void
        init(_ call: @escaping @Sendable (Int32) -> Void) { self.call = call }
    }
}
