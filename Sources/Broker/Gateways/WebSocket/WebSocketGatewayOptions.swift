public import MartletCore
import MartletWebSocketProtocol

/// What the gateway for pages is told by the server.
public struct WebSocketGatewayOptions: Sendable {
    /// Whether these credentials may come in; nil credentials: none were given.
    public var authenticate: @Sendable (_ user: [UInt8]?, _ password: [UInt8]?) -> Bool = { _, _ in true }
    /// The longest message taken from a page, as JSON.
    public var messageSizeMax = 1 << 20
    /// How long a connection may take to say who it is, where that is asked.
    public var connectTimeout = Duration.seconds(10)
    /// How often a page is told that the server is there, and its browser asked; zero: never. A page cannot ping, and a connection that is gone looks to
    /// it like one where nothing happens.
    public var pingInterval = Duration.seconds(20)
    /// How long an answer to a request may take.
    public var requestTimeout = Duration.seconds(30)
    /// Requests of one page that wait for an answer. (A browser has a few hundred of anything under way at most.)
    public var requestsMax = 1000
    /// Topic filters of one page. (MQTT's sessions 100,000, which a server may be a client with.)
    public var subscriptionsMax = 10_000
    /// Bytes written for a page and not yet taken by its socket, above which messages are dropped for it.
    public var outputBytesMax = 1 << 20
    /// Topic filters that nobody may subscribe to: these words alone, not what they match.
    public var deniedFilters: Set<[UInt8]> = []
    /// The gateway in whose words a message says where an answer is wanted.
    public var mqtt = GatewayID(0)
    /// What reply topics are made of. A simulation gives its own.
    public var randomNumber: @Sendable () -> UInt64 = { .random(in: .min ... .max) }

    public init() {}

    var limits: WebSocketLimits {
        var limits = WebSocketLimits()
        limits.messageMax = messageSizeMax
        limits.pingInterval = pingInterval > .zero ? pingInterval : nil
        return limits
    }

    /// Nothing waits in it but replays, which wait by themselves.
    var queuePolicy: QueuePolicy {
        var policy = QueuePolicy()
        policy.passesAtMostOnce = true
        policy.overflow = .dropNewest
        return policy
    }
}
