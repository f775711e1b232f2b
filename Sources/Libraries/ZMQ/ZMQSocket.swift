internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet
internal import Synchronization

/// A ZeroMQ socket: messages to and from any number of peers, which may come and go, by the rules of its pattern.
/// ```swift
/// try await withZMQSocket(.pull, bind: "tcp://*:5557") { socket in
///     for try await message in socket.messages { print(message.text) }
/// }
/// ```
/// Any task may use it, several at a time. Connections are made, and made again, by themselves. Cancelling a task ends every wait in it, with
/// `ZMQError.cancelled`. A socket that is not closed closes with its last owner, in the background.
public final class ZMQSocket<Pattern: ZMQPattern>: Sendable {
    let core: SocketCore
    private let endpoints = Mutex<[ZMQEndpoint]>([])

    /// A socket without a scope, neither bound nor connected: `close` it.
    public convenience init(_ pattern: Pattern, options: ZMQSocketOptions = ZMQSocketOptions()) {
        self.init(pattern, options: options, on: ZMQLoops.shared)
    }

    init(_ pattern: Pattern, options: ZMQSocketOptions, on loop: EventLoop) { core = SocketCore(Pattern.type, options, isRaw: Pattern.isRaw, on: loop) }

    deinit { core.beginClosing {} }

    // MARK: Places

    /// Waits for peers at an endpoint (`ZMQEndpoint`). Answers where it really is: `tcp://*:*` is a free port then.
    /// Throws `endpointInvalid`, `bindFailed`, `nameInUse`, `closed`.
    @discardableResult public func bind(_ text: String) async throws(ZMQError) -> ZMQEndpoint {
        let endpoint = try ZMQEndpoint(text)
        let bound = try await core.bind(to: endpoint, text)
        endpoints.withLock { $0.append(bound) }
        return bound
    }

    /// Connects to an endpoint, now or as soon as somebody is there, and again when the connection is lost. Messages may be sent at once.
    /// Throws `endpointInvalid`, `typesDoNotFit`, `closed`.
    public func connect(_ text: String) throws(ZMQError) { try core.connect(to: try ZMQEndpoint(text)) }

    /// Takes nobody in at an endpoint any more, as it was given or answered; peers that are there stay. Throws `noSuchEndpoint`.
    public func unbind(_ text: String) async throws(ZMQError) {
        if case .inproc(let name) = try ZMQEndpoint(text).transport {
            guard Inproc.unbind(core, from: name) else { throw .noSuchEndpoint(text) }
        } else if await core.askLoop({ $0.unbind(text) }) == false {
            throw .noSuchEndpoint(text)
        }
        endpoints.withLock { $0.removeAll { $0.description == text } }
    }

    /// Ends a connection that `connect` made, once what was sent has left. Throws `noSuchEndpoint`.
    public func disconnect(_ text: String) async throws(ZMQError) {
        guard await core.askLoop({ $0.disconnect(text) }) else { throw .noSuchEndpoint(text) }
    }

    /// Where it is bound, in order, with what the system chose.
    public var boundEndpoints: [ZMQEndpoint] { endpoints.withLock { $0 } }

    /// Lets what was sent leave, for `ZMQSocketOptions.linger` at most, and ends all connections. Calls that wait throw `closed`.
    public func close() async { await core.close() }

    /// Closes at once, also while `close` waits: what was sent and has not left is dropped, and counted.
    public func abandon() { core.beginClosing(linger: .zero) {} }

    // MARK: What happens

    /// What happens on its connections from now on, until it is closed. Of events that nobody takes the oldest are dropped.
    public var events: AsyncStream<ZMQEvent> { core.events.stream() }

    /// What happened so far.
    public var counters: ZMQCounters { core.shared.withLock { $0.state.counters } }

    /// Peers whose handshake is over.
    public var peerCount: Int { core.shared.withLock { $0.state.peers.count { $0.isLive && $0.isConnected } } }
}

/// A socket for a scope: bound, connected, given to `body`, and closed, also when `body` throws.
///
/// `runsOnLoop`: the task runs on the socket's own event loop. That saves two changes of thread a message, which is most of a request's time; but
/// whatever takes long there, or blocks, holds up the socket. Default: where it was called.
/// Throws `ZMQError`, or what `body` throws.
public func withZMQSocket<Pattern: ZMQPattern, Result: Sendable>(
    _ pattern: Pattern, bind: String..., connect: String..., options: ZMQSocketOptions = ZMQSocketOptions(), runsOnLoop: Bool = false,
    _ body: @Sendable (ZMQSocket<Pattern>) async throws -> Result
) async throws -> Result {
    guard runsOnLoop else { return try await withSocket(ZMQSocket(pattern, options: options), bind, connect, body) }
    let loop = ZMQLoops.lend()
    defer { ZMQLoops.takeBack(loop) }
    return try await withTaskExecutorPreference(loop.tasks) {
        try await withSocket(ZMQSocket(pattern, options: options, on: loop), bind, connect, body)
    }
}

