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
    /// Messages that wait for one session. Mosquitto and EMQX 1,000, which a client away for a minute overruns; HiveMQ 1,000.
    public var queueMessagesMax = Self.queueMessagesMaxKey.initial
    /// Their bytes, whichever limit is met first.
    public var queueBytesMax = Self.queueBytesMaxKey.initial
    /// Bytes written but not yet taken by a client's socket: what a subscriber that never reads may cost. Above it QoS 0 messages are dropped for
    /// it and others wait in its queue. NATS cuts at 64 MB, Redis at 32 MB.
    public var outputBytesMax = Self.outputBytesMaxKey.initial
    /// The longest a session may outlive its connection, whatever the client asks for (MQTT 3.1.1 asks for ever). Mosquitto never forgets, EMQX 2 h.
    public var sessionExpiryMax = Self.sessionExpiryMaxKey.initial

    public init() {}
}

extension MQTTSettings {
    static let packetSizeMaxKey = SettingKey(
        "mqtt.packetSizeMax", .byteSize(1024...268_435_455), default: 1 << 20, "the largest packet taken from a client")
    static let connectTimeoutKey = SettingKey(
        "mqtt.connectTimeout", .duration(.milliseconds(100) ... .seconds(600)), default: .seconds(10), "how long a connection may take to send its CONNECT")
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

    static var declarations: [SettingDeclaration] {
        [
            packetSizeMaxKey.declaration, connectTimeoutKey.declaration, receiveMaximumKey.declaration, queueMessagesMaxKey.declaration,
            queueBytesMaxKey.declaration, outputBytesMaxKey.declaration, sessionExpiryMaxKey.declaration,
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
    }
}
