internal import MartletBytes
internal import MartletEventLoop
internal import MartletFiles
internal import MartletSockets

/// Answers one request. Runs on the connection's loop, which it must not block; what it throws is answered as `HTTPFailure` says. It is cancelled when its
/// client goes away, and at the end of a server's grace.
public typealias HTTPHandler = @Sendable (HTTPRequest) async throws -> HTTPResponse

/// A server for HTTP.
public enum HTTPServer {
    /// Serves an address until the task is cancelled; then in good order: no connection is taken any more, idle ones are closed, responses under way have
    /// `HTTPServerOptions.grace` to come to their end.
    ///
    /// `address` is "http://localhost:8000", "https://…" with `HTTPServerOptions.tls`, "http+unix:///run/x.sock"; port 0 is a free one, and localhost both
    /// families. `ready` is told the first address that is bound.
    /// Throws `addressInUse`, `addressNotAvailable`, `permissionDenied`, `unresolvable`, and `tls` for a certificate or key that cannot be used.
    public static func serve(
        on address: String, options: HTTPServerOptions = HTTPServerOptions(), ready: (@Sendable (SocketAddress) -> Void)? = nil,
        _ handler: @escaping HTTPHandler
    ) async throws(NetError) {
        try await serve(on: address, options, ready, nil, handler)
    }

    /// The same with the handlers of a router.
    public static func serve(
        on address: String, options: HTTPServerOptions = HTTPServerOptions(), ready: (@Sendable (SocketAddress) -> Void)? = nil, _ router: HTTPRouter
    ) async throws(NetError) {
        try await serve(on: address, options, ready, router, router.respond)
    }

    private static func serve(
        on address: String, _ options: HTTPServerOptions, _ ready: (@Sendable (SocketAddress) -> Void)?, _ router: HTTPRouter?,
        _ handler: @escaping HTTPHandler
    ) async throws(NetError) {
        var options = options
        if options.tls?.applicationProtocols.isEmpty == true { options.tls?.applicationProtocols = ["http/1.1"] }
        let place = try HTTPAddress.place(address, isSecure: options.tls != nil)
        let addresses = try await HTTPAddress.toBind(place)
        let context = try options.tls.map { (tls) throws(NetError) in try SocketContexts.server(tls, address) }
        var log: HTTPAccessLog?
        do throws(FileError) { log = try options.accessLog.map { (sink) throws(FileError) in try HTTPAccessLog(sink) } } catch {
            throw NetError(errno: error.errno, .listen, address)
        }
        var sockets: [BoundSocket] = []
        let loops: [EventLoop]
        do throws(NetError) {
            for address in addresses {
                let port = address.port == 0 ? sockets.first?.address.port : nil
                do throws(NetError) { sockets.append(try BoundSocket(port.map { address.with(port: $0) } ?? address, options: options.stream)) } catch {
                    // Without IPv6 on this machine localhost is the other.
                    guard error.kind != .addressInUse, error.kind != .permissionDenied, !sockets.isEmpty, addresses.count > 1 else { throw error }
                }
            }
            loops = try SocketLoops.lend(max(1, options.loops), for: address)
        } catch {
            for socket in sockets { socket.close() }
            await log?.end()
            throw error
        }
        if let first = sockets.first { ready?(first.address) }
        await HTTPServing(HTTPServerState(options, router, handler), context, log, loops).run(sockets)
        SocketLoops.takeBack(loops)
        await log?.end()
    }
}

/// How an address is written.
enum HTTPAddress {
    /// localhost is both families, whatever the system's tables say (RFC 6761 section 6.3).
    static func toBind(_ place: Place) async throws(NetError) -> [SocketAddress] {
        guard case .internet(let host, let port) = place, host.lowercased() == "localhost" else { return try await place.addressesToBind() }
        return ["127.0.0.1", "::1"].compactMap { SocketAddress($0, port: port) }
    }

