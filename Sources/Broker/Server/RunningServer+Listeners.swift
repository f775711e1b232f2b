import MartletCore
import MartletEventLoop
import MartletNet
import MartletShard
import MartletTLS
import Synchronization

/// A listener whose socket is bound, and what its clients are shown.
struct BoundListener: Sendable {
    let url: ListenerURL
    let socket: BoundSocket
    /// With TLS.
    let security: TLSContext?

    /// Who takes its connections.
    var gateway: GatewayID {
        switch url.scheme {
        case .amqp, .amqps: .amqp
        case .http, .https: .http
        case .mqtt, .mqtts, .zmq: .mqtt
        }
    }
}

extension RunningServer {
    /// All of them, or none.
    static func bind(_ listeners: [ListenerURL]) throws(NetError) -> [BoundListener] {
        var bound: [BoundListener] = []
        do throws(NetError) {
            for url in listeners {
                let security = try security(of: url)
                // A name with several addresses and a free port gets the same port on each.
                var free: UInt16?
                for address in try addresses(of: url) {
                    let socket = try BoundSocket(free.map { address.with(port: $0) } ?? address)
                    if address.port == 0, socket.address.kind != .unix { free = socket.address.port }
                    bound.append(BoundListener(url: url, socket: socket, security: security))
                }
            }
        } catch {
            for listener in bound { listener.socket.close() }
            throw error
        }
        return bound
    }

    private static func security(of url: ListenerURL) throws(NetError) -> TLSContext? {
        do throws(TLSError) {
            return if let tls = url.tls { try TLSContext(server: tls) } else { nil }
        } catch { throw NetError(.tls, .listen, "\(url)", detail: "\(error)") }
    }

    /// `localhost` is both its addresses, as far as this machine has them.
    private static func addresses(of url: ListenerURL) throws(NetError) -> [SocketAddress] {
        switch url.endpoint {
        case .tcp(let host, let port): try SocketAddress.resolve(host, port: port)
        case .unix(let path): SocketAddress(unix: path).map { [$0] } ?? []
        }
    }

    /// Begins to accept.
    static func open(_ listeners: [BoundListener], _ loops: [EventLoop], _ turn: Turn) {
        for listener in listeners {
            let gateway = listener.gateway, security = listener.security
            loops[0].execute { loop in
                Listener(listener.socket) { descriptor, _ in
                    // AMQP's clients go where the virtual host `/` lives; they move on if they want another.
                    let place = gateway == .amqp ? loops[0] : turn.next()
                    place.execute { adopt(Transport(descriptor: descriptor, layer: security?.makeLayer()), by: gateway, on: $0) }
                }.open(on: loop)
            }
        }
    }

    private static func adopt(_ transport: Transport, by gateway: GatewayID, on loop: EventLoop) {
        guard let shard = loop.tenant as? Shard else { return loop.discard(transport.descriptor) }
        shard.gateway(gateway).adopt(transport)
    }
}

/// Whose turn it is, round and round. Used on the accepting loop alone.
final class Turn: Sendable {
    private let loops: [EventLoop]
    private let count = Atomic<Int>(0)
    init(_ loops: [EventLoop]) { self.loops = loops }
    func next() -> EventLoop { loops[count.wrappingAdd(1, ordering: .relaxed).oldValue % loops.count] }
}
