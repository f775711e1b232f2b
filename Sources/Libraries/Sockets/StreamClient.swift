internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet
internal import MartletTLS
internal import Synchronization

/// What `TCP` and `Unix` have in common as clients: dials on a loop, for a task.
enum StreamClient {
    /// A connection whose reads end with `owner`'s cancellation, if that is given, without a handler for each. `timeout` is for all of it, unless the
    /// handshake has a time of its own.
    static func connect(
        to place: Place, tls: TLSClientOptions?, _ options: StreamOptions, timeout: Duration, handshakeTimeout: Duration? = nil, owner: TaskMark?
    ) async throws(NetError) -> StreamCore {
        let context = try tls.map { (tls) throws(NetError) in try SocketContexts.client(tls, "\(place)") }
        if Task.isCancelled { throw NetError(.cancelled, .connect, "\(place)") }
        let loop = try SocketLoops.client(for: "\(place)")
        let began = loop.currentTime()
        let answer = Once<Result<StreamCore, NetError>>()
        let dial = Dial()
        loop.execute { loop in
            let dialer = Dialer(to: place, options: options, timeout: timeout, on: loop) { result in
                let reply = result.flatMap { (outcome) -> Result<StreamCore, NetError> in
                    let transport = Transport(descriptor: outcome.descriptor, layer: context?.makeLayer(serverName: place.host, port: outcome.peer.port))
                    return StreamCore(transport, peer: outcome.peer, steps: outcome.steps, options: options, owner: owner, on: loop).map { .success($0) }
                        ?? .failure(NetError(errno: 24, .connect, "\(place)"))
                }
                if !answer.resume(returning: reply), case .success(let core) = reply { core.abort() }
            }
            dial.dialer.withLock { $0 = LoopBound(dialer, on: loop) }
        }
        let result = await withTaskCancellationHandler {
            await answer.wait()
        } onCancel: {
            let elapsed = loop.currentTime() - began
            if answer.resume(returning: .failure(NetError(.cancelled, .connect, "\(place)", elapsed: elapsed))) {
                loop.execute { loop in dial.dialer.withLock { $0 }?().cancel(on: loop) }
            }
        }
        let core = try result.get()
        if context != nil { try await core.secure(timeout: handshakeTimeout ?? max(.zero, timeout - (loop.currentTime() - began))) }
        return core
    }

    /// Runs `body` and ends the connection with it.
    static func scope<Result>(_ core: StreamCore, _ body: (StreamConnection) async throws -> Result) async throws -> Result {
        try await withTaskCancellationHandler {
            let result: Result
            do { result = try await body(StreamConnection(core: core)) } catch {
                core.leave()
                throw error
            }
            try await core.close(timeout: core.options.closeTimeout)
            return result
        } onCancel: {
            core.cancelOwner()
        }
    }
}

/// The dialer of one call, for its cancellation.
private final class Dial: Sendable {
    let dialer = Mutex<LoopBound<Dialer>?>(nil)
}
