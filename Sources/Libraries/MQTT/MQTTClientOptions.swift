public import MartletMQTTProtocol
public import MartletTLS

/// What a connection asks of the server, and of this side.
public struct MQTTClientOptions: Sendable {
    /// 5, 3.1.1 or 3.1. A server that does not know it refuses; nothing else is tried.
    public var version = MQTTVersion.v5
    public var userName: String?
    /// v5 also without a user name.
    public var password: String?
    /// The longest silence before the client sends PINGREQ; zero: never. Whole seconds, at most 65,535. A v5 server may set another.
    public var keepAlive = Duration.seconds(60)
    /// `false`: continues the session that the server kept under this client identifier. Of the first connection only: those
    /// after a loss continue the session they had.
    public var cleanStart = true
    /// How long the server keeps the session after `withConnection` has been left (v5; 3.1.1 keeps it for ever unless
    /// `cleanStart`). Whole seconds; 4,294,967,295 and more: for ever.
    public var sessionExpiry = Duration.zero
    /// For each address until it is connected, and then for the server's answer.
    public var connectTimeout = Duration.seconds(10)
    public var reconnect = MQTTReconnect()
    /// `nil`: no TLS, unless the URL is `mqtts://` or `wss://`.
    public var tls: TLSClientOptions?
    /// Where on the server MQTT over WebSocket is, "/mqtt" say. `nil`: without WebSocket, unless the URL is `ws://` or `wss://`.
    public var webSocketPath: String?
    public var will: MQTTWillMessage?
    /// v5 alone: name and value, for the server.
    public var userProperties: [MQTTUserProperty] = []
    /// v5 alone: how many unacknowledged QoS 1 and 2 messages the server may have under way to this client, 1...65,535. The
    /// default is no limit; what is not taken by its task is not acknowledged either (mosquitto 2.0.11 oversteps a lower one).
    public var receiveMaximum = UInt16.max
    /// v5 alone: the largest packet this client takes, in bytes. A server drops what is larger for this client.
    public var packetSizeMax = UInt32(256 << 20)
    /// v5 alone: how many topic aliases the server may set.
    public var topicAliasMax: UInt16 = 32
    /// v5 alone: how many of the topics published to get an alias, so that each is written out once a connection; as far as
    /// the server allows. The first topics get them. 0: none.
    public var publishAliasMax: UInt16 = 0
    /// v5 alone: an enhanced authentication, such as SCRAM.
    public var authenticator: (any MQTTAuthenticator)?
    public var limits = MQTTClientLimits()
    /// Told of each packet, on the library's thread: for a terminal, not for programs. It must not wait.
    public var trace: (@Sendable (String) -> Void)?

    public init() {}

    /// `isFirst`: no connection of this client has been open before.
    func connect(clientID: String, isFirst: Bool, authenticationData: [UInt8]?) throws(MQTTMisuse) -> MQTTConnectOptions {
        var connect = MQTTConnectOptions(version: version, clientID: Array(clientID.utf8))
        connect.cleanStart = cleanStart && (isFirst || version != .v5)
        connect.keepAlive = UInt16(clamping: keepAlive.components.seconds)
        connect.userName = userName.map { Array($0.utf8) }
        connect.password = password.map { Array($0.utf8) }
        connect.will = try will?.encoded(version)
        guard version == .v5 else { return connect }
        connect.sessionExpiry = Self.seconds(reconnect.isEnabled ? max(sessionExpiry, reconnect.sessionExpiry) : sessionExpiry)
        connect.receiveMaximum = receiveMaximum
        connect.packetSizeMax = packetSizeMax
        connect.topicAliasMax = topicAliasMax
        connect.requestsResponseAddress = true
        connect.userProperties = try MQTTProperties.encoded(userProperties)
        connect.authenticationMethod = authenticator.map { Array($0.method.utf8) }
        connect.authenticationData = authenticationData
        return connect
    }

    /// What DISCONNECT says of the session; `nil`: what CONNECT said holds.
    var sessionExpiryAtLeaving: UInt32? {
        version == .v5 && reconnect.isEnabled && reconnect.sessionExpiry > sessionExpiry ? Self.seconds(sessionExpiry) : nil
    }

    private static func seconds(_ duration: Duration) -> UInt32 { UInt32(clamping: duration.components.seconds) }
}
