package import MartletEventLoop
public import MartletSockets

/// A connection that has left HTTP behind: bytes both ways, in the protocol that a server and its client agreed on (RFC 9110 section 7.8), or through
/// CONNECT (section 9.3.6). On a server it belongs to the closure that it was given to; on a client, dropping it ends the connection.
///
/// Any task may use it; one at a time reads. What stood right behind the request or the response is what is read first.
public struct HTTPTunnel: Sendable {
    public typealias Body = @Sendable (HTTPTunnel) async throws -> Void
    private let connection: StreamConnection
    /// A client's: holds the connection.
    private let holder: HTTPClientConnection?

    init(_ connection: StreamConnection, holder: HTTPClientConnection? = nil) {
        self.connection = connection
        self.holder = holder
    }

    /// What arrives, in pieces as it comes; ends with the peer's stream. Not iterating is back-pressure: the peer is not read from
    /// while `StreamOptions.receiveLimit` bytes wait.
    public var inbound: some AsyncSequence<[UInt8], NetError> & Sendable { connection.inbound }

    /// What has arrived, at least one byte; waits for it. Nil after the peer has ended its stream. Throws as `StreamConnection.read`.
    public func read(timeout: Duration? = nil) async throws(NetError) -> [UInt8]? { try await connection.read(timeout: timeout) }

    /// Writes in the order of the calls; suspends while more than 256 KiB wait to leave. Throws as `StreamConnection.write`.
    public func write(_ bytes: [UInt8], timeout: Duration? = nil) async throws(NetError) { try await connection.write(bytes, timeout: timeout) }

    /// The text in UTF-8.
    public func write(_ text: String, timeout: Duration? = nil) async throws(NetError) { try await connection.write(text, timeout: timeout) }

    /// Ends this direction after everything that was written; the peer's may go on.
    public func finishWriting() async throws(NetError) { try await connection.finishWriting() }

    /// Sends what was written and the end, and returns when the peer's machine has confirmed both. Throws as `StreamConnection.close`.
    public func close(timeout: Duration? = nil) async throws(NetError) { try await connection.close(timeout: timeout) }

    /// Throws away what has not left, and resets the connection.
    public func abort() { connection.abort() }

    /// The other end.
    public var peer: SocketAddress { connection.peer }

    /// What TLS agreed on; nil without TLS.
    public var tls: TLSSession? { connection.tls }

    /// Gives the connection to a channel of another protocol, with the bytes that are there and those that have not left. `taker` is called on the
    /// connection's loop, and adds the transport to that loop or another (`EventLoop.add`); the tunnel is closed then, and a server no longer waits for
    /// the connection at its end. If the connection has ended, `ended` is called there instead.
    package func handOver(to taker: @escaping @Sendable (Transport, EventLoop) -> Void, ended: @escaping @Sendable () -> Void = {}) {
        connection.handOver(to: taker, ended: ended)
    }
}

extension HTTPResponse {
    /// Goes on in another protocol, "websocket" say: 101, and `body` has the connection until it returns. A request that does not offer it, or is HTTP/1.0,
    /// is answered 426; 400 if content of it is still unread, 503 once the server is ending. What `body` throws ends the connection.
    ///
    /// It counts as a request under way, and is cancelled as one at the end of a server's grace: before, `HTTPRequest.stopping()` tells.
    public static func upgrade(to name: String, fields: HTTPFields = HTTPFields(), _ body: @escaping HTTPTunnel.Body) -> HTTPResponse {
        tunnel(101, name, fields, body)
    }

    /// Accepts a CONNECT, which handlers see with `HTTPServerOptions.takesCONNECT`: 200, and `body` has the connection until it returns.
    /// Other requests are answered 400.
    public static func tunnel(fields: HTTPFields = HTTPFields(), _ body: @escaping HTTPTunnel.Body) -> HTTPResponse { tunnel(200, nil, fields, body) }

    private static func tunnel(_ status: HTTPStatus, _ name: String?, _ fields: HTTPFields, _ body: @escaping HTTPTunnel.Body) -> HTTPResponse {
        var response = HTTPResponse(status, body: Body(content: .tunnel(name, body)))
        response.fields = fields
        return response
    }
}

extension HTTPRequest {
    /// The protocols that the client would go on with, as it wrote them: "websocket", "h2c". Empty where the connection cannot switch.
    public var upgrades: [String] {
        guard head.wantsUpgrade, let field = fields["upgrade"] else { return [] }
        return field.split(separator: ",").map { String($0.drop { $0 == " " || $0 == "\t" }.prefix { $0 != " " && $0 != "\t" }) }.filter { !$0.isEmpty }
    }

    func offers(_ name: String) -> Bool { method != .connect && upgrades.contains { $0.lowercased() == name.lowercased() } }
}

extension HTTPFailure {
    /// 426: this is answered in another protocol alone.
    public static func upgradeRequired(_ name: String) throws(HTTPFieldRefusal) -> HTTPFailure {
        var failure = HTTPFailure(.upgradeRequired, "this is spoken in \(name): ask with Connection: Upgrade and Upgrade: \(name)")
        try failure.fields.set("Upgrade", to: name)
        return failure
    }
}
