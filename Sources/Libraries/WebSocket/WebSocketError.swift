/// Why a call failed. `description` is one sentence: what was tried, what came back.
public enum WebSocketError: Error, Sendable, CustomStringConvertible {
    /// A URL that is none of ws://, wss:// or ws+unix://, with the reason.
    case urlInvalid(String)
    /// A subprotocol, a field or an option that no request may have; nothing was sent.
    case requestInvalid(String)
    /// No address took the connection, TLS failed, or no answer to the handshake came: see the error.
    case unreachable(HTTPClientError)
    /// The server answered the handshake with another status than 101, and said so in `detail`.
    case refused(url: String, HTTPStatus, detail: String)
    /// The server's 101 is none that RFC 6455 section 4.1 takes: why.
    case handshakeInvalid(url: String, String)
    /// The connection is closed.
    case closed(WebSocketClose)
    /// The caller asked for what cannot be sent.
    case misuse(WebSocketMisuse)
    /// Two tasks read the messages of one connection at once.
    case busy
    /// The task was cancelled. What had arrived is kept for the next read.
    case cancelled

    public var description: String {
        switch self {
        case .urlInvalid(let text), .requestInvalid(let text): text
        case .unreachable(let error): "\(error)"
        case .refused(let url, let status, let detail):
            "\(url) answered \(status.rawValue) instead of opening a WebSocket\(detail.isEmpty ? "" : ": \(detail)")"
        case .handshakeInvalid(let url, let reason): "\(url) answered the WebSocket handshake wrongly: \(reason)"
        case .closed(let close): "\(close)"
        case .misuse(let misuse): "cannot be sent: \(misuse)"
        case .busy: "another task reads the messages of this connection"
        case .cancelled: "cancelled"
        }
    }

    /// The connection is closed: how.
    public var close: WebSocketClose? { if case .closed(let close) = self { close } else { nil } }
}
