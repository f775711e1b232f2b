internal import MartletBytes
internal import MartletEventLoop
internal import MartletNet
internal import MartletTLS
internal import MartletWebSocketProtocol
internal import MartletZMTPProtocol

/// What the connections of one endpoint go through between ZMTP and the kernel's stream: nothing, or WebSocket and perhaps TLS.
struct StreamCarriage: Sendable {
    /// Nil: nothing.
    private let webSocket: (way: Way, origins: WebSocketOrigins)?
    private let tls: TLSContext?
    /// Whom to ask for by TLS, and where.
    private let server: (name: String, port: UInt16)?

    private enum Way: Sendable {
        case client(host: String, target: String)
        case server(path: String?)
    }

    /// Of an endpoint to connect to. Throws `endpointInvalid` for TLS options that cannot be used.
    init(connecting endpoint: ZMQEndpoint, _ stream: ZMQEndpoint.Stream, _ options: ZMQSocketOptions) throws(ZMQError) {
        guard let webSocket = stream.webSocket, case .internet(let host, let port) = stream.place else {
            (self.webSocket, tls, server) = (nil, nil, nil)
            return
        }
        let name = host.contains(":") ? "[\(host)]" : host
        let place = port == (webSocket.isSecure ? 443 : 80) ? name : "\(name):\(port)"
        self.webSocket = (.client(host: place, target: webSocket.target ?? "/"), options.origins)
        server = (host, port)
        guard webSocket.isSecure else {
            tls = nil
            return
        }
        var client = options.tls
        if client.applicationProtocols.isEmpty { client.applicationProtocols = ["http/1.1"] }
        do throws(TLSError) { tls = try TLSContext(client: client) } catch { throw .endpointInvalid(endpoint.description, reason: "\(error)") }
    }

    /// Of an endpoint to bind. Throws `endpointInvalid` for `wss` without a certificate, or one that cannot be used.
    init(binding endpoint: ZMQEndpoint, _ stream: ZMQEndpoint.Stream, _ options: ZMQSocketOptions) throws(ZMQError) {
        server = nil
        webSocket = stream.webSocket.map { (.server(path: $0.target), options.origins) }
        guard stream.webSocket?.isSecure == true else {
            tls = nil
            return
        }
        guard var server = options.serverTLS else {
            throw .endpointInvalid(endpoint.description, reason: "wss needs a certificate: ZMQSocketOptions.serverTLS")
        }
        if server.applicationProtocols.isEmpty { server.applicationProtocols = ["http/1.1"] }
        do throws(TLSError) { tls = try TLSContext(server: server) } catch { throw .endpointInvalid(endpoint.description, reason: "\(error)") }
    }

    func machine(_ configuration: ZMTPConfiguration, now: Instant) -> ZMTPMachine {
        switch webSocket?.way {
        case nil: ZMTPMachine(configuration, now: now)
        case .client(let host, let target):
            ZMTPMachine(configuration, over: .client(host: host, target: target, secret: .random(in: 0 ... .max)), now: now)
        case .server(let path): ZMTPMachine(configuration, over: .server(path: path, origins: webSocket?.origins ?? .local), now: now)
        }
    }

    func transport(_ descriptor: Int32) -> Transport {
        Transport(descriptor: descriptor, layer: tls.map { $0.makeLayer(serverName: server?.name, port: server?.port ?? 0) })
    }

    /// What has left a connection's output can be told from its frames.
    var isBare: Bool { webSocket == nil }
}
