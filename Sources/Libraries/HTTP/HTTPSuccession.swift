package import MartletEventLoop
package import MartletLogging
package import MartletNet

/// What takes over a server's connection behind its 101: another library's protocol, without a tunnel between.
package protocol HTTPSuccession: Sendable {
    /// On the connection's loop: gives the transport to a channel of that loop, which is the server's as long as its seat is taken. `runner` is the task
    /// of `run`. Called once, or never if the connection has ended by then.
    func take(_ transport: Transport, from peer: SocketAddress, _ seat: HTTPSeat, runner: TaskMark?, on loop: EventLoop)
    /// Whether `run` is called.
    var hasHandler: Bool { get }
    /// Behind `take`: the handler of the connection, in a task of its own; cancelled at the end of the server's grace.
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
    /// In a worker's task: leaves the connection to its successor. A handler has a task of its own, so that what the request took is free while it runs.
    func leave(to succession: any HTTPSuccession, _ number: UInt64) async {
        let left = Once<Void>(), loop = home.loop, leaving = LoopBound(HTTPLeaving(self), on: loop)
        if succession.hasHandler {
            let home = LoopBound(home, on: loop)
            let task = Task(executorPreference: loop.tasks) {
                if await HTTPLeaving.pass(leaving, to: succession, .current, left) { await succession.run() }
                home().tunnels[number] = nil
            }
            home().tunnels[number] = HTTPServerTunnel { task.cancel() }
            await left.wait()
        } else {
            _ = await HTTPLeaving.pass(leaving, to: succession, nil, left)
        }
    }

    fileprivate func pass(to succession: any HTTPSuccession, _ runner: TaskMark?, on loop: EventLoop) -> Bool {
        guard slot != 0, closeReason == nil, let peer = connection?.peer else { return false }
        connection = nil
        succession.take(loop.surrender(self), from: peer, HTTPSeat(home: LoopBound(home, on: loop)), runner: runner, on: loop)
        return true
    }
}

/// Whose connection goes: a task that lives for hours must not keep it.
private final class HTTPLeaving {
    var channel: HTTPServerChannel?
    init(_ channel: HTTPServerChannel) { self.channel = channel }

    /// False: it has ended before.
    static func pass(
        _ leaving: LoopBound<HTTPLeaving>, to succession: any HTTPSuccession, _ runner: TaskMark?, _ left: Once<Void>
    ) async -> Bool {
        let taken = Once<Bool>()
        // The loop may be in the middle of a call of the channel.
        leaving.loop.execute { loop in
            taken.resume(returning: leaving().channel.take()?.pass(to: succession, runner, on: loop) ?? false)
            left.resume(returning: ())
        }
        return await taken.wait()
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
