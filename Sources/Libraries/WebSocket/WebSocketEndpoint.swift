internal import MartletBytes
internal import MartletEventLoop
public import MartletHTTP
internal import MartletLogging
public import MartletWebSocketProtocol
internal import Synchronization

/// Has one connection to itself: it is closed (1000) when this returns, with 1011 when it throws. Runs on the connection's loop, which it must not block;
/// cancelled at the end of the server's grace.
public typealias WebSocketHandler = @Sendable (WebSocketConnection) async throws -> Void

/// A place for WebSockets on an HTTP server: give `respond(to:)` to a router, beside pages and other routes, or let `WebSocketConnection.serve` do it.
public final class WebSocketEndpoint: Sendable {
    enum Service: Sendable {
        case handler(WebSocketHandler)
        case events(WebSocketEvents)
    }
    let service: Service
    private let options: WebSocketOptions
    private let handshake: WebSocketServerHandshake
    private let homes = Mutex<[LoopBound<WebSocketHome>]>([])
    private let refused = Atomic<UInt64>(0)

    /// `handler` has each connection, in a task.
    public convenience init(options: WebSocketOptions = .server, origins: WebSocketOrigins = .local, _ handler: @escaping WebSocketHandler) {
        self.init(options, origins, .handler(handler))
    }

    /// `events` are told of all connections, on their loops, without tasks: an idle one costs less than 1 KiB.
    public convenience init(options: WebSocketOptions = .server, origins: WebSocketOrigins = .local, events: WebSocketEvents) {
        self.init(options, origins, .events(events))
    }

    private init(_ options: WebSocketOptions, _ origins: WebSocketOrigins, _ service: Service) {
        self.options = options
        self.service = service
        handshake = WebSocketServerHandshake(subprotocols: options.subprotocols, origins: origins, deflate: options.deflate)
    }

    /// Goes on in WebSocket, if that is what is asked; else throws 405, 426 with the version that is spoken, 403 for an origin that may not, 400.
    public func respond(to request: HTTPRequest) throws(HTTPFailure) -> HTTPResponse {
        let fields = request.fields
        do throws(HTTPFailure) {
            guard request.upgrades.contains(where: { $0.lowercased() == "websocket" }) else { throw try Self.upgradeRequired() }
            guard request.method == .get else { throw HTTPFailure(.methodNotAllowed, "a WebSocket begins with GET (RFC 6455, 4.1)") }
            let answer: (fields: [(name: String, value: String)], agreement: WebSocketAgreement)
            do throws(WebSocketRefusal) {
                answer = try handshake.answer(
                    WebSocketRequest(
                        version: fields["sec-websocket-version"], key: fields["sec-websocket-key"], subprotocols: fields["sec-websocket-protocol"],
                        extensions: fields["sec-websocket-extensions"], origin: fields["origin"], host: request.host))
            } catch {
                throw HTTPFailure(HTTPStatus(rawValue: error.status), error.rawValue, fields: try Self.fields(error.fields))
            }
            return .upgrade(to: "websocket", fields: try Self.fields(answer.fields), WebSocketAdmission(self, request, answer.agreement))
        } catch {
            refused.wrappingAdd(1, ordering: .relaxed)
            throw error
        }
    }

    private static func upgradeRequired() throws(HTTPFailure) -> HTTPFailure {
        var failure = HTTPFailure(.upgradeRequired, "this is a WebSocket: ask with Connection: Upgrade and Upgrade: websocket")
        failure.fields = try fields([("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")])
        return failure
    }

    private static func fields(_ lines: [(name: String, value: String)]) throws(HTTPFailure) -> HTTPFields {
        var fields = HTTPFields()
        do throws(HTTPFieldRefusal) { for line in lines { try fields.append(line.name, line.value) } } catch {
            throw HTTPFailure(.internalServerError, "\(error)")
        }
        return fields
    }

    /// What its connections on one loop share. On that loop.
    func home(on loop: EventLoop, _ logger: Logger) -> WebSocketHome {
        homes.withLock { homes in
            if let home = homes.first(where: { $0.loop === loop }) { return home() }
            var events: WebSocketEvents?
            if case .events(let own) = service { events = own }
            let home = WebSocketHome(options, events: events, logger: logger, on: loop)
            homes.append(LoopBound(home, on: loop))
            return home
        }
    }

    /// What its connections have seen so far.
    public func counters() async -> WebSocketCounters {
        var sum = WebSocketCounters()
        for home in homes.withLock({ $0 }) {
            let counted = Once<WebSocketCounters>()
            home.loop.execute { _ in counted.resume(returning: home().seen.value) }
            sum.add(await counted.wait())
        }
        sum.refused += refused.load(ordering: .relaxed)
        return sum
    }
}
