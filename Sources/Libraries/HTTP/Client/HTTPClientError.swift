/// Why a request came to nothing. `description` is one sentence: what was tried, what came back.
public struct HTTPClientError: Error, Sendable, CustomStringConvertible {
    /// The same on every path that leads there, so that a program can decide by it.
    public enum Kind: Sendable, Equatable {
        case urlInvalid
        /// A method, a field or content that cannot be sent. Nothing was.
        case requestInvalid
        /// No address of the server took the connection, its name has none, or TLS with it failed: see `network`.
        case unreachable
        /// The time for this phase is over.
        case timedOut(HTTPClientPhase)
        /// The connection ended or broke before the response was whole.
        case connectionLost
        /// What came is no HTTP.
        case violation(HTTPViolation)
        /// The closure that writes the request's content threw.
        case bodyFailed
        /// More content than the caller takes.
        case bodyTooLong
        /// Content that is not encoded as it says, or becomes too large decoded.
        case codingInvalid
        /// More redirects than `HTTPClientOptions.redirectsMax`, or one to nowhere.
        case redirectInvalid
        /// The client was closed.
        case closed
        /// The task was cancelled.
        case cancelled
    }
    public let kind: Kind
    public let description: String
    /// What the network said.
    public let network: NetError?
    /// Nothing of an answer had come when the connection was lost: the server may have closed it before it saw the request.
    let isUnanswered: Bool

    init(_ kind: Kind, _ description: String, network: NetError? = nil, isUnanswered: Bool = false) {
        self.kind = kind
        self.description = description
        self.network = network
        self.isUnanswered = isUnanswered
    }

    /// A failure to connect.
    init(_ error: NetError, connectingFor attempt: String) {
        let kind: Kind =
            switch (error.kind, error.phase) {
            case (.cancelled, _): .cancelled
            case (.timedOut, .handshake): .timedOut(.securing)
            case (.timedOut, _): .timedOut(.connecting)
            default: .unreachable
            }
        self.init(kind, "\(attempt): \(kind == .cancelled ? "cancelled" : "\(error)")", network: error)
    }
}

/// What a request goes through; each phase has a time of its own (`HTTPClientOptions`).
public enum HTTPClientPhase: String, Sendable, CaseIterable {
    /// Until one of the pool's connections is free.
    case waiting
    /// Looking the name up and connecting.
    case connecting
    /// TLS's handshake.
    case securing
    /// Until the response's first byte.
    case answering
    /// Between two pieces of the response.
    case receiving
    /// All of it.
    case whole
}
