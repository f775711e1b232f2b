internal import MartletBytes
internal import MartletEventLoop
internal import MartletHTTP
internal import MartletLogging
internal import Synchronization

/// A connection behind its handshake.
struct WebSocketOpening: Sendable {
    let agreement: WebSocketAgreement
    let peer: SocketAddress
    /// Of the request: "/chat?room=1".
    let target: String
    /// The request's on a server, the response's on a client.
    let fields: HTTPFields
    /// A server's.
    let seat: HTTPSeat?

    func machine(isClient: Bool, _ home: WebSocketHome) -> WebSocketMachine {
        let now = home.loop.now
        func make(_ deflation: consuming WebSocketDeflation?) -> WebSocketMachine {
            guard isClient else { return WebSocketMachine(server: home.limits, deflation: deflation, now: now) }
            var generator = SystemRandomNumberGenerator()
            return WebSocketMachine(client: home.limits, secret: (generator.next(), generator.next()), deflation: deflation, now: now)
        }
        guard let parameters = agreement.deflate, let compression = home.compression else { return make(nil) }
        return make(WebSocketDeflation(parameters, isClient: isClient, sharing: compression))
    }
}

/// A request whose connection goes over to WebSocket, on a server.
final class WebSocketAdmission: HTTPSuccession {
    /// The request until the connection is taken.
    private enum State: Sendable {
        case opening(HTTPRequest)
        case taken(WebSocketCore, HTTPSeat)
        case ended
    }
    private let endpoint: WebSocketEndpoint
    private let agreement: WebSocketAgreement
    private let state: Mutex<State>

    init(_ endpoint: WebSocketEndpoint, _ request: HTTPRequest, _ agreement: WebSocketAgreement) {
        self.endpoint = endpoint
        self.agreement = agreement
        state = Mutex(.opening(request))
    }

    var hasHandler: Bool {
        switch endpoint.service {
        case .handler: true
        case .events: false
        }
    }

    func take(_ transport: Transport, from peer: SocketAddress, _ seat: HTTPSeat, runner: TaskMark?, on loop: EventLoop) {
        guard case .opening(let request) = state.withLock({ $0 }) else { return seat.leave() }
        state.withLock { $0 = .ended }
        let home = endpoint.home(on: loop, seat.logger)
        if let events = home.events {
            let opening = WebSocketOpening(agreement: agreement, peer: peer, target: "", fields: HTTPFields(), seat: seat)
            let channel = WebSocketChannel(opening, isClient: false, home: home)
            guard loop.add(channel, transport) != nil else { return seat.leave() }
            channel.begin(nil, on: loop)
            if channel.slot != 0 { events.opened(WebSocketPeer(channel: channel, loop: loop), request) }
        } else {
            let opening = WebSocketOpening(agreement: agreement, peer: peer, target: request.target, fields: request.fields, seat: seat)
            guard let core = WebSocketCore(transport, opening, isClient: false, owner: runner, home: home) else { return seat.leave() }
            state.withLock { $0 = .taken(core, seat) }
        }
    }

    func run() async {
        guard case .taken(let core, let seat) = state.withLock({ $0 }), case .handler(let handler) = endpoint.service else { return }
        let connection = WebSocketConnection(core: core)
        await withTaskCancellationHandler {
            do {
                try await handler(connection)
                try await core.close(.normal, "")
            } catch {
                await core.end(by: error, seat.logger)
            }
        } onCancel: {
            core.cancelOwner()
        }
        // The task is on the loop.
        core.leave(seat)
    }
}

extension WebSocketCore {
    /// The handler threw.
    func end(by error: any Error, _ logger: Logger) async {
        let isCancelled = error is CancellationError || Task.isCancelled
        var isOwn = isCancelled
        if case .closed? = error as? WebSocketError { isOwn = true }
        if case .cancelled? = error as? WebSocketError { isOwn = true }
        if isOwn { logger.debug("\(peer): \(error)") } else { logger.error("\(peer): the handler of \(target) failed: \(error)") }
        do {
            if isOwn { try await close(.goingAway, "") } else { try await close(.internalError, "the server failed") }
        } catch {}
    }

    /// The connection is no longer its server's: at its end.
    func leave(_ seat: HTTPSeat) {
        let isOver = shared.withLock { $0.isOver }
        if loop.isCurrent, isOver { return seat.leave() }
        loop.execute { [self] loop in
            channel?.abort(on: loop)
            seat.leave()
        }
    }
}
