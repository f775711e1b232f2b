import MartletSettings

/// The limits of the MQTT listeners, each with its reason and what other servers do. Section `mqtt:` of the configuration.
public struct MQTTSettings: Sendable, Equatable {
    /// The largest packet taken from a client. Mosquitto 2.0 takes what the protocol can say (256 MB), EMQX and NATS 1 MB, RabbitMQ 16 MiB.
    public var packetSizeMax = Self.packetSizeMaxKey.initial
    /// From accepting a connection to its whole CONNECT; a silent one is cut. HiveMQ 10 s, EMQX 15 s.
    public var connectTimeout = Self.connectTimeoutKey.initial
    /// QoS 1 and 2 messages on their way to one client and not yet acknowledged, and as many from it. Mosquitto 20, EMQX 32, HiveMQ 10; a window
    /// must cover rate x round trip, and 1,000 covers 10,000 messages a second over 100 ms.
    public var receiveMaximum = Self.receiveMaximumKey.initial
    /// Messages that wait for one session. Mosquitto and EMQX 1,000, which a client away for a minute overruns; HiveMQ 1,000. Beyond it the newest
    /// are dropped, and a client that is connected is sent away (MQTT 5: 0x97).
    public var queueMessagesMax = Self.queueMessagesMaxKey.initial
    /// Their bytes, whichever limit is met first.
    public var queueBytesMax = Self.queueBytesMaxKey.initial
    /// Bytes written but not yet taken by a client's socket: what a subscriber that never reads may cost. Above it QoS 0 messages are dropped for
    /// it and others wait in its queue. NATS cuts at 64 MB, Redis at 32 MB.
    public var outputBytesMax = Self.outputBytesMaxKey.initial
    /// The longest a session may outlive its connection, whatever the client asks for (MQTT 3.1.1 asks for ever). Mosquitto never forgets, EMQX 2 h.
    public var sessionExpiryMax = Self.sessionExpiryMaxKey.initial
    /// Topic aliases that a client may set, and that are set towards one that takes as many. Mosquitto 10, RabbitMQ 16, HiveMQ 5: enough for a
    /// device's own topics; each costs its topic's bytes a connection.
    public var topicAliasMax = Self.topicAliasMaxKey.initial
    /// The longest keep-alive: MQTT 5 clients that ask for more, or none, are told this one. Zero: no limit. Mosquitto has none, HiveMQ 65,535 s.
    public var serverKeepAlive = Self.serverKeepAliveKey.initial
    /// Topic filters that nobody may subscribe to, also not shared: these words alone, not what they match.
    public var denySubscribe = Self.denySubscribeKey.initial
    /// False: what sloppy clients get wrong, and nothing depends on, is counted and let pass (`MQTTLimits.isStrict` lists it). Mosquitto relaxed
    /// in 2.1.1; the standard asks for the connection to be closed.
    public var isStrict = Self.strictKey.initial
    /// How often `$SYS/#` is published, zero: never. Mosquitto 10 s.
    public var systemTopicsInterval = Self.systemTopicsIntervalKey.initial

    public init() {}
}

extension MQTTSettings {
    static let packetSizeMaxKey = SettingKey(
        "mqtt.packetSizeMax", .byteSize(1024...268_435_455), default: 1 << 20, "the largest packet taken from a client")
    static let connectTimeoutKey = SettingKey(
        "mqtt.connectTimeout", .duration(.milliseconds(100) ... .seconds(600)), default: .seconds(10),
        "how long a connection may take to send its CONNECT, with TLS's handshake")
    static let receiveMaximumKey = SettingKey(
        "mqtt.receiveMaximum", .integer(1...65_535), default: 1000, "QoS 1 and 2 messages under way to a client, or from it, unacknowledged")
    static let queueMessagesMaxKey = SettingKey(
        "mqtt.queueMessagesMax", .integer(1...1_000_000_000), default: 100_000, "messages that wait for one session")
    static let queueBytesMaxKey = SettingKey(
        "mqtt.queueBytesMax", .byteSize(1024...1 << 40), default: 64 << 20, "bytes that wait for one session")
    static let outputBytesMaxKey = SettingKey(
        "mqtt.outputBytesMax", .byteSize(4096...1 << 32), default: 1 << 20, "bytes held for a client that does not read")
    static let sessionExpiryMaxKey = SettingKey(
        "mqtt.sessionExpiryMax", .duration(.zero ... .seconds(4_294_967_294)), default: .seconds(7 * 86_400), "how long a session may outlive its connection")

    static let topicAliasMaxKey = SettingKey(
        "mqtt.topicAliasMax", .integer(0...65_535), default: 10, "topic aliases of one connection, each way")
    static let serverKeepAliveKey = SettingKey(
        "mqtt.serverKeepAlive", .duration(.zero ... .seconds(65_535)), default: .zero, "the longest keep-alive of an MQTT 5 client; 0s: any")
    static let denySubscribeKey = SettingKey("mqtt.denySubscribe", .list(of: .text), default: [], "topic filters that nobody may subscribe to")
    static let strictKey = SettingKey(
        "mqtt.strict", .flag, default: true, "cut clients whose mistakes harm nobody; false: count them")
    static let systemTopicsIntervalKey = SettingKey(
        "mqtt.systemTopicsInterval", .duration(.zero ... .seconds(86_400)), default: .seconds(10), "how often $SYS/# is published; 0s: never")

    static var declarations: [SettingDeclaration] {
        [
            packetSizeMaxKey.declaration, connectTimeoutKey.declaration, receiveMaximumKey.declaration, queueMessagesMaxKey.declaration,
            queueBytesMaxKey.declaration, outputBytesMaxKey.declaration, sessionExpiryMaxKey.declaration, topicAliasMaxKey.declaration,
            serverKeepAliveKey.declaration, denySubscribeKey.declaration, strictKey.declaration, systemTopicsIntervalKey.declaration,
        ]
    }

    init(_ settings: Settings) throws(SettingsMisuse) {
        packetSizeMax = try settings.value(of: Self.packetSizeMaxKey)
        connectTimeout = try settings.value(of: Self.connectTimeoutKey)
        receiveMaximum = try settings.value(of: Self.receiveMaximumKey)
        queueMessagesMax = try settings.value(of: Self.queueMessagesMaxKey)
        queueBytesMax = try settings.value(of: Self.queueBytesMaxKey)
        outputBytesMax = try settings.value(of: Self.outputBytesMaxKey)
        sessionExpiryMax = try settings.value(of: Self.sessionExpiryMaxKey)
        topicAliasMax = try settings.value(of: Self.topicAliasMaxKey)
        serverKeepAlive = try settings.value(of: Self.serverKeepAliveKey)
        denySubscribe = try settings.value(of: Self.denySubscribeKey)
        isStrict = try settings.value(of: Self.strictKey)
        systemTopicsInterval = try settings.value(of: Self.systemTopicsIntervalKey)
    }
}
