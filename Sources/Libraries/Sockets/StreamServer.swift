internal import MartletEventLoop
internal import MartletNet
internal import MartletTLS
internal import Synchronization

/// What `TCP.listen` and `Unix.listen` have in common: accepts on one loop, and runs a child task for each connection on the loop it was dealt to.
///
/// Not here: addresses and their names.
struct StreamServer: Sendable {
    typealias Handler = @Sendable (StreamConnection) async throws -> Void
    let options: StreamOptions
    let tls: TLSContext?
    let loops: [EventLoop]
    let handler: Handler
    let failed: (@Sendable (StreamConnection, any Error) -> Void)?

    /// Binds all addresses, which get the same port, before anything is accepted.
    static func listen(
        on addresses: [SocketAddress], tls: TLSServerOptions?, _ options: StreamOptions, loops count: Int, ready: (@Sendable (SocketAddress) -> Void)?,
        failed: (@Sendable (StreamConnection, any Error) -> Void)?, _ handler: @escaping Handler
    ) async throws(NetError) {
        let context = try tls.map { (tls) throws(NetError) in try SocketContexts.server(tls, "\(addresses.first.map { "\($0)" } ?? "")") }
        var sockets: [BoundSocket] = []
        let loops: [EventLoop]
        do throws(NetError) {
            for address in addresses {
                let port = address.port == 0 ? sockets.first?.address.port : nil
                sockets.append(try BoundSocket(port.map { address.with(port: $0) } ?? address, options: options))
            }
            loops = try SocketLoops.lend(max(1, count), for: sockets.first.map { "\($0.address)" } ?? "")
        } catch {
            for socket in sockets { socket.close() }
            throw error
        }
        if let address = sockets.first?.address { ready?(address) }
        await StreamServer(options: options, tls: context, loops: loops, handler: handler, failed: failed).run(sockets)
        SocketLoops.takeBack(loops)
    }

    /// Until the task is cancelled. The sockets are closed then; handlers are cancelled with the task, and awaited.
    func run(_ sockets: [BoundSocket]) async {
        let arrivals = Arrivals(), accepting = loops[0]
        await withTaskExecutorPreference(accepting.tasks) {
            let listeners = sockets.map { socket in
                Listener(socket) { descriptor, peer in arrivals.put(Arrival(descriptor: descriptor, peer: peer)) }
            }
            for listener in listeners { listener.open(on: accepting) }
            await withDiscardingTaskGroup { group in
                var turn = 0
                while let batch = await arrivals.next() {
                    for arrival in batch {
                        let loop = loops[turn % loops.count]
                        turn += 1
                        group.addTask(executorPreference: loop.tasks) { await serve(arrival, on: loop) }
                    }
                }
                for listener in listeners { accepting.close(listener, .stopping) }
                for arrival in arrivals.end() { accepting.discard(arrival.descriptor) }
                cancelHandlers()
            }
        }
    }

    private func serve(_ arrival: Arrival, on loop: EventLoop) async {
        let transport = Transport(descriptor: arrival.descriptor, layer: tls?.makeLayer())
        guard let core = StreamCore(transport, peer: arrival.peer, options: options, owner: .current, on: loop) else { return }
        if Task.isCancelled { core.cancelOwner() }
        let connection = StreamConnection(core: core)
        do {
            if tls != nil { try await core.secure(timeout: options.handshakeTimeout) }
            try await handler(connection)
            try await core.close(timeout: options.closeTimeout)
        } catch {
            core.leave()
            failed?(connection, error)
        }
    }

    /// A connection's task is cancelled only with the server's: one handler tells them all, and none has to have its own.
    private func cancelHandlers() {
        for loop in loops {
            loop.execute { loop in for channel in loop.channels(of: StreamChannel.self) { channel.core?.cancelOwner() } }
        }
    }
}

/// An accepted connection that no task has yet.
struct Arrival: Sendable {
    let descriptor: Int32
    let peer: SocketAddress
}

/// Between the listener, which puts, and the server's task.
final class Arrivals: Sendable {
    private struct Contents: ~Copyable {
        var waiting: [Arrival] = []
        var waiter: Waiter<Void>?
        var hasEnded = false
    }
    private let contents = Mutex(Contents())

    func put(_ arrival: Arrival) {
        let waiter = contents.withLock { contents -> Waiter<Void>? in
            contents.waiting.append(arrival)
            return contents.waiter.take()
        }
        if let waiter { waiter.resume(returning: ()) }
    }

    /// All that are there, at least one; nil once the task is cancelled.
    func next() async -> [Arrival]? {
        while true {
            let batch = contents.withLock { contents -> [Arrival] in
                var batch: [Arrival] = []
                if !contents.hasEnded { swap(&batch, &contents.waiting) }
                return batch
            }
            if !batch.isEmpty { return batch }
            if Task.isCancelled { return nil }
            await withTaskCancellationHandler {
                await Waiter<Void>.wait { waiter in
                    var waiter: Waiter<Void>? = consume waiter
                    contents.withLock { contents in
                        if contents.waiting.isEmpty, !contents.hasEnded { contents.waiter = waiter.take() }
                    }
                    if let waiter = waiter.take() { waiter.resume(returning: ()) }
                }
            } onCancel: {
                let waiter = contents.withLock { contents -> Waiter<Void>? in
                    contents.hasEnded = true
                    return contents.waiter.take()
                }
                if let waiter { waiter.resume(returning: ()) }
            }
        }
    }

    /// Those whom nobody will serve.
    func end() -> [Arrival] {
        contents.withLock { contents in
            contents.hasEnded = true
            defer { contents.waiting = [] }
            return contents.waiting
        }
    }
}
