import MartletEventLoop
import MartletHTTP
import MartletNet
import MartletShard
import MartletWebSocketGateway
import MartletWebSocketLayer
import MartletWebSocketProtocol

/// Where HTTP listeners go on in WebSocket: `/mqtt`, a stream of MQTT's bytes, and `/ws`, JSON for pages.
///
/// Whose pages may connect is decided here; who a client is, by the gateway that gets its connection, unless a page's browser has said so.
struct WebSocketEndpoints: Sendable {
    let origins: WebSocketOriginRule
    let authenticate: @Sendable (_ name: [UInt8]?, _ password: [UInt8]?) -> Bool

    func add(to router: inout HTTPRouter) {
        // [MQTT-6.0.0-3], and the name that MQTT 3.1's clients have for it.
        var mqtt = WebSocketServerHandshake(subprotocols: ["mqtt", "mqttv3.1"])
        mqtt.needsSubprotocol = true
        let handshake = mqtt
        router.get("/mqtt") { request in
            try upgrade(request, handshake) { transport, shard in shard.gateway(.mqtt).adopt(transport.stacking(WebSocketLayer())) }
        }
        router.get("/ws") { request in
            let credentials = request.basicCredentials
            // Nobody asks a page's user for a name and a password in a handshake: without any, `connect` says them.
            let isIn = authenticate(credentials?.user, credentials?.password)
            guard isIn || credentials == nil else { throw HTTPFailure(.unauthorized, "wrong user or password") }
            return try upgrade(request, WebSocketServerHandshake()) { transport, shard in
                (shard.gateway(.webSocket) as? WebSocketGateway)?.adopt(transport, isIn: isIn)
            }
        }
    }

    private func upgrade(
        _ request: HTTPRequest, _ handshake: WebSocketServerHandshake, _ take: @escaping @Sendable (Transport, Shard) -> Void
    ) throws -> HTTPResponse {
        guard request.method == .get, request.upgrades.contains(where: { $0.lowercased() == "websocket" }) else {
            throw try HTTPFailure.upgradeRequired("websocket")
        }
        guard origins.allows(request) else {
            throw HTTPFailure.forbidden("pages of \(request.fields["origin"] ?? "") may not connect here: the setting websocket.origins says who may")
        }
        var fields = HTTPFields()
        do throws(WebSocketRefusal) {
            for (name, value) in try handshake.answer(WebSocketRequest(request)).fields { try? fields.set(name, to: value) }
        } catch {
            var failure = HTTPFailure(HTTPStatus(rawValue: error.status), error.rawValue)
            for (name, value) in error.fields { try? failure.fields.set(name, to: value) }
            throw failure
        }
        return .upgrade(to: "websocket", fields: fields) { tunnel in
            tunnel.handOver { transport, loop in
                guard let shard = loop.tenant as? Shard else { return loop.discard(transport.descriptor) }
                take(transport, shard)
            }
        }
    }
}

extension WebSocketRequest {
    fileprivate init(_ request: HTTPRequest) {
        let fields = request.fields
        self.init(
            version: fields["sec-websocket-version"], key: fields["sec-websocket-key"], subprotocols: fields["sec-websocket-protocol"],
            extensions: fields["sec-websocket-extensions"])
    }
}

/// Whose pages may connect. A browser says whose page it is; any other program may say what it likes, and has what it could have anyway.
///
/// Pages of this machine may, and those that are set. Others may if they came from the server that they connect to; but not over the loopback
/// interface, where a hostile site's name can be made to lead (DNS rebinding).
struct WebSocketOriginRule: Sendable {
    /// In small letters; `*`: all.
    let allowed: Set<String>

    init(_ allowed: [String]) { self.allowed = Set(allowed.map { $0.lowercased() }) }

    func allows(_ request: HTTPRequest) -> Bool { allows(request.fields["origin"], host: request.host, isLocal: request.peer.isLoopback) }

    func allows(_ origin: String?, host: String, isLocal: Bool) -> Bool {
        guard let origin = origin?.lowercased() else { return true }
        if allowed.contains("*") || allowed.contains(origin) { return true }
        guard let scheme = origin.firstRange(of: "://"), origin.hasPrefix("http"), scheme.upperBound < origin.endIndex else { return false }
        let place = origin[scheme.upperBound...]
        if Self.isLocal(place) { return true }
        let port = origin.hasPrefix("https://") ? ":443" : ":80"
        return !isLocal && (place == host.lowercased() || place + port == host.lowercased() || place == host.lowercased() + port)
    }

    private static func isLocal(_ place: Substring) -> Bool {
        if place.hasPrefix("[") { return place == "[::1]" || place.hasPrefix("[::1]:") }
        let name = String(place.prefix { $0 != ":" })
        return name == "localhost" || name.hasSuffix(".localhost") || SocketAddress(name, port: 0)?.isLoopback == true
    }
}
