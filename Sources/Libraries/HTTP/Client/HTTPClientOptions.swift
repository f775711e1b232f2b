/// How a client is set up. The defaults suit a program that talks to services it knows and to the web.
public struct HTTPClientOptions: Sendable {
    /// Looking a name up and connecting. (curl 300 s, Go 30 s, httpx 5 s.)
    public var connectTimeout = Duration.seconds(10)
    /// TLS's handshake. (Go 10 s.)
    public var handshakeTimeout = Duration.seconds(10)
    /// From the request's last byte to the response's first. (httpx 5 s, Go none.)
    public var answerTimeout = Duration.seconds(60)
    /// Between two pieces of a response. (httpx 5 s, Go none.)
    public var silenceTimeout = Duration.seconds(60)
    /// For all of it, redirects and retries and the response's content too. Default: none.
    public var timeout: Duration?

    /// Connections to one origin at a time; who wants more waits. (Browsers 6, Go none, httpx 100 for all origins.)
    public var connectionsPerOrigin = 64
    /// How long a request may wait for one of them.
    public var waitTimeout = Duration.seconds(30)
    /// How long a connection that nobody uses is kept. Below what servers keep theirs for, since one that they close is a request sent twice.
    /// (nginx 75 s, uvicorn 5 s; Go's client 90 s, httpx 5 s.)
    public var idleTimeout = Duration.seconds(30)

    /// Where cookies are kept that servers set; default: nowhere, they are not looked at.
    public var cookies: HTTPCookieJar?
    /// Redirects that are followed; 0: none is, and the response is the caller's. (curl 50, Go 10, httpx 20, browsers 20.)
    public var redirectsMax = 10
    public var retries = HTTPRetries()
    /// Ask for gzip and decode it. Content that comes encoded otherwise is the caller's.
    public var decompresses = true
    /// How much larger than what came decoded content may become, above 1 MiB. Text becomes 3 to 20 times as large, deflate's most is 1,032.
    public var compressionRatioMax = 100
    /// What a response may be.
    public var limits = HTTPLimits.client
    /// For https.
    public var tls = TLSClientOptions()
    public var stream = StreamOptions()
    /// Sent with every request that has none of the same name.
    public var fields = HTTPFields()
    /// The field User-Agent; nil: none.
    public var userAgent: String? = "martlet"

    public init() {}
}

/// When a request is tried again: only one that may be repeated (GET, HEAD, OPTIONS, TRACE, PUT, DELETE; RFC 9110 section 9.2.2) and whose
/// content is not written by a closure.
public struct HTTPRetries: Sendable, Equatable {
    /// How often it is tried in all; 1: once. (urllib3 and Go have none, AWS's clients 3.)
    public var attemptsMax = 3
    /// The wait before the second attempt, doubled with each.
    public var delayMin = Duration.milliseconds(100)
    public var delayMax = Duration.seconds(10)
    /// 0...1: which part of each wait is left to chance.
    public var jitter = 0.5
    /// Responses that say "come again". Which field Retry-After says when.
    public var statuses: Set<UInt16> = [429, 502, 503, 504]
    /// A Retry-After further away is not waited for: the response is the caller's.
    public var retryAfterMax = Duration.seconds(30)

    public init() {}

    /// Nothing is tried again. (What a kept connection lost before any answer still is.)
    public static var never: HTTPRetries {
        var retries = HTTPRetries()
        retries.attemptsMax = 1
        return retries
    }
}
