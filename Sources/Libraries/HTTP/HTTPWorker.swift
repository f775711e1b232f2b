internal import MartletEventLoop

/// A task that runs handlers, one request after the other: a request costs no task of its own, and a connection that is idle has none.
///
/// It goes on within the loop's call that brought the request (`EventLoop.runJob`): a handler that does not wait has answered when that returns.
/// Confined to its loop.
final class HTTPWorker {
    private unowned let home: HTTPServerLoop
    private var request: HTTPRequest?
    private var channel: HTTPServerChannel?
    private var parked: Waiter<Void>?
    private var task: Task<Void, Never>?
    private var isCancelled = false

    init(_ home: HTTPServerLoop) { self.home = home }

    /// Begins the request, and returns when its handler has ended or waits for something.
    func begin(_ request: HTTPRequest, of channel: HTTPServerChannel, on loop: EventLoop) {
        self.request = request
        self.channel = channel
        let mark = loop.waitingJobCount
        if let parked = parked.take() {
            parked.resume(returning: ())
        } else {
            let bound = LoopBound(self, on: loop), home = LoopBound(home, on: loop)
            task = Task(executorPreference: loop.tasks) { await bound().run(home()) }
        }
        loop.runJob(since: mark)
    }

    /// Its request is nobody's any more.
    func cancel() {
        isCancelled = true
        task?.cancel()
    }

    /// Nothing more will come.
    func dismiss() {
        if let parked = parked.take() { parked.resume(returning: ()) }
    }

    private func run(_ home: HTTPServerLoop) async {
        while var request = request.take(), let channel = channel.take() {
            // Every function that is awaited here costs a switch back to the loop.
            let response: HTTPResponse
            do {
                if let router = home.server.router {
                    switch try router.find(&request) {
                    case .handler(let handler): response = try await handler(request)
                    case .response(let own): response = own
                    }
                } else {
                    response = try await home.server.handler(request)
                }
            } catch {
                response = home.response(to: error, request, isCancelled: isCancelled)
            }
            switch channel.respond(response, to: request, on: home.loop) {
            case .stream(let stream): await channel.finish(stream, response.status, request)
            case .tunnel(let tunnel): await channel.run(tunnel, request, by: self)
            case .succession(let succession): await channel.leave(to: succession, request.number)
            case nil: break
            }
            channel.end(request)
            if isCancelled || home.isEnding { return }
            home.idle.append(self)
            await Waiter<Void>.wait { waiter in parked = consume waiter }
        }
    }
}
