internal import MartletBytes
public import MartletEventLoop

/// A server on event loops that somebody else runs, for connections that somebody else accepts: beside other protocols on the same loops.
///
/// Handlers run on the loop of their connection and must not block it. Whoever runs the loops ends this first: `stop`, then time for what is under way,
/// then the loops. Of the options `tls`, `stream`, `loops`, `grace` and `accessLog` are not looked at.
public final class HTTPEmbeddedServer: Sendable {
    private let state: HTTPServerState
    private let homes: [LoopBound<HTTPServerLoop>]

    public init(on loops: [EventLoop], options: HTTPServerOptions = HTTPServerOptions(), _ router: HTTPRouter) {
        var options = options
        options.loops = loops.count
        let state = HTTPServerState(options, router, router.respond)
        self.state = state
        homes = loops.map { LoopBound(HTTPServerLoop(state, nil, on: $0), on: $0) }
    }

    /// Takes over a connection, with its layer if it has one; one too many is closed. On a loop of the server's.
    public func take(_ transport: Transport, from peer: SocketAddress, on loop: EventLoop) {
        guard let home = home(of: loop) else { return loop.discard(transport.descriptor) }
        home.take(transport, from: peer)
    }

    /// Closes the loop's connections that are idle, and takes no further one, nor a further request. What is under way goes to its end and
    /// closes its connection then. On the loop; for each of them.
    public func stop(on loop: EventLoop) {
        state.beginStopping()
        home(of: loop)?.stop()
    }

    /// What has happened on a loop so far. On the loop.
    public func counters(of loop: EventLoop) -> HTTPServerCounters { home(of: loop)?.seen.value ?? HTTPServerCounters() }

    private func home(of loop: EventLoop) -> HTTPServerLoop? { homes.first { $0.loop === loop }?() }
}