private func withSocket<Pattern: ZMQPattern, Result: Sendable>(
    _ socket: ZMQSocket<Pattern>, _ bind: [String], _ connect: [String], _ body: @Sendable (ZMQSocket<Pattern>) async throws -> Result
) async throws -> Result {
    do {
        for endpoint in bind { try await socket.bind(endpoint) }
        for endpoint in connect { try socket.connect(endpoint) }
        let result = try await body(socket)
        await socket.close()
        return result
    } catch {
        await socket.close()
        throw error
    }
}

extension SocketCore {
    func bind(to endpoint: ZMQEndpoint, _ text: String) async throws(ZMQError) -> ZMQEndpoint {
        if shared.withLock({ $0.isClosing }) { throw .closed }
        switch endpoint.transport {
        case .inproc(let name):
            try Inproc.bind(self, to: name)
            return endpoint
        case .stream(let stream):
            try checkCarriage(stream, endpoint)
            if stream.source != nil { throw .endpointInvalid(endpoint.description, reason: "only a connection has a source") }
            let sockets: [BoundSocket], carriage = try StreamCarriage(binding: endpoint, stream, options)
            do throws(NetError) { sockets = try await Self.sockets(at: stream.place) } catch { throw .bindFailed(error) }
            let bound = endpoint.bound(to: sockets[0].address)
            await askLoop { [self] host in host.listen(on: sockets, bound, written: text, over: carriage, for: self) }
            return bound
        }
    }

    /// Of an interface, if there is one of that name; else of the place.
    private static func addresses(at place: Place) async throws(NetError) -> [SocketAddress] {
        if case .internet(let host, let port) = place {
            let own = NetworkInterface.addresses(of: host, port: port)
            if !own.isEmpty { return own }
        }
        return try await place.addressesToBind()
    }

    /// Every address of a place, with one port for all; where all addresses are meant, IPv6 may be missing.
    private static func sockets(at place: Place) async throws(NetError) -> [BoundSocket] {
        var sockets: [BoundSocket] = []
        let isAny = place == .internet(host: "", port: place.port)
        for address in try await addresses(at: place) {
            do throws(NetError) {
                let port = address.port == 0 ? sockets.first?.address.port : nil
                sockets.append(try BoundSocket(port.map { address.with(port: $0) } ?? address))
            } catch {
                if isAny, !sockets.isEmpty { continue }
                for socket in sockets { socket.close() }
                throw error
            }
        }
        guard !sockets.isEmpty else { throw NetError(.unresolvable, .listen, "\(place)") }
        return sockets
    }

    /// A STREAM socket has the bytes of TCP and of nothing else.
    private func checkCarriage(_ stream: ZMQEndpoint.Stream, _ endpoint: ZMQEndpoint) throws(ZMQError) {
        if isRaw, stream.webSocket != nil { throw .endpointInvalid(endpoint.description, reason: "STREAM is not for WebSocket") }
    }

    func connect(to endpoint: ZMQEndpoint) throws(ZMQError) {
        if shared.withLock({ $0.isClosing }) { throw .closed }
        switch endpoint.transport {
        case .inproc(let name): try Inproc.connect(self, to: name)
        case .stream:
            guard let stream = try endpoint.streamToConnect() else { return }
            try checkCarriage(stream, endpoint)
            let carriage = try StreamCarriage(connecting: endpoint, stream, options)
            onLoop { [self] host in host.connect(to: stream, endpoint, over: carriage, for: self) }
        }
    }

    /// Asks the loop's side, and waits for the answer: also in a cancelled task.
    func askLoop<Value: Sendable>(_ question: @escaping @Sendable (SocketHost) -> Value) async -> Value {
        let answer = Once<Value>()
        onLoop { host in answer.resume(returning: question(host)) }
        return await answer.wait()
    }

    func close() async {
        let done = Once<Void>()
        beginClosing { done.resume(returning: ()) }
        await done.wait()
    }

    /// Until somebody closes it, or the task is cancelled.
    func waitForClosing() async throws(ZMQError) {
        let once = Once<Void>()
        let isWaiting = shared.withLock { shared in
            if !shared.isClosing { shared.closers.append(once) }
            return !shared.isClosing
        }
        if isWaiting { try await sleep(on: once, until: .never) }
    }

    func beginClosing(linger: Duration? = nil, _ done: @escaping @Sendable () -> Void) {
        let isFirst = change { shared in
            defer { shared.isClosing = true }
            return !shared.isClosing
        }
        if isFirst {
            Inproc.leave(self)
            var closers: [Once<Void>] = []
            shared.withLock { shared in swap(&closers, &shared.closers) }
            wake(closers)
        }
        onLoop { [self] host in host.end(self, linger: linger ?? options.linger, done) }
    }
}

extension Place {
    fileprivate var port: UInt16 {
        if case .internet(_, let port) = self { return port }
        return 0
    }
}
