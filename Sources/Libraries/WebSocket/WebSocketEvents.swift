internal import MartletBytes
internal import MartletEventLoop
public import MartletHTTP
public import MartletWebSocketProtocol

/// A server without tasks: callbacks on the connections' loops. What they share between loops they guard themselves; they must not block.
public struct WebSocketEvents: Sendable {
    /// A connection has begun, by this request.
    public var opened: @Sendable (_ peer: WebSocketPeer, _ request: HTTPRequest) -> Void
    /// A whole message; its bytes are valid during the call, and UTF-8 if it is text.
    public var received: @Sendable (_ peer: WebSocketPeer, _ kind: WebSocketMessageKind, _ content: Span<UInt8>) -> Void
    /// A connection has ended; called once for each that has begun.
    public var closed: @Sendable (_ peer: WebSocketPeer, _ close: WebSocketClose) -> Void

    public init(
        opened: @escaping @Sendable (WebSocketPeer, HTTPRequest) -> Void = { _, _ in },
        closed: @escaping @Sendable (WebSocketPeer, WebSocketClose) -> Void = { _, _ in },
        received: @escaping @Sendable (WebSocketPeer, WebSocketMessageKind, Span<UInt8>) -> Void
    ) {
        self.opened = opened
        self.received = received
        self.closed = closed
    }
}

/// A connection as callbacks see it: on its loop alone, which they are on. It may be kept between callbacks, up to `closed`.
///
/// While more than 256 KiB wait for it, nothing is read from it, so who sends without taking answers is held up; above `WebSocketOptions.outputMax` it
/// is cut off.
public struct WebSocketPeer {
    let channel: WebSocketChannel
    let loop: EventLoop

    /// Unlike that of every other connection of the process.
    public var id: UInt64 { channel.number }
    /// The other end.
    public var address: SocketAddress { channel.peer }
    public var subprotocol: String? { channel.subprotocol }
    /// Of the last of the connection's own pings; nil before the first.
    public var latency: Duration? { channel.machine.value.latency }

    /// Sends a message; answers whether less than 256 KiB wait for the peer now. False too once the connection is closed. Text must be UTF-8.
    @discardableResult
    public func send(_ kind: WebSocketMessageKind, _ content: Span<UInt8>) -> Bool {
        do throws(WebSocketMisuse) { return try channel.send(kind, content, on: loop) } catch { return false }
    }

    /// Sends text.
    @discardableResult
    public func send(_ text: String) -> Bool { send(.text, text.utf8.span) }

    /// Sends Close, after which nothing is received any more. A reason has at most 123 bytes. Does nothing once the connection is closed.
    public func close(_ code: WebSocketCloseCode = .normal, reason: String = "") { channel.close(code, reason, on: loop) }
}
