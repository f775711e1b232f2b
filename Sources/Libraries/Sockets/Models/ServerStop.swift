import MartletNet
import Synchronization

/// Ends a server that runs on other threads: its listener takes nobody any more, and its clients see an end after what they are owed.
///
/// A thread that waits in `accept` or `recv` is woken by shutting its socket down. What still waits after `grace`, in `send`, is cut off.
/// For one server; a stopped one stays stopped.
public final class ServerStop: Sendable {
    private struct State {
        var isStopped = false
        /// Sockets that a thread may wait in.
        var open: Set<Int32> = []
        var actions: [@Sendable () -> Void] = []
    }
    private let state = Mutex(State())
    private let stopped = Atomic<Bool>(false)
    public let grace: Duration

    public init(grace: Duration = .seconds(2)) { self.grace = grace }

    public var isStopped: Bool { stopped.load(ordering: .relaxed) }

    /// Does nothing the second time.
    public func stop() {
        let actions = state.withLock { state in
            let actions = state.isStopped ? [] : state.actions
            state.isStopped = true
            for descriptor in state.open { StreamSocket.finishReading(descriptor) }
            return actions
        }
        stopped.store(true, ordering: .relaxed)
        for action in actions { action() }
        _ = DetachedThread.start(stackSize: 64 << 10) { [self] in
            DetachedThread.sleep(grace)
            state.withLock { state in for descriptor in state.open { StreamSocket.cutOff(descriptor) } }
        }
    }

    /// Calls `action` when it is stopped; at once if it is already.
    func whenStopped(_ action: @escaping @Sendable () -> Void) {
        let isStopped = state.withLock { state in
            if !state.isStopped { state.actions.append(action) }
            return state.isStopped
        }
        if isStopped { action() }
    }

    /// A thread is going to wait in this socket.
    func enter(_ descriptor: Int32) {
        state.withLock { state in
            state.open.insert(descriptor)
            if state.isStopped { StreamSocket.finishReading(descriptor) }
        }
    }

    /// No thread waits in it any more; before it is closed, as another may get its number.
    func leave(_ descriptor: Int32) { state.withLock { state in _ = state.open.remove(descriptor) } }

    /// Sockets that are entered.
    var openCount: Int { state.withLock { $0.open.count } }
}
