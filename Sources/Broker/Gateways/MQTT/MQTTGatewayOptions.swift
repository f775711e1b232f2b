import MartletCore
public import MartletMQTTProtocol

/// What the MQTT gateway is told by the server. The limits' reasons stand where they are set (`MQTTLimits`, the server's settings).
public struct MQTTGatewayOptions: Sendable {
    public var limits = MQTTLimits()
    /// Whether these credentials may come in; nil credentials: none were given.
    public var authenticate: @Sendable (_ userName: [UInt8]?, _ password: [UInt8]?) -> Bool = { _, _ in true }
    /// Enhanced authentication, by the method's name; a CONNECT that names another is refused with 0x8C.
    public var authentication: [String: @Sendable () -> any MQTTAuthenticationExchange] = [:]
    /// Topic filters that nobody may subscribe to, also not shared: these words alone, not what they match.
    public var deniedFilters: Set<[UInt8]> = []
    /// Topic aliases used towards one client, if it takes as many. What a client may set is `limits.topicAliasMax`.
    public var topicAliasMax: UInt16 = 10
    /// Unacknowledged QoS 1 and 2 messages under way to one client, if it allows as many. From it: `limits.receiveMaximum`.
    public var receiveMaximum: UInt16 = 1000
    /// What one session's queue may hold. Its overflow drops the newest and counts it, as mosquitto's does: a publisher must not
    /// suffer for somebody else's absence. A client that is connected then is sent away with 0x97; its session stays.
    public var queueMessagesMax: UInt32 = 100_000
    public var queueBytesMax: UInt64 = 64 << 20
    /// Bytes written for a client and not yet taken by its socket, above which QoS 0 messages are dropped for it and others wait in its queue.
    public var outputBytesMax = 1 << 20
    /// How long a session may outlive its connection.
    public var sessionExpiryMax = Duration.seconds(7 * 86_400)
    /// Topic filters of one session. (EMQX: no limit; AWS IoT Core: 50; a million clients with one each is the usual shape.)
    public var subscriptionsMax = 100_000
    /// How often the `$SYS/#` topics are published; zero: never.
    public var systemTopicsInterval = Duration.zero
    /// What `$SYS/broker/version` says.
    public var serverVersion = ""
    /// What client identifiers are made of. A simulation gives its own.
    public var randomNumber: @Sendable () -> UInt64 = { .random(in: .min ... .max) }

    public init() {}

    func queuePolicy(isDurable: Bool) -> QueuePolicy {
        var policy = QueuePolicy()
        policy.isDurable = isDurable
        policy.passesAtMostOnce = true
        policy.messagesMax = queueMessagesMax
        policy.bytesMax = queueBytesMax
        policy.overflow = .dropNewest
        return policy
    }
}
