internal import MartletBytes
internal import MartletEventLoop
internal import MartletHTTP
internal import MartletLogging
internal import MartletWebSocketProtocol
internal import Synchronization

extension WebSocketConnection {
    /// Connects, runs `body`, and ends the connection with it: with Close 1000, and 1001 if `body` throws.
    ///
    /// `url` is "ws://HOST[:PORT]/PATH", "wss://…" for TLS, "ws+unix:///PATH/OF/SOCKET:/TARGET". Throws what `body` throws, and of `WebSocketError`
    /// `urlInvalid`, `requestInvalid`, `unreachable`, `refused`, `handshakeInvalid`, `cancelled`.
    public static func withConnection<Result>(
        to url: String, options: WebSocketClientOptions = WebSocketClientOptions(), _ body: (WebSocketConnection) async throws -> Result
    ) async throws -> Result {
        let core = try await WebSocketDial(url, options).connect(owner: .current)
        return try await withTaskCancellationHandler {
            let result: Result
            do { result = try await body(WebSocketConnection(core: core)) } catch {
                core.beginClosing(.goingAway, "")
                throw error
            }
            try await core.close(.normal, "")
            return result
        } onCancel: {
            core.cancelOwner()
        }
    }
}

/// What a client connects to, and how.
struct WebSocketDial: Sendable {
    let url: String
    let options: WebSocketClientOptions
    private let request: HTTPClientRequest

    init(_ url: String, _ options: WebSocketClientOptions) throws(WebSocketError) {
        self.url = url
        self.options = options
        guard let place = WebSocketURL.http(url) else {
            throw .urlInvalid("cannot use the URL \"\(url)\": expected ws://HOST[:PORT]/PATH, wss://… or ws+unix:///PATH")
        }
        // A fragment has no meaning here (RFC 6455 section 3).
        guard !url.contains("#") else { throw .urlInvalid("cannot use the URL \"\(url)\": a WebSocket's has no fragment (RFC 6455, 3)") }
        do throws(HTTPClientError) { request = try HTTPClientRequest("GET", place) } catch { throw .urlInvalid("\(error)") }
    }

    /// A connection whose reads end with `owner`'s cancellation, if that is given, without a handler for each.
    func connect(owner: TaskMark?) async throws(WebSocketError) -> WebSocketCore {
        var generator = SystemRandomNumberGenerator()
        let handshake = WebSocketClientHandshake(
            nonce: (generator.next(), generator.next()), subprotocols: options.webSocket.subprotocols, deflate: options.webSocket.deflate)
        var request = request
        request.fields = options.fields
        do throws(HTTPFieldRefusal) {
            for field in handshake.fields { try request.fields.set(field.name, to: field.value) }
        } catch { throw .requestInvalid("\(error)") }
        let client = HTTPClient(options: options.http)
        defer { client.close() }
        let response: HTTPClientResponse
        do throws(HTTPClientError) { response = try await client.send(request) } catch {
            throw error.kind == .cancelled ? .cancelled : .unreachable(error)
        }
        guard let tunnel = response.tunnel, response.status == 101 else { throw await refusal(response) }
        let agreement: WebSocketAgreement
        do throws(WebSocketError) { agreement = try agree(response, handshake) } catch {
            tunnel.abort()
            throw error
        }
        return try await take(tunnel, response, agreement, owner)
    }

    private func agree(_ response: HTTPClientResponse, _ handshake: WebSocketClientHandshake) throws(WebSocketError) -> WebSocketAgreement {
        let fields = response.fields
        guard fields["upgrade"]?.lowercased() == "websocket" else {
            throw .handshakeInvalid(url: url, "Upgrade is not websocket (RFC 6455, 4.1)")
        }
        do throws(WebSocketHandshakeFailure) {
            return try handshake.agree(
                accept: fields["sec-websocket-accept"], subprotocol: fields["sec-websocket-protocol"], extensions: fields["sec-websocket-extensions"])
        } catch { throw .handshakeInvalid(url: url, error.rawValue) }
    }

    private func refusal(_ response: HTTPClientResponse) async -> WebSocketError {
        if response.status == 101 { return .handshakeInvalid(url: url, "a 101 that changes nothing") }
        var detail = ""
        do throws(HTTPClientError) { detail = try await response.text(max: 1 << 16) } catch {}
        detail = String(detail.prefix { $0 != "\n" && $0 != "\r\n" }.prefix(200))
        return .refused(url: url, response.status, detail: detail)
    }

    /// Gives the tunnel's connection to a channel of its own, on the same loop.
    private func take(
        _ tunnel: HTTPTunnel, _ response: HTTPClientResponse, _ agreement: WebSocketAgreement, _ owner: TaskMark?
    ) async throws(WebSocketError) -> WebSocketCore {
        let opening = WebSocketOpening(agreement: agreement, peer: tunnel.peer, target: request.url.target, fields: response.fields, seat: nil)
        let taken = Once<WebSocketCore?>(), options = options
        tunnel.handOver { transport, loop in
            let home = WebSocketHome(options.webSocket, events: nil, logger: Logger(label: "websocket"), on: loop)
            taken.resume(returning: WebSocketCore(transport, opening, isClient: true, owner: owner, home: home))
        } ended: {
            taken.resume(returning: nil)
        }
        guard let core = await taken.wait() else {
            throw .closed(WebSocketClose(.abnormal, "the connection ended behind the handshake", by: .nobody, isClean: false))
        }
        return core
    }
}
