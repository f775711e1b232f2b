import MartletSettings

/// The limits of the AMQP listeners, each with its reason and what RabbitMQ does. Section `amqp:` of the configuration.
public struct AMQPSettings: Sendable, Equatable {
    /// The largest frame, as connection.tune offers it. RabbitMQ 131,072: a body beyond it costs a frame more, nothing else.
    public var frameMax = Self.frameMaxKey.initial
    /// Channels of one connection. RabbitMQ 2,047.
    public var channelMax = Self.channelMaxKey.initial
    /// Heartbeats that connection.tune offers; zero: none. RabbitMQ 60 s.
    public var heartbeat = Self.heartbeatKey.initial
    /// The largest message. RabbitMQ 16 MiB, before version 4 128 MiB.
    public var messageSizeMax = Self.messageSizeMaxKey.initial
    /// From accepting a connection to connection.open; a silent one is cut. RabbitMQ 10 s.
    public var openTimeout = Self.openTimeoutKey.initial
    /// What one queue may hold, whichever limit is met first; its publishers are held when it is nearly full. RabbitMQ has none.
    public var queueMessagesMax = Self.queueMessagesMaxKey.initial
    public var queueBytesMax = Self.queueBytesMaxKey.initial

    public init() {}
}

extension AMQPSettings {
    static let frameMaxKey = SettingKey("amqp.frameMax", .byteSize(4096...1 << 30), default: 131_072, "the largest frame, offered in connection.tune")
    static let channelMaxKey = SettingKey("amqp.channelMax", .integer(1...65_535), default: 2047, "channels of one connection")
    static let heartbeatKey = SettingKey(
        "amqp.heartbeat", .duration(.zero ... .seconds(65_535)), default: .seconds(60), "the heartbeat offered to clients; 0s: none")
    static let messageSizeMaxKey = SettingKey("amqp.messageSizeMax", .byteSize(1024...1 << 30), default: 16 << 20, "the largest message")
    static let openTimeoutKey = SettingKey(
        "amqp.openTimeout", .duration(.milliseconds(100) ... .seconds(600)), default: .seconds(10), "how long a connection may take to open")
    static let queueMessagesMaxKey = SettingKey(
        "amqp.queueMessagesMax", .integer(1...1_000_000_000), default: 50_000_000, "messages of one queue; publishers are held before")
    static let queueBytesMaxKey = SettingKey(
        "amqp.queueBytesMax", .byteSize(1024...1 << 40), default: 1 << 30, "bytes of one queue; publishers are held before")

    static var declarations: [SettingDeclaration] {
        [
            frameMaxKey.declaration, channelMaxKey.declaration, heartbeatKey.declaration, messageSizeMaxKey.declaration, openTimeoutKey.declaration,
            queueMessagesMaxKey.declaration, queueBytesMaxKey.declaration,
        ]
    }

    init(_ settings: Settings) throws(SettingsMisuse) {
        frameMax = try settings.value(of: Self.frameMaxKey)
        channelMax = try settings.value(of: Self.channelMaxKey)
        heartbeat = try settings.value(of: Self.heartbeatKey)
        messageSizeMax = try settings.value(of: Self.messageSizeMaxKey)
        openTimeout = try settings.value(of: Self.openTimeoutKey)
        queueMessagesMax = try settings.value(of: Self.queueMessagesMaxKey)
        queueBytesMax = try settings.value(of: Self.queueBytesMaxKey)
    }
}
