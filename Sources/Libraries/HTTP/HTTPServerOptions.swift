public import MartletLogging

/// How a server is set up. The defaults are for a service behind nothing else.
public struct HTTPServerOptions: Sendable {
    /// What one connection may ask.
    public var limits = HTTPLimits()
    /// Sockets.
    public var stream = StreamOptions()
    /// With it the addresses are https.
    public var tls: TLSServerOptions?
    /// Threads that serve connections, which are dealt out in turn.
    public var loops = 1
    /// Connections at a time, above which others are closed at once. (nginx `worker_connections` 512, uvicorn none.)
    public var connectionsMax = 100_000
    /// Requests under way, above which others are answered with 503 and `retryAfter`. (uvicorn `--limit-concurrency` none, Kestrel none.)
    public var requestsMax = 50_000
    public var retryAfter = Duration.seconds(1)
    /// CONNECT reaches handlers, which may accept it with `HTTPResponse.tunnel`. Default: it is answered 501, since a handler that does not look at methods
    /// would take it for another.
    public var takesCONNECT = false
    /// Content of at least 1 KiB that becomes smaller is sent as gzip to clients that take it, if the handler has not encoded it. Default: true.
    public var compresses = true
    /// The field Server; nil: none.
    public var serverName: String? = "martlet"
    /// After the task was cancelled: how long responses under way may take. Then handlers are cancelled and connections reset.
    public var grace = Duration.seconds(10)
    /// Is told what handlers threw, and what broke.
    public var logger = Logger(label: "http")
    /// Is given a line for each response, "GET /items/5 200 37 112us 127.0.0.1:50000 1f3c…": method, target, status, bytes of content, microseconds, peer,
    /// request. Many at a time, on a thread of its own, so that a slow disk delays no request. Default: none.
    public var accessLog: (@Sendable ([UInt8]) -> Void)?

    public init() {}
}