    static func place(_ text: String, isSecure: Bool) throws(NetError) -> Place {
        let refusal = NetError(.unresolvable, .listen, text, detail: "an address is http://HOST:PORT, https://HOST:PORT or http+unix:///PATH")
        guard let mark = text.firstRange(of: "://") else { throw refusal }
        let scheme = text[..<mark.lowerBound].lowercased()
        var rest = text[mark.upperBound...]
        if scheme == "http+unix" || scheme == "https+unix" {
            guard !rest.isEmpty, isSecure == scheme.hasPrefix("https") else { throw refusal }
            return .unix(String(rest))
        }
        guard scheme == "http" || scheme == "https" else { throw refusal }
        guard isSecure == (scheme == "https") else {
            throw NetError(.tls, .listen, text, detail: isSecure ? "with TLS the address is https://" : "https wants a certificate and its key")
        }
        if rest.hasSuffix("/") { rest.removeLast() }
        let hasPort = rest.last != "]" && rest.contains(":")
        return try Place(hasPort ? String(rest) : rest + (isSecure ? ":443" : ":80"), phase: .listen)
    }
}

/// A server from its first connection to its end.
private struct HTTPServing: Sendable {
    let server: HTTPServerState
    let context: TLSContext?
    let loops: [EventLoop]
    let homes: [LoopBound<HTTPServerLoop>]

    init(_ server: HTTPServerState, _ context: TLSContext?, _ log: HTTPAccessLog?, _ loops: [EventLoop]) {
        self.server = server
        self.context = context
        self.loops = loops
        homes = loops.map { LoopBound(HTTPServerLoop(server, log, on: $0), on: $0) }
    }

    func run(_ sockets: [BoundSocket]) async {
        let loop = loops[0], accepting = LoopBound(Accepting(homes, context), on: loop), server = server, homes = homes
        loop.execute { accepting().begin(sockets, on: $0) }
        let cancelled = Once<Void>()
        await withTaskCancellationHandler {
            await cancelled.wait()
        } onCancel: {
            cancelled.resume(returning: ())
        }
        loop.execute { loop in
            server.beginStopping()
            accepting().end(after: server.options.grace, on: loop) { server.ended.resume(returning: false) }
            for home in homes { home.loop.execute { _ in home().stop() } }
        }
        _ = await server.ended.wait()
        loop.execute { accepting().endClock(on: $0) }
        for home in homes {
            let done = Once<Void>()
            home.loop.execute { _ in
                home().end()
                done.resume(returning: ())
            }
            await done.wait()
        }
    }
}

/// Deals connections out to the loops, and waits for the end of the grace. Confined to the accepting loop.
private final class Accepting {
    private let homes: [LoopBound<HTTPServerLoop>]
    private let context: TLSContext?
    private var turn = 0
    private var listeners: [Listener] = []
    private var clock: Clock?

    init(_ homes: [LoopBound<HTTPServerLoop>], _ context: TLSContext?) {
        self.homes = homes
        self.context = context
    }

    func begin(_ sockets: [BoundSocket], on loop: EventLoop) {
        listeners = sockets.map { socket in Listener(socket) { [unowned self] descriptor, peer in deal(descriptor, peer, on: loop) } }
        for listener in listeners { listener.open(on: loop) }
    }

    private func deal(_ descriptor: Int32, _ peer: SocketAddress, on loop: EventLoop) {
        let home = homes[turn % homes.count], context = context
        turn &+= 1
        let take: @Sendable () -> Void = { home().take(Transport(descriptor: descriptor, layer: context?.makeLayer()), from: peer) }
        if home.loop === loop { take() } else { home.loop.execute { _ in take() } }
    }

    func end(after grace: Duration, on loop: EventLoop, _ ended: @escaping () -> Void) {
        for listener in listeners { loop.close(listener, .stopping) }
        listeners = []
        let clock = Clock(loop.now + grace, ended)
        self.clock = clock
        loop.add(clock: clock)
    }

    func endClock(on loop: EventLoop) {
        if let clock, clock.slot != 0 { loop.close(clock, .stopping) }
        clock = nil
    }
}

private final class Clock: Channel {
    private var time: Instant
    private let ended: () -> Void

    init(_ time: Instant, _ ended: @escaping () -> Void) {
        self.time = time
        self.ended = ended
    }

    override var deadline: Instant { time }

    override func wake(on loop: EventLoop) {
        time = .never
        ended()
    }
}
