import MartletAMQPGateway
import MartletBytes
import MartletCore
import MartletEventLoop
import MartletHTTP
public import MartletJournal
public import MartletLogging
import MartletMQTTGateway
public import MartletNet
import MartletShard
import MartletTLS
import MartletWebSocketGateway

/// A server that listens: for `martlet serve`, and for tests that want one in their own process.
public final class RunningServer: Sendable {
    /// Of this build.
    public static let version = "0.2.0"
    /// One line a listener: scheme and the address it really has.
    public let listening: [String]
    public let addresses: [SocketAddress]
    /// Those of HTTP's listeners.
    let httpAddresses: [SocketAddress]
    let loops: [EventLoop]
    let threads: [LoopThread]
    let phase: ServerPhase
    private let log: Logger
    /// What the listeners with TLS show their clients.
    private let securities: [(ListenerURL, TLSContext)]
    let journal: OpenJournal?

    /// Binds everything before a thread is started, so that a port in use is an error and not half a server.
    public init(_ configuration: ServerConfiguration, log: Logger) throws(ServerFailure) {
        self.log = log
        let bound: [BoundListener]
        do { bound = try Self.bind(configuration.listeners) } catch { throw .listeners(error) }
        let loops = Self.makeLoops(configuration), router = Router(), phase = ServerPhase()
        let http = Self.httpServer(on: loops, configuration, router, phase, log)
        let mqtt = MQTTGatewayOptions(configuration), amqp = AMQPGatewayOptions(configuration), webSocket = WebSocketGatewayOptions(configuration)
        let latency = configuration.journalLatency
        let turn = Turn(loops), shardLimits = CoreLimits(configuration), isJournaled = configuration.storage != .memory
        threads = loops.map { loop in
            loop.start { loop in
                let journal = latency.map { MemoryJournal(latency: $0, shard: UInt8(loop.number)) }
                let shard = Shard(on: loop, of: loops, router: router, journal: journal, isJournaled: isJournaled, log: log, limits: shardLimits)
                // In the order of `GatewayID.mqtt`, `.amqp`, `.http`, `.webSocket`.
                _ = shard.addGateway { MQTTGateway($0, id: $1, options: mqtt) }
                _ = shard.addGateway { AMQPGateway($0, id: $1, options: amqp) }
                _ = shard.addGateway { HTTPGateway($0, id: $1, server: http) }
                _ = shard.addGateway { WebSocketGateway($0, id: $1, options: webSocket) }
                return shard
            }
        }
        // Whoever asks is told that the server is starting, while the others wait in the kernel's queues.
        Self.open(bound.filter { $0.gateway == .http }, loops, turn)
        do {
            journal = try Self.openJournal(configuration.storage, loops, router, log)
        } catch {
            for listener in bound where listener.gateway != .http { listener.socket.close() }
            loops[0].execute { loop in for listener in loop.channels(of: Listener.self) { loop.close(listener, .stopping) } }
            for loop in loops { loop.stop(grace: .zero) }
            for thread in threads { thread.join() }
            throw .journal(error)
        }
        Self.open(bound.filter { $0.gateway != .http }, loops, turn)
        phase.beginServing(journal?.directory)
        (self.loops, self.phase) = (loops, phase)
        securities = bound.compactMap { listener in listener.security.map { (listener.url, $0) } }
        addresses = bound.map(\.socket.address)
        httpAddresses = bound.filter { $0.gateway == .http }.map(\.socket.address)
        listening = bound.map { "\($0.url.scheme.rawValue) \($0.socket.address)" }
    }

    private static func makeLoops(_ configuration: ServerConfiguration) -> [EventLoop] {
        var limits = EventLoopLimits()
        limits.outputHighWater = configuration.mqtt.outputBytesMax
        limits.outputLowWater = configuration.mqtt.outputBytesMax / 4
        return (0..<configuration.loops).map { EventLoop(number: $0, limits: limits) }
    }

    private static func httpServer(
        on loops: [EventLoop], _ configuration: ServerConfiguration, _ topology: Router, _ phase: ServerPhase, _ log: Logger
    ) -> HTTPEmbeddedServer {
        var options = HTTPServerOptions()
        options.logger = log.labelled("http")
        let start = ContinuousClock.now, started = Double(loops[0].wallTime().milliseconds) / 1000
        let endpoints = OperatorEndpoints(phase: phase, survey: Survey(loops: loops), authenticate: configuration.authenticate) { loops in
            ServerFigures(
                loops, version: version, uptime: ContinuousClock.now - start, started: started, router: topology, files: phase.directory?.counters)
        }
        var router = endpoints.router
        WebSocketEndpoints(origins: WebSocketOriginRule(configuration.webSocket.origins), authenticate: configuration.authenticate).add(to: &router)
        return HTTPEmbeddedServer(on: loops, options: options, router)
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
}

/// Why a server could not start, in one sentence.
public enum ServerFailure: Error, CustomStringConvertible {
    case listeners(NetError)
    case journal(JournalError)

    public var description: String {
        switch self {
        case .listeners(let error): "\(error)"
        case .journal(let error): "\(error)"
        }
    }

    /// This user may not do that: exit code 77 (EX_NOPERM), not 1.
    public var isForbidden: Bool {
        switch self {
        case .listeners(let error): error.kind == .permissionDenied
        case .journal(let error): error.kind == .forbidden
        }
    }
}

extension GatewayID {
    static let mqtt = GatewayID(0), amqp = GatewayID(1), http = GatewayID(2), webSocket = GatewayID(3)
}
