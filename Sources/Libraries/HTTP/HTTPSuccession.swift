package import MartletEventLoop
package import MartletLogging
package import MartletNet

/// What takes over a server's connection behind its 101: another library's protocol, without a tunnel between.
package protocol HTTPSuccession: Sendable {
    /// On the connection's loop: gives the transport to a channel of that loop, which is the server's as long as its seat is taken. `runner` is the task
    /// of `run`. Called once, or never if the connection has ended by then.
    func take(_ transport: Transport, from peer: SocketAddress, _ seat: HTTPSeat, runner: TaskMark?, on loop: EventLoop)
    /// Behind `take`: the handler of the connection, if it has one; cancelled at the end of the server's grace.
    func run() async
}

/// A connection that has left HTTP behind and still counts among its server's. What it answers, it answers on the connection's loop.
package struct HTTPSeat: Sendable {
    let home: LoopBound<HTTPServerLoop>

    /// The connection has ended. Once.
    package func leave() { home().left() }

    /// The server is ending.
    package var isStopping: Bool { home().server.isStopping }

    /// Where what goes wrong is told.
    package var logger: Logger { home().server.options.logger }
}

/// A channel with a seat: told of its server's end.
package protocol HTTPSuccessor: Channel {
    /// Nil once it is left.
    var seat: HTTPSeat? { get }
    /// The server is ending: takes leave in its protocol's words. It is cut off at the end of the grace.
    func stop(on loop: EventLoop)
}

extension HTTPResponse {
    /// Goes on in another protocol, as `upgrade(to:fields:_:)` does, and leaves the connection to `succession`.
    package static func upgrade(to name: String, fields: HTTPFields = HTTPFields(), _ succession: any HTTPSuccession) -> HTTPResponse {
        var response = HTTPResponse(101, body: Body(content: .succession(name, succession)))
        response.fields = fields
        return response
    }
}

extension HTTPServerChannel {
    /// In a worker's task: leaves the connection to its successor, and runs the handler that that has.
    func run(_ succession: any HTTPSuccession, _ request: HTTPRequest, by worker: HTTPWorker) async {
        let taken = Once<Bool>(), bound = LoopBound(self, on: home.loop), runner = TaskMark.current
        // The loop may be in the middle of a call of this.
        home.loop.execute { taken.resume(returning: bound().pass(to: succession, runner, on: $0)) }
        guard await taken.wait() else { return }
        home.tunnels[request.number] = HTTPServerTunnel(connection: nil, worker: worker)
        await succession.run()
        home.tunnels[request.number] = nil
    }

    private func pass(to succession: any HTTPSuccession, _ runner: TaskMark?, on loop: EventLoop) -> Bool {
        guard slot != 0, closeReason == nil, let peer = connection?.peer else { return false }
        connection = nil
        succession.take(loop.surrender(self), from: peer, HTTPSeat(home: LoopBound(home, on: loop)), runner: runner, on: loop)
        return true
    }
}

extension HTTPServerLoop {
    /// The channels of other protocols that took connections over.
    var successors: [any HTTPSuccessor] {
        loop.channels(of: Channel.self).compactMap { channel in
            guard let successor = channel as? any HTTPSuccessor, successor.seat?.home() === self else { return nil }
            return successor
        }
    }
}
