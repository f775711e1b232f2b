internal import MartletEventLoop
internal import Synchronization

/// A connection as its requests and their bodies know it, from any thread.
final class HTTPServerConnection: Sendable {
    let peer: SocketAddress
    let loop: EventLoop
    let server: HTTPServerState
    private let bound: LoopBound<HTTPServerChannel>

    /// On the loop.
    init(_ channel: HTTPServerChannel, peer: SocketAddress, on loop: EventLoop, of server: HTTPServerState) {
        self.peer = peer
        self.loop = loop
        self.server = server
        bound = LoopBound(channel, on: loop)
    }

    /// On the loop.
    var channel: HTTPServerChannel { bound() }

    /// Now, if this is the loop, or in its next tick.
    func onLoop(_ body: @escaping @Sendable (HTTPServerChannel, EventLoop) -> Void) {
        if loop.isCurrent { body(channel, loop) } else { loop.execute { [self] in body(channel, $0) } }
    }

    func error(_ kind: NetError.Kind) -> NetError { NetError(kind, .write, "\(peer)") }
}

/// What a server's loops share.
final class HTTPServerState: Sendable {
    let options: HTTPServerOptions
    let handler: HTTPHandler
    /// In the handler's place: found without a suspension of its own.
    let router: HTTPRouter?
    /// Makes requests' ids differ from those of another run.
    let seed = UInt64.random(in: 0...UInt64.max)
    private let stopping = Atomic(false)
    private let counts = Mutex(Counts())
    /// Stopping, and the last connection is gone.
    let ended = Once<Bool>()

    private struct Counts {
        var connections = 0
        var refused: UInt64 = 0
        /// Tasks that want to be told that the server stops, each by its number.
        var watchers: [UInt64: Once<Void>] = [:]
        var watcherCount: UInt64 = 0
    }

    init(_ options: HTTPServerOptions, _ router: HTTPRouter?, _ handler: @escaping HTTPHandler) {
        self.options = options
        self.router = router
        self.handler = handler
    }

    var isStopping: Bool { stopping.load(ordering: .relaxed) }

    func beginStopping() {
        let (isEmpty, watchers) = counts.withLock { counts in
            stopping.store(true, ordering: .relaxed)
            defer { counts.watchers = [:] }
            return (counts.connections == 0, counts.watchers)
        }
        for watcher in watchers.values { watcher.resume(returning: ()) }
        if isEmpty { ended.resume(returning: true) }
    }

    /// Until the server stops, or the task is cancelled.
    func awaitStopping() async {
        let watcher = Once<Void>()
        let number = counts.withLock { counts -> UInt64? in
            guard !isStopping else { return nil }
            counts.watcherCount += 1
            counts.watchers[counts.watcherCount] = watcher
            return counts.watcherCount
        }
        guard let number else { return }
        await withTaskCancellationHandler {
            await watcher.wait()
        } onCancel: {
            watcher.resume(returning: ())
        }
        counts.withLock { _ = $0.watchers.removeValue(forKey: number) }
    }

    /// Runs `body`, and cancels it when the server stops: its end by that is no error.
    func untilStopping(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [self] in
                do { try await body() } catch {
                    let isCancelled = error is CancellationError || (error as? NetError)?.kind == .cancelled
                    guard isCancelled, isStopping else { throw error }
                }
            }
            group.addTask { [self] in await awaitStopping() }
            // Whichever is first.
            try await group.next()
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    /// False: there are too many.
    func admit() -> Bool {
        counts.withLock { counts in
            guard counts.connections < options.connectionsMax, !isStopping else {
                counts.refused += 1
                return false
            }
            counts.connections += 1
            return true
        }
    }

    func leave() {
        let isLast = counts.withLock { counts in
            counts.connections -= 1
            return counts.connections == 0 && isStopping
        }
        if isLast { ended.resume(returning: true) }
    }
}
