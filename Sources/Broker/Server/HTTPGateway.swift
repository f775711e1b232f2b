import MartletCore
import MartletEventLoop
import MartletHTTP
import MartletNet
import MartletShard

/// HTTP on one shard: its connections are the library's, on the shard's loop.
final class HTTPGateway: Gateway {
    private let server: HTTPEmbeddedServer

    init(_ shard: Shard, id: GatewayID, server: HTTPEmbeddedServer) {
        self.server = server
        super.init(shard, id: id)
    }

    override var name: String { "http" }

    override func adopt(_ transport: Transport) {
        // Gone already.
        guard let peer = SocketAddress.peer(of: transport.descriptor) else { return shard.loop.discard(transport.descriptor) }
        server.take(transport, from: peer, on: shard.loop)
    }

    override func stop() { server.stop(on: shard.loop) }

    var connectionCount: Int { Int(server.counters(of: shard.loop).connections) }

    override var samples: [(name: String, value: UInt64)] {
        let counters = server.counters(of: shard.loop)
        return [
            ("connections", counters.connections), ("connectionsAccepted", counters.connectionsTaken), ("connectionsRefused", counters.connectionsRefused),
            ("handshakesFailed", counters.handshakesFailed), ("violations", counters.violations), ("contentReceived", counters.contentReceived),
            ("contentSent", counters.contentSent),
        ] + (1...5).map { ("responses\($0)xx", counters.responses(ofClass: $0)) }
    }
}
