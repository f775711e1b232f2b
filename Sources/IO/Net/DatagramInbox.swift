import CLinux
import MartletBytes
import Synchronization

/// Datagrams between the loop, which puts, and tasks, which take; and who waits for one, or for room to send.
///
/// Invariants: a waiter is woken once, by a datagram, room, its deadline, its task's cancellation or the end, and then looks again; a datagram stays
/// here until a task has taken it, so that a wait that ends otherwise loses none.
/// Not here: system calls. The lock is held for a few instructions.
final class DatagramInbox: Sendable {
    enum Arrival: Sendable {
        case datagram([UInt8], SocketAddress)
        indirect case failure(NetError)
        case taken
    }
    enum Wish: Sendable { case datagram, room }

    private struct Waiter: Sendable {
        let id: UInt64
        let wish: Wish
        let deadline: Instant
        let continuation: UnsafeContinuation<Void, Never>
    }
    private struct State: Sendable {
        var arrivals: [Arrival] = []
        var first = 0
        /// A connected socket's peer is not there: told to whoever calls next.
        var lateFailure: NetError?
        var waiters: [Waiter] = []
        /// When the loop looks for deadlines.
        var timer = Instant.never
        var isFull = false
        var isStalled = false
        var isClosed = false

        var count: Int { arrivals.count - first }

        func has(_ wish: Wish) -> Bool {
            switch wish {
            case .datagram: isClosed || count > 0 || lateFailure != nil
            case .room: isClosed || !isStalled
            }
        }
    }
    private let state = Mutex(State())
    /// `State.timer`, for the loop to read without the lock.
    private let timer = Atomic<Int64>(.max)
    /// The same for senders, who would otherwise take it for each datagram: `State.isStalled`, and whether there is a `lateFailure`.
    private let stalls = Atomic<Bool>(false), hasLateFailure = Atomic<Bool>(false)
    private let lastID = Atomic<UInt64>(0)
    private let countMax: Int

    init(countMax: Int) { self.countMax = countMax }

    // MARK: The task's side

    enum Answer {
        /// `hasRoom`: it was full, and the loop may go on reading.
        case arrival(Arrival, hasRoom: Bool)
        case closed
        case nothing
    }

    func take() -> Answer {
        let countMax = countMax
        return state.withLock { state in
            guard state.count > 0 else {
                if let failure = state.lateFailure {
                    state.lateFailure = nil
                    hasLateFailure.store(false, ordering: .relaxed)
                    return .arrival(.failure(failure), hasRoom: false)
                }
                return state.isClosed ? .closed : .nothing
            }
            var arrival = Arrival.taken
            swap(&arrival, &state.arrivals[state.first])
            state.first += 1
            if state.first == state.arrivals.count {
                state.arrivals.removeAll(keepingCapacity: true)
                state.first = 0
            } else if state.first > 256, state.first > state.arrivals.count / 2 {
                state.arrivals.removeFirst(state.first)
                state.first = 0
            }
            let hasRoom = state.isFull && state.count <= countMax / 2
            if hasRoom { state.isFull = false }
            return .arrival(arrival, hasRoom: hasRoom)
        }
    }

    /// What a sender has to know before it sends: an earlier datagram's fate.
    func takeLateFailure() -> NetError? {
        guard hasLateFailure.load(ordering: .relaxed) else { return nil }
        return state.withLock { state in
            defer { state.lateFailure = nil }
            hasLateFailure.store(false, ordering: .relaxed)
            return state.lateFailure
        }
    }

    var isStalled: Bool { stalls.load(ordering: .relaxed) }

    /// Waits until the wish may be fulfilled, the deadline has come or the task is cancelled; the caller looks which.
    /// `arm` has the loop look at its timer.
    func wait(for wish: Wish, until deadline: Instant, arm: () -> Void) async {
        let id = lastID.wrappingAdd(1, ordering: .relaxed).newValue
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                // The task's flag is set before its handler takes the lock: either it is seen here, or the handler finds the waiter.
                let (isNeedless, isNearer) = state.withLock { state in
                    if state.has(wish) || Task.isCancelled { return (true, false) }
                    state.waiters.append(Waiter(id: id, wish: wish, deadline: deadline, continuation: continuation))
                    guard deadline < state.timer else { return (false, false) }
                    state.timer = deadline
                    timer.store(deadline.nanoseconds, ordering: .relaxed)
                    return (false, true)
                }
                if isNeedless { continuation.resume() } else if isNearer { arm() }
            }
        } onCancel: {
            let waiter = state.withLock { state in state.waiters.firstIndex { $0.id == id }.map { state.waiters.remove(at: $0) } }
            waiter?.continuation.resume()
        }
    }

    // MARK: The loop's side

    /// Empties `arrivals` into the box; answers whether it is full now.
    func put(_ arrivals: inout [Arrival]) -> Bool {
        let countMax = countMax
        let (isFull, waiter, more) = state.withLock { state in
            if state.count == 0 { swap(&state.arrivals, &arrivals) } else { state.arrivals += arrivals }
            if state.count >= countMax { state.isFull = true }
            let waiter = state.waiters.firstIndex { $0.wish == .datagram }.map { state.waiters.remove(at: $0) }
            return (state.isFull, waiter, state.count > 1 && !state.waiters.isEmpty)
        }
        arrivals.removeAll(keepingCapacity: true)
        waiter?.continuation.resume()
        if more { wake { $0 == .datagram } }
        return isFull
    }

    func fail(late failure: NetError) {
        state.withLock { state in
            state.lateFailure = failure
            hasLateFailure.store(true, ordering: .relaxed)
        }
        wake { _ in true }
    }

    func setStalled(_ isStalled: Bool) {
        state.withLock { state in
            state.isStalled = isStalled && !state.isClosed
            stalls.store(state.isStalled, ordering: .relaxed)
        }
        if !isStalled { wake { $0 == .room } }
    }

    func close() {
        state.withLock { state in
            state.isClosed = true
            state.isStalled = false
            stalls.store(false, ordering: .relaxed)
        }
        wake { _ in true }
    }

    /// When `expire` is wanted next.
    var deadline: Instant { Instant(nanoseconds: timer.load(ordering: .relaxed)) }

    /// Wakes whose deadline has come.
    func expire(at now: Instant) {
        let expired = state.withLock { state in
            let expired = state.waiters.filter { $0.deadline <= now }
            if !expired.isEmpty { state.waiters.removeAll { $0.deadline <= now } }
            state.timer = state.waiters.lazy.map(\.deadline).min() ?? .never
            timer.store(state.timer.nanoseconds, ordering: .relaxed)
            return expired
        }
        for waiter in expired { waiter.continuation.resume() }
    }

    private func wake(where isMeant: (Wish) -> Bool) {
        let woken = state.withLock { state in
            let woken = state.waiters.filter { isMeant($0.wish) }
            state.waiters.removeAll { isMeant($0.wish) }
            return woken
        }
        for waiter in woken { waiter.continuation.resume() }
    }
}
