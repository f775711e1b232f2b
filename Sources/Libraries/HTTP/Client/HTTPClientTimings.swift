/// How long each phase of a request took, of the last attempt and the last redirect. Zero: there was none, as connecting on a connection that was kept.
public struct HTTPClientTimings: Sendable, Equatable {
    /// For one of the pool's connections.
    public internal(set) var waiting = Duration.zero
    public internal(set) var resolving = Duration.zero
    public internal(set) var connecting = Duration.zero
    /// TLS's handshake.
    public internal(set) var securing = Duration.zero
    /// From the first byte of the request to the first of the response.
    public internal(set) var answering = Duration.zero
    /// From there to the last; zero until the response's content is whole.
    public internal(set) var receiving = Duration.zero
    /// From the call to the response's head, or to its last byte, when that is there: with redirects, retries and waits.
    public internal(set) var whole = Duration.zero
    /// The connection had been used before.
    public internal(set) var isReused = false
    /// How often the request was sent: 1, or with retries more.
    public internal(set) var attempts = 1
    public internal(set) var redirects = 0
    /// Where the request went.
    public internal(set) var peer: SocketAddress?
    /// What TLS agreed on.
    public internal(set) var tls: TLSSession?
}
