public import MartletClient
package import MartletEventLoop
internal import MartletNet
package import MartletTLS
internal import MartletWebSocketLayer

typealias MQTTMonitor<State: Sendable> = Monitor<State, MQTTClientError>
typealias MQTTReply<Value: Sendable> = Reply<Value, MQTTClientError>
typealias MQTTClientTenant = ClientTenant<MQTTClientSession>
typealias MQTTDial = Dial<MQTTClientError>

extension MQTTClientError: ClientFailure {}

/// Where a server listens.
package enum MQTTPlace {
    static func host(_ host: String, _ port: UInt16) -> MQTTDial { dialing(host: host, port: port) { .unreachable($0) } }

    /// What makes the layers of a connection there, `nil` if it needs none: TLS, and WebSocket above it.
    package static func layers(
        _ host: String, _ port: UInt16, tls: TLSClientOptions?, webSocketPath path: String?
    ) throws(TLSError) -> (@Sendable () -> StreamLayer)? {
        var tls = tls
        // What the connection begins with.
        if path != nil, tls?.applicationProtocols.isEmpty == true { tls?.applicationProtocols = ["http/1.1"] }
        let context: TLSContext? = if let tls { try TLSContext(client: tls) } else { nil }
        guard let path else {
            guard let context else { return nil }
            return { context.makeLayer(serverName: host, port: port) }
        }
        let name = host.contains(":") ? "[\(host)]" : host, place = port == (tls == nil ? 80 : 443) ? name : "\(name):\(port)"
        return {
            let layer = WebSocketClientLayer(host: place, target: path, subprotocol: "mqtt")
            guard let context else { return layer }
            return StackedLayer(layer, above: context.makeLayer(serverName: host, port: port))
        }
    }
}

/// The library's own thread, started at first use and never stopped.
enum MQTTClientThreads {
    /// One loop for all connections of the process: a client's I/O is little beside its user's work.
    static let loop = EventLoop.forClients { MQTTClientTenant() }
}
