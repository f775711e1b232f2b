public import MartletMQTTProtocol

/// What a connection asks of the server, and of this side.
public struct MQTTClientOptions: Sendable {
    public var version = MQTTVersion.v5
    public var userName: String?
    public var password: String?
    /// The longest silence before the client sends PINGREQ; zero: never. Whole seconds, at most 65,535.
    public var keepAlive = Duration.seconds(60)
    /// `false`: continues the session that the server kept under this client identifier.
    public var cleanStart = true
    /// How long the server keeps the session when the connection is gone (v5; 3.1.1 keeps it for ever unless `cleanStart`).
    public var sessionExpiry = Duration.zero
    /// For each address until it is connected, and then for the server's answer.
    public var connectTimeout = Duration.seconds(10)
    public var limits = MQTTClientLimits()
    /// Told of each packet, on the library's thread: for a terminal, not for programs. It must not wait.
    public var trace: (@Sendable (String) -> Void)?

    public init() {}

    func connect(clientID: String) -> MQTTConnectOptions {
        var connect = MQTTConnectOptions(version: version, clientID: Array(clientID.utf8))
        connect.cleanStart = cleanStart
        connect.keepAlive = UInt16(clamping: keepAlive.components.seconds)
        connect.userName = userName.map { Array($0.utf8) }
        connect.password = password.map { Array($0.utf8) }
        connect.sessionExpiry = version == .v5 ? UInt32(clamping: sessionExpiry.components.seconds) : 0
        // No receive maximum: mosquitto 2.0.11 oversteps one once the first acknowledgement comes, and the server's own window and
        // our not reading bound what arrives.
        return connect
    }
}
