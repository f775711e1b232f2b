import MartletEventLoop
import MartletNet
import Synchronization

/// A command's async work, while the main thread waits.
///
/// The work has a thread of its own (an event loop as its executor), so that it may block on stdin and stdout without holding up
/// Swift's thread pool. Not here: what a failure means (the command's).
final class CommandTask: Sendable {
    private let code = Mutex<Int32>(ExitCode.failed)
    private let signalCount = Atomic<Int>(0)
    private let timeIsUp = Atomic<Bool>(false)

    private init() {}

    /// The work was cancelled because its time is up.
    var isTimeUp: Bool { timeIsUp.load(ordering: .relaxed) }

    /// Cancels the work after `timeout`. `terminated` is called for each SIGINT and SIGTERM with their number so far.
    static func run(
        timeout: Duration? = nil, terminated: @escaping @Sendable (Int, Task<Void, Never>) -> Void, _ work: @escaping @Sendable (CommandTask) async -> Int32
    ) -> Int32 {
        ProcessSetup.prepare()
        var limits = EventLoopLimits()
        limits.connectionsMax = 2
        let loop = EventLoop(limits: limits)
        let command = CommandTask()
        let task = Task(executorPreference: loop) {
            let code = await work(command)
            command.code.withLock { $0 = code }
            loop.stop()
        }
        ProcessSetup.onTermination { _ in terminated(command.signalCount.wrappingAdd(1, ordering: .relaxed).newValue, task) }
        if let timeout {
            Task {
                try? await Task.sleep(for: timeout)
                command.timeIsUp.store(true, ordering: .relaxed)
                task.cancel()
            }
        }
        loop.start { _ in nil }.join()
        return command.code.withLock { $0 }
    }
}
