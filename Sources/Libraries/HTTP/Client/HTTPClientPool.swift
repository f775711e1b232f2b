internal import MartletClient
internal import MartletEventLoop
internal import MartletSockets
internal import Synchronization

/// A client's connections by origin: those that nobody uses, how many there are, and who waits for one.
///
/// Invariants: `count` is what is idle, lent and being made; a connection is lent to one exchange, which gives it back once (`HTTPLease`).
/// Those that are idle are looked at once a second, and closed when their time is over or their server has gone.
final class HTTPClientPool: Sendable {
    enum Grant: Sendable {
        case connection(HTTPClientConnection)
        /// There is room for one more: make it, or give the room back.
        case room
        case timedOut, cancelled, closed
    }
    private struct Idle {
        let connection: HTTPClientConnection
        let until: ContinuousClock.Instant
    }
    private struct Shelf {
        var idle: [Idle] = []
        var count = 0
        var waiters = Line<Once<Grant>>()
    }
    private struct State {
        var shelves: [HTTPURL.Origin: Shelf] = [:]
        var isClosed = false
        var isSweeping = false
    }
    private let state = Mutex(State())
    private let countMax: Int
    private let idleTimeout: Duration
    private static let sweepInterval = Duration.seconds(1)

    init(_ options: HTTPClientOptions) {
        countMax = max(1, options.connectionsPerOrigin)
        idleTimeout = options.idleTimeout
    }

    /// Connections that nobody uses, and all.
    func counts(of origin: HTTPURL.Origin) -> (idle: Int, all: Int) {
        state.withLock { ($0.shelves[origin]?.idle.count ?? 0, $0.shelves[origin]?.count ?? 0) }
    }

    /// A connection, or the right to make one; waits for it.
    func take(_ origin: HTTPURL.Origin, within timeout: Duration) async -> Grant {
        let waiter = Once<Grant>(), now = ContinuousClock.now
        let (grant, stale) = state.withLock { state -> (Grant?, [HTTPClientConnection]) in
            if state.isClosed { return (.closed, []) }
            var shelf = state.shelves[origin] ?? Shelf(), stale: [HTTPClientConnection] = [], grant: Grant?
            while grant == nil, let last = shelf.idle.popLast() {
                if last.until > now, last.connection.isFree {
                    grant = .connection(last.connection)
                } else {
                    stale.append(last.connection)
                    shelf.count -= 1
                }
            }
            if grant == nil, shelf.count < countMax {
                shelf.count += 1
                grant = .room
            }
            if grant == nil { shelf.waiters.append(waiter) }
            state.shelves[origin] = shelf
            return (grant, stale)
        }
        _ = consume stale
        if let grant { return grant }
        let clock = Task {
            try await Task.sleep(for: timeout)
            waiter.resume(returning: .timedOut)
        }
        defer { clock.cancel() }
        return await withTaskCancellationHandler {
            await waiter.wait()
        } onCancel: {
            waiter.resume(returning: .cancelled)
        }
    }

    /// A connection that can be used again, or only its room.
    func giveBack(_ connection: HTTPClientConnection?, to origin: HTTPURL.Origin) {
        let until = ContinuousClock.now + idleTimeout
        let startsSweeping = state.withLock { state -> Bool in
            var shelf = state.shelves[origin] ?? Shelf()
            defer { state.shelves[origin] = shelf.count == 0 && shelf.waiters.isEmpty ? nil : shelf }
            // Who has given up meanwhile takes nothing.
            while let waiter = shelf.waiters.popFirst() {
                if waiter.resume(returning: connection.map { .connection($0) } ?? .room) { return false }
            }
            guard let connection, !state.isClosed, idleTimeout > .zero else {
                shelf.count -= 1
                return false
            }
            shelf.idle.append(Idle(connection: connection, until: until))
            defer { state.isSweeping = true }
            return !state.isSweeping
        }
        guard startsSweeping else { return }
        Task { [weak self] in
            repeat { try await Task.sleep(for: Self.sweepInterval) } while self?.sweep() == true
        }
    }

    /// Whether some are left.
    private func sweep() -> Bool {
        let now = ContinuousClock.now
        let (stale, isLeft) = state.withLock { state -> ([HTTPClientConnection], Bool) in
            var stale: [HTTPClientConnection] = [], isLeft = false
            for (origin, var shelf) in state.shelves {
                let gone = shelf.idle.filter { $0.until <= now || !$0.connection.isFree }
                shelf.idle.removeAll { idle in gone.contains { $0.connection === idle.connection } }
                shelf.count -= gone.count
                stale += gone.map(\.connection)
                isLeft = isLeft || !shelf.idle.isEmpty
                state.shelves[origin] = shelf.count == 0 && shelf.waiters.isEmpty ? nil : shelf
            }
            state.isSweeping = isLeft
            return (stale, isLeft)
        }
        _ = consume stale
        return isLeft
    }

    /// Closes what nobody uses; what is in use closes when it is given back. Nothing more is lent.
    func close() {
        let (idle, waiters) = state.withLock { state -> ([HTTPClientConnection], [Once<Grant>]) in
            state.isClosed = true
            var idle: [HTTPClientConnection] = [], waiters: [Once<Grant>] = []
            for (origin, var shelf) in state.shelves {
                idle += shelf.idle.map(\.connection)
                shelf.count -= shelf.idle.count
                shelf.idle = []
                waiters += shelf.waiters.removeAll()
                state.shelves[origin] = shelf
            }
            return (idle, waiters)
        }
        _ = consume idle
        for waiter in waiters { waiter.resume(returning: .closed) }
    }
}

/// A connection in one exchange's hands. Dropped, it gives the connection back as one that cannot be used again.
final class HTTPLease: Sendable {
    let connection: HTTPClientConnection
    private let pool: HTTPClientPool
    private let origin: HTTPURL.Origin
    private let isReturned = Atomic(false)

    init(_ connection: HTTPClientConnection, of pool: HTTPClientPool, _ origin: HTTPURL.Origin) {
        self.connection = connection
        self.pool = pool
        self.origin = origin
    }

    deinit { end(isWhole: false) }

    /// The connection goes on without the pool, which has room for another.
    func leave() {
        guard isReturned.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        pool.giveBack(nil, to: origin)
    }

    /// The exchange is over; the first call counts. What is not whole is thrown away.
    func end(isWhole: Bool) {
        guard isReturned.compareExchange(expected: false, desired: true, ordering: .relaxed).exchanged else { return }
        let isFree = isWhole && connection.isFree
        if !isWhole { connection.stream.abort() }
        pool.giveBack(isFree ? connection : nil, to: origin)
    }
}
