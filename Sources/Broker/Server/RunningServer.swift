import MartletBytes
import MartletCore
import MartletEventLoop
import MartletJournal
public import MartletLogging
import MartletMQTTGateway
import MartletMQTTProtocol
public import MartletNet
import MartletShard
import MartletTLS
import Synchronization

/// A server that listens: for `martlet serve`, and for tests that want one in their own process.
public final class RunningServer: Sendable {
    /// Of this build.
    public static let version = "0.2.0"
    /// One line a listener: scheme and the address it really has.
    public let listening: [String]
    public let addresses: [SocketAddress]
    private let loops: [EventLoop]
    private let threads: [LoopThread]
    private let log: Logger
    /// What the listeners with TLS show their clients.
    private let securities: [(ListenerURL, TLSContext)]

    /// Binds everything before a thread is started, so that a port in use is an error and not half a server.
    public init(_ configuration: ServerConfiguration, log: Logger) throws(NetError) {
        self.log = log
        var bound: [(ListenerURL, BoundSocket, TLSContext?)] = []
        for url in configuration.listeners {
            let security = try Self.security(of: url)
            // A name with several addresses and a free port gets the same port on each.
            var free: UInt16?
            for address in try Self.addresses(of: url) {
                let socket = try BoundSocket(free.map { address.with(port: $0) } ?? address)
                if address.port == 0, socket.address.kind != .unix { free = socket.address.port }
                bound.append((url, socket, security))
            }
        }
        var limits = EventLoopLimits()
        limits.outputHighWater = configuration.mqtt.outputBytesMax
        limits.outputLowWater = configuration.mqtt.outputBytesMax / 4
        let loops = (0..<configuration.loops).map { EventLoop(number: $0, limits: limits) }
        let router = Router(), options = MQTTGatewayOptions(configuration), latency = configuration.journalLatency
        let turn = Turn(loops)
        threads = loops.map { loop in
            loop.start { loop in
                let journal = latency.map { MemoryJournal(latency: $0) }
                let shard = Shard(on: loop, of: loops, router: router, journal: journal, log: log)
                _ = shard.addGateway { MQTTGateway($0, id: $1, options: options) }
                return shard
            }
        }
        for (_, socket, security) in bound {
            loops[0].execute { loop in
                Listener(socket) { descriptor, _ in
                    turn.next().execute { Self.adopt(Transport(descriptor: descriptor, layer: security?.makeLayer()), on: $0) }
                }.open(on: loop)
            }
        }
        securities = bound.compactMap { url, _, security in security.map { (url, $0) } }
        self.loops = loops
        addresses = bound.map { $0.1.address }
        listening = bound.map { "\($0.0.scheme.rawValue) \($0.1.address)" }
    }

    private static func security(of url: ListenerURL) throws(NetError) -> TLSContext? {
        do throws(TLSError) {
            return if let tls = url.tls { try TLSContext(server: tls) } else { nil }
        } catch { throw NetError(.tls, .listen, "\(url)", detail: "\(error)") }
    }

    /// Reads the listeners' certificates, keys and authorities again, for connections to come: those that are there keep what they have.
    /// A listener whose files cannot be used goes on with its old ones. From any thread.
    public func reloadCertificates() {
        if securities.isEmpty { log.info("nothing to reload: no listener has a certificate") }
        for (url, security) in securities {
            do throws(TLSError) {
                try security.reload()
                log.info("certificate reloaded", metadata: ["listener": "\(url)"])
            } catch {
                log.error("certificate not reloaded, the old one stays", metadata: ["listener": "\(url)", "reason": "\(error)"])
            }
        }
    }

    /// `localhost` is both its addresses, as far as this machine has them.
    private static func addresses(of url: ListenerURL) throws(NetError) -> [SocketAddress] {
        switch url.endpoint {
        case .tcp(let host, let port): try SocketAddress.resolve(host, port: port)
        case .unix(let path): SocketAddress(unix: path).map { [$0] } ?? []
        }
    }

    private static func adopt(_ transport: Transport, on loop: EventLoop) {
        guard let shard = loop.tenant as? Shard else { return loop.discard(transport.descriptor) }
        shard.gateway(GatewayID(0)).adopt(transport)
    }

    /// Stops accepting, says goodbye to every client, waits for their output to leave, and ends the loops; after `grace` at the latest.
    public func stop(grace: Duration) {
        for (index, loop) in loops.enumerated() {
            loop.execute { loop in
                if index == 0 { for listener in loop.channels(of: Listener.self) { loop.close(listener, .stopping) } }
                guard let shard = loop.tenant as? Shard else { return }
                shard.logCounters()
                for gateway in shard.allGateways { gateway.stop() }
            }
        }
        for loop in loops { loop.stop(grace: grace) }
        for thread in threads { thread.join() }
    }
}

/// Whose turn it is, round and round. Used on the accepting loop alone.
private final class Turn: Sendable {
    private let loops: [EventLoop]
    private let count = Atomic<Int>(0)
    init(_ loops: [EventLoop]) { self.loops = loops }
    func next() -> EventLoop { loops[count.wrappingAdd(1, ordering: .relaxed).oldValue % loops.count] }
}

extension MQTTGatewayOptions {
    init(_ configuration: ServerConfiguration) {
        self.init()
        let settings = configuration.mqtt
        limits.packetSizeMax = settings.packetSizeMax
        limits.connectTimeout = settings.connectTimeout
        limits.receiveMaximum = UInt16(settings.receiveMaximum)
        receiveMaximum = UInt16(settings.receiveMaximum)
        queueMessagesMax = UInt32(clamping: settings.queueMessagesMax)
        queueBytesMax = UInt64(settings.queueBytesMax)
        outputBytesMax = settings.outputBytesMax
        sessionExpiryMax = settings.sessionExpiryMax
        limits.topicAliasMax = UInt16(settings.topicAliasMax)
        limits.keepAliveMax = settings.serverKeepAlive == .zero ? nil : UInt16(max(1, settings.serverKeepAlive.components.seconds))
        limits.isStrict = settings.isStrict
        topicAliasMax = UInt16(settings.topicAliasMax)
        deniedFilters = Set(settings.denySubscribe.map { Array($0.utf8) })
        systemTopicsInterval = settings.systemTopicsInterval
        serverVersion = RunningServer.version
        guard !configuration.users.isEmpty else { return }
        let users = configuration.users.map { (Array($0.name.utf8), Array($0.password.utf8)) }, acceptsAnonymous = configuration.acceptsAnonymous
        authenticate = { name, password in
            guard let name else { return acceptsAnonymous }
            // Every user is compared whole, so that the time says nothing of who exists.
            var isKnown = false
            for (known, secret) in users {
                let isName = isEqual(known, name), isSecret = isEqual(secret, password ?? [])
                isKnown = isKnown || isName && isSecret
            }
            return isKnown
        }
    }
}

private func isEqual(_ a: [UInt8], _ b: [UInt8]) -> Bool {
    var difference = a.count ^ b.count
    for index in a.indices { difference |= Int(a[index] ^ (index < b.count ? b[index] : 0)) }
    return difference == 0
}
