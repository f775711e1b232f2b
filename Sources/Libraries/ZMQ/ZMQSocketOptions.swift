public import MartletTLS
public import MartletWebSocketProtocol
public import MartletZMTPProtocol

/// How a socket behaves. Every number has a safe default; libzmq's stands beside it where it differs.
public struct ZMQSocketOptions: Sendable {
    /// Messages for one peer that have not left, above which the pattern blocks or drops (ZMQ_SNDHWM 1000).
    public var sendHighWaterMark = 1_000
    /// Messages of one peer that nobody has taken, above which nothing more is read from it (ZMQ_RCVHWM 1000). As many more may lie in what a task
    /// has begun to read.
    public var receiveHighWaterMark = 1_000
    /// The same in bytes. 16 MiB. (libzmq none: a thousand messages of any size.)
    public var receiveBytesMax = 16 << 20
    /// What a task may hand to the loop at once, in bytes, before it waits for it. 256 KiB: two kernel buffers' worth.
    public var handoverBytesMax = 256 << 10
    /// How long closing waits for what was sent to leave. 5 s. (ZMQ_LINGER: for ever, which hangs programs at their end.)
    public var linger = Duration.seconds(5)
    /// Whether messages wait only for peers that are connected. `false`: also for one that a `connect` has not reached yet (ZMQ_IMMEDIATE 0).
    public var isImmediate = false
    /// What a ROUTER may call us: at most 255 bytes, the first not zero; empty: it finds a name (ZMQ_ROUTING_ID).
    public var routingID: [UInt8] = []
    /// Only the last message is kept, on both sides; for messages of one frame (ZMQ_CONFLATE).
    public var isConflating = false
    /// When and how often a connection is tried again.
    public var reconnect = ZMQReconnect()
    /// How dead peers are noticed. Every 15 s. (libzmq: off.)
    public var heartbeat = ZMTPHeartbeat()
    /// What one peer may ask: message and subscription sizes, the time of the handshake.
    public var limits = ZMTPLimits()
    /// How peers prove who they are.
    public var security = ZMTPSecurity.null
    /// Decides who may talk, given the peer's credentials and address: in place of ZAP (RFC 27). `nil`: whoever the mechanism lets through;
    /// a PLAIN or CURVE server without one refuses everybody. Called on the socket's loop: it must not block.
    public var authenticator: ZMQAuthenticator?
    /// `wss://` to connect to: whom to believe. As a browser.
    public var tls = TLSClientOptions()
    /// `wss://` to bind: the certificate to show; without one such an endpoint cannot be bound.
    public var serverTLS: TLSServerOptions?
    /// `ws://` and `wss://` to bind: whose pages may connect. Programs name no origin and always may; a browser's pages only if they are of the same
    /// host, or both are this machine's. (libzmq: everybody's.)
    public var origins = WebSocketOrigins.local
    /// Peers that one socket has at a time; more are turned away. 10,000. (libzmq none but the descriptors.)
    public var peersMax = 10_000
    /// Prefixes that one peer may subscribe to; more end its connection. 100,000. (libzmq none.)
    public var subscriptionsMax = 100_000
    /// Bytes of all prefixes that one peer subscribes to; more end its connection. 4 MiB: each takes some 50 times as much memory. (libzmq none.)
    public var subscriptionBytesMax = 4 << 20

    /// ROUTER: a message for a peer that is not there throws `noPeer` instead of being dropped (ZMQ_ROUTER_MANDATORY).
    public var isRouterMandatory = false
    /// ROUTER: a peer with a routing id that is in use takes it over, instead of being turned away (ZMQ_ROUTER_HANDOVER).
    public var handsRoutingIDOver = false
    /// ROUTER, STREAM: an empty message from a peer says that it has come, and another that it has gone. `nil`: STREAM has them, ROUTER has not
    /// (ZMQ_STREAM_NOTIFY, ZMQ_ROUTER_NOTIFY).
    public var tellsOfPeers: Bool?
    /// An empty message goes to each peer as it comes, so that a ROUTER learns of it (ZMQ_PROBE_ROUTER).
    public var probesRouter = false
    /// REQ: a number before each request, which the reply must repeat (ZMQ_REQ_CORRELATE).
    public var correlatesRequests = false
    /// REQ: a request ends one that is under way, whose caller gets `superseded`, instead of throwing `requestUnderWay` (ZMQ_REQ_RELAXED).
    public var supersedesRequests = false
    /// XPUB: which subscriptions are messages (ZMQ_XPUB_VERBOSE, ZMQ_XPUB_VERBOSER).
    public var verbosity = ZMQVerbosity.changes
    /// XPUB: subscriptions have no effect until the owner accepts them: `ZMQSocket.subscriptions` (ZMQ_XPUB_MANUAL, ZMQ_XPUB_MANUAL_LAST_VALUE).
    public var decidesSubscriptions = false
    /// PUB, XPUB: what a peer is sent first of all; it has to want it (ZMQ_XPUB_WELCOME_MSG).
    public var welcome: ZMQMessage?
    /// PUB, XPUB: wait for peers above the high-water mark instead of dropping (ZMQ_XPUB_NODROP).
    public var waitsForSubscribers = false
    /// PUB, XPUB and SUB: what matches no subscription (ZMQ_INVERT_MATCHING); on both sides, or nothing comes through.
    public var invertsMatching = false

    public init() {}
}

/// Which subscriptions an XPUB's owner reads as messages.
public enum ZMQVerbosity: Sendable, Equatable {
    /// A topic's first subscription by anybody, and its last end.
    case changes
    /// Every subscription, and a topic's last end (ZMQ_XPUB_VERBOSE).
    case subscriptions
    /// Every subscription, and every end of one, those of peers that go among them (ZMQ_XPUB_VERBOSER).
    case everything
}

/// What a socket does when a connection it made is lost or refused: it waits and tries again, longer after each failure.
public struct ZMQReconnect: Sendable, Equatable {
    /// Whether it does. (ZMQ_RECONNECT_IVL −1)
    public var isEnabled = true
    /// The first wait (ZMQ_RECONNECT_IVL 100 ms).
    public var delayMin = Duration.milliseconds(100)
    /// The longest: the waits double until then. (ZMQ_RECONNECT_IVL_MAX 0: they never grow.)
    public var delayMax = Duration.seconds(10)
    /// 0...1: the part of each wait that is left to chance.
    public var jitter = 0.3
    /// For one attempt, from the name to the connection.
    public var connectTimeout = Duration.seconds(10)

    public init() {}
}

/// Who a peer says it is.
public struct ZMQCredentials: Sendable, Equatable {
    public enum Proof: Sendable, Equatable {
        /// NULL: nothing but its address.
        case none
        /// PLAIN.
        case plain(user: String, password: String)
        /// CURVE: it has proven to have the secret key to this public one, of 32 bytes.
        case curve(publicKey: [UInt8])
    }
    public let proof: Proof
    /// "127.0.0.1:40112", or "unix".
    public let address: String
}

/// True: the peer may talk.
public typealias ZMQAuthenticator = @Sendable (ZMQCredentials) -> Bool
