public import MartletHTTP
public import MartletWebSocketProtocol

/// What both sides of a connection may be told.
public struct WebSocketOptions: Sendable {
    /// What a peer may ask, and the times of pings and of the close handshake.
    public var limits = WebSocketLimits()
    /// Subprotocols, the best first (RFC 6455 section 1.9): what a client offers; what a server takes, if the client offers it.
    public var subprotocols: [String] = []
    /// permessage-deflate; nil: messages go as they are.
    public var deflate: WebSocketDeflateOptions?
    /// Bytes of messages that nobody has read above which the peer is not read from; each message counts for 64 more.
    public var receiveLimit = 1 << 18
    /// Bytes that wait for the peer above which it is cut off, since it takes nothing. Tasks wait from 256 KiB on, so only callbacks, and tasks that send
    /// large messages side by side, come so far.
    public var outputMax = 64 << 20

    /// Messages are deflated without contexts, so that an idle connection costs nothing.
    public static var server: WebSocketOptions {
        var options = WebSocketOptions()
        options.deflate = .server
        return options
    }

    /// Messages are deflated with contexts.
    public static var client: WebSocketOptions {
        var options = WebSocketOptions()
        options.deflate = .client
        return options
    }

    public init() {}
}

/// How a server of WebSockets is set up.
public struct WebSocketServerOptions: Sendable {
    public var webSocket = WebSocketOptions.server
    /// The server below: TLS, loops, limits of requests, the grace at its end. A connection with a handler counts as a request under way.
    public var http = HTTPServerOptions()
    /// Which pages may connect. Default: those of the same host, and this machine's own to a server on this machine.
    public var origins = WebSocketOrigins.local

    public init() { http.requestsMax = .max }
}

/// How a client's connection is set up.
public struct WebSocketClientOptions: Sendable {
    public var webSocket = WebSocketOptions.client
    /// The client below: TLS, times, proxies' fields, redirects.
    public var http = HTTPClientOptions()
    /// Sent with the handshake: Authorization, Cookie, Origin, ….
    public var fields = HTTPFields()

    public init() { http.retries = .never }
}
