import CLinux
public import MartletBytes
import Synchronization

/// What may be called from any thread, and the loop's own.
extension EventLoop {
    /// Whether the caller is on the loop's thread.
    public var isCurrent: Bool { thread.load(ordering: .relaxed) == cl_thread_id() }

    /// Starts the loop's thread; `settleIn` runs on it first and answers the loop's tenant.
    /// The thread keeps the loop alive until it stops; `join` waits for that.
    public func start(_ settleIn: @escaping @Sendable (EventLoop) -> (any LoopTenant)?) -> LoopThread {
        let start = Unmanaged.passRetained(Start(loop: self, settleIn: settleIn)).toOpaque()
        var thread: UInt64 = 0
        let error = cl_thread(
            { start in
                let start = Unmanaged<Start>.fromOpaque(start!).takeRetainedValue()
                if let tenant = start.settleIn(start.loop) { start.loop.settle(tenant) }
                start.loop.run()
                start.loop.tenant?.ended(on: start.loop)
            }, start, &thread)
        precondition(error == 0, "no thread for an event loop: \(String(cString: cl_error_text(error)))")
        return LoopThread(thread: thread)
    }

    private final class Start {
        let loop: EventLoop
        let settleIn: @Sendable (EventLoop) -> (any LoopTenant)?
        init(loop: EventLoop, settleIn: @escaping @Sendable (EventLoop) -> (any LoopTenant)?) { self.loop = loop; self.settleIn = settleIn }
    }

    /// Runs `call` on the loop's thread, in the order of the calls.
    public func execute(_ call: @escaping @Sendable (EventLoop) -> Void) {
        if mailbox.leave({ $0.calls.append(call) }) { kernel.wake() }
    }

    /// Gives bytes to the loop's tenant (`LoopTenant.receive(letter:)`), in the order of the posts; `bytes` is empty afterwards.
    public func post(_ bytes: inout ByteBuffer, from sender: Int) {
        let offset = bytes.consumedCount, count = bytes.count
        guard let memory = bytes.surrender() else { return }
        mailbox.letterBytes.wrappingAdd(count, ordering: .relaxed)
        let letter = Mailbox.Letter(sender: sender, base: memory.base, offset: offset, count: count, capacity: memory.capacity)
        if mailbox.leave({ $0.letters.append(letter) }) { kernel.wake() }
    }

    /// Bytes that were posted to this loop and that it has not read yet: what its neighbours' back-pressure goes by.
    public var unreadLetterBytes: Int { mailbox.letterBytes.load(ordering: .relaxed) }

    /// Ends the loop's thread once its last connection is gone, or after `grace`.
    public func stop(grace: Duration = .zero) { execute { $0.beginStopping(grace) } }
}

/// A running loop's thread.
public struct LoopThread: Sendable {
    let thread: UInt64
    public func join() { cl_join(thread) }
}

/// The loop runs Swift tasks too: actors whose executor it is stay on its thread, and so do tasks that prefer it.
/// It has to be both, or a resumed continuation takes the way round through the global pool (2.4 times the CPU).
extension EventLoop: SerialExecutor, TaskExecutor {
    public func enqueue(_ job: consuming ExecutorJob) { put(LoopJob(job: UnownedJob(job), isIsolated: true)) }

    func put(_ job: LoopJob) {
        if isCurrent { jobs.value.waiting.append(job) } else if mailbox.leave({ $0.jobs.append(job) }) { kernel.wake() }
    }

    public func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
    public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }
    public func checkIsolated() { precondition(isCurrent, "not on the event loop's thread") }
    public func isIsolatingCurrentContext() -> Bool? { isCurrent }

    /// How many jobs wait for their turn: to be taken before a task is resumed or begun, for `runJob(since:)`.
    public var waitingJobCount: Int { jobs.value.waiting.count }

    /// Has the task that was resumed or begun for this loop since `mark` go on now, as far as it comes, instead of at the tick's end: what it does
    /// belongs to what the loop is just doing. From a channel's call, not from a task.
    public func runJob(since mark: Int) {
        guard jobs.value.waiting.count > mark else { return }
        let job = jobs.value.waiting.remove(at: mark)
        if job.isIsolated {
            job.job.runSynchronously(isolatedTo: asUnownedSerialExecutor(), taskExecutor: asUnownedTaskExecutor())
        } else {
            job.job.runSynchronously(on: tasks.asUnownedTaskExecutor())
        }
    }

    /// The jobs that are there now; those that they enqueue wait for the next tick, so that tasks cannot starve descriptors.
    func runJobs() {
        guard !jobs.value.waiting.isEmpty else { return }
        let serial = asUnownedSerialExecutor(), isolated = asUnownedTaskExecutor(), plain = tasks.asUnownedTaskExecutor()
        var batch = jobs.value.spare
        jobs.value.spare = []
        swap(&batch, &jobs.value.waiting)
        for job in batch {
            if job.isIsolated { job.job.runSynchronously(isolatedTo: serial, taskExecutor: isolated) } else { job.job.runSynchronously(on: plain) }
        }
        batch.removeAll(keepingCapacity: true)
        jobs.value.spare = batch
    }
}

/// A piece of a Swift task.
struct LoopJob: Sendable {
    let job: UnownedJob
    /// It may be an actor's, and is run as such.
    let isIsolated: Bool
}

/// The pieces that wait for their turn, and the memory of those that had it.
struct JobQueue {
    var waiting: [LoopJob] = []
    var spare: [LoopJob] = []
}

/// The executor to prefer for tasks that belong to no actor: such a task goes on where it was resumed. With the loop itself, which may be
/// an actor's executor as well, the runtime would first leave that actor, by way of the queue.
public final class LoopTasks: TaskExecutor {
    /// The loop owns this, sets it before anybody knows this, and outlives its tasks.
    private nonisolated(unsafe) var loop: Unmanaged<EventLoop>?

    func serve(_ loop: EventLoop) { self.loop = .passUnretained(loop) }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = LoopJob(job: UnownedJob(job), isIsolated: false)
        loop?._withUnsafeGuaranteedRef { $0.put(job) }
    }

    public func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }
}
