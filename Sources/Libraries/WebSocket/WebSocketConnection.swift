internal import MartletEventLoop
public import MartletHTTP
public import MartletWebSocketProtocol
internal import Synchronization

/// A WebSocket (RFC 6455): messages both ways. Belongs to the scope that gave it; afterwards every call throws `closed`.
///
/// Any task may send; one at a time reads `messages`. On the loop that owns it (a server's handler is there) nothing is handed between threads. Pings are
/// sent and answered by itself (`WebSocketLimits.pingInterval`), as long as somebody reads.
public struct WebSocketConnection: Sendable {
    let core: WebSocketCore

    /// What arrives. Ends with a normal Close (1000, 1001, none); throws `closed` at any other end, and `cancelled`. Not iterating is back-pressure: the
    /// peer is not read from while `WebSocketOptions.receiveLimit` bytes wait. What came before an end is read first.
    public var messages: WebSocketMessages { WebSocketMessages(core: core) }

    /// The next message; nil after a normal Close. As `messages`.
    public func receive() async throws(WebSocketError) -> WebSocketMessage? { try await core.read() }

    /// Sends in the order of the calls. Returns when the message is the connection's own; suspends while more than 256 KiB wait to leave.
    /// Throws `closed`, `cancelled`; the message may then still leave.
    public func send(_ message: WebSocketMessage) async throws(WebSocketError) { try await core.send(message) }

    /// As text.
    public func send(_ text: String) async throws(WebSocketError) { try await core.send(.text(text)) }

    /// As binary.
    public func send(_ bytes: [UInt8]) async throws(WebSocketError) { try await core.send(.binary(bytes)) }

    /// Pings the peer, beside the connection's own pings, and answers how long it took. Throws `closed`, `cancelled`.
    public func ping() async throws(WebSocketError) -> Duration { try await core.ping() }

    /// How long the answer to the last of the connection's own pings took; nil before the first.
    public func latency() async -> Duration? { await core.latency() }

    /// Sends Close behind all that was sent, and returns when the peer has answered and the connection has ended, at the latest after
    /// `WebSocketLimits.closeTimeout`. A reason has at most 123 bytes of UTF-8. Throws `misuse` for a code or a reason that no Close carries; the end of the
    /// scope does the same with 1000.
    public func close(_ code: WebSocketCloseCode = .normal, reason: String = "") async throws(WebSocketError) { try await core.close(code, reason) }

    /// Throws away what has not left, and resets the connection.
    public func abort() { core.abort() }

    /// How it was closed; nil while it is open.
    public var closed: WebSocketClose? { core.shared.withLock { $0.close } }

    /// What both sides agreed on, of those that the client offered; nil: none.
    public var subprotocol: String? { core.subprotocol }
    /// The other end.
    public var peer: SocketAddress { core.peer }
    /// Of the request that began it: "/chat?room=1".
    public var target: String { core.target }
    /// On a server those of the request, on a client those of the response.
    public var fields: HTTPFields { core.fields }
}

/// The messages that a connection receives. See `WebSocketConnection.messages`.
public struct WebSocketMessages: AsyncSequence, Sendable {
    public typealias Element = WebSocketMessage
    public typealias Failure = WebSocketError
    let core: WebSocketCore

    public func makeAsyncIterator() -> Iterator { Iterator(core: core) }

    public struct Iterator: AsyncIteratorProtocol {
        let core: WebSocketCore

        public mutating func next() async throws(WebSocketError) -> WebSocketMessage? { try await core.read() }

        public mutating func next(isolation actor: isolated (any Actor)?) async throws(WebSocketError) -> WebSocketMessage? { try await core.read() }
    }
}

extension WebSocketConnection {
    /// Serves an address until the task is cancelled; then in good order: nothing is accepted any more, connections get Close 1001 when their handlers have
    /// answered what came, and have `HTTPServerOptions.grace` to end.
    ///
    /// `address` is "ws://localhost:8765", "wss://…" with TLS in `options.http`, "ws+unix:///run/x.sock"; port 0 is a free one, and localhost both families.
    /// Any path is served; what is no WebSocket gets 426. `ready` is told the first address that is bound. Throws as `HTTPServer.serve`.
    public static func serve(
        on address: String, options: WebSocketServerOptions = WebSocketServerOptions(), ready: (@Sendable (SocketAddress) -> Void)? = nil,
        _ handler: @escaping WebSocketHandler
    ) async throws(NetError) {
        try await serve(on: address, options, ready, WebSocketEndpoint(options: options.webSocket, origins: options.origins, handler))
    }

    /// The same with callbacks instead of a task for each connection.
    public static func serve(
        on address: String, options: WebSocketServerOptions = WebSocketServerOptions(), ready: (@Sendable (SocketAddress) -> Void)? = nil,
        events: WebSocketEvents
    ) async throws(NetError) {
        try await serve(on: address, options, ready, WebSocketEndpoint(options: options.webSocket, origins: options.origins, events: events))
    }

    private static func serve(
        on address: String, _ options: WebSocketServerOptions, _ ready: (@Sendable (SocketAddress) -> Void)?, _ endpoint: WebSocketEndpoint
    ) async throws(NetError) {
        guard let place = WebSocketURL.http(address) else {
            throw NetError(.unresolvable, .listen, address, detail: "an address is ws://HOST:PORT, wss://HOST:PORT or ws+unix:///PATH")
        }
        try await HTTPServer.serve(on: place, options: options.http, ready: ready) { try endpoint.respond(to: $0) }
    }
}

/// A WebSocket's URL is HTTP's with another scheme (RFC 6455 section 3).
enum WebSocketURL {
    static func http(_ url: String) -> String? {
        for (scheme, other) in [("ws://", "http://"), ("wss://", "https://"), ("ws+unix://", "http+unix://"), ("wss+unix://", "https+unix://")]
        where url.lowercased().hasPrefix(scheme) {
            return other + url.dropFirst(scheme.count)
        }
        return nil
    }
}
