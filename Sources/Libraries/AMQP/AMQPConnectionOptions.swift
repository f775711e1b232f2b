public import MartletAMQPProtocol
public import MartletTLS

/// What a connection asks of the server, and of this side.
public struct AMQPConnectionOptions: Sendable {
    /// How to log in (SASL).
    public enum Login: Sendable, Equatable {
        /// PLAIN: user name and password.
        case plain(user: String, password: String)
        /// EXTERNAL: who it is the TLS certificate says (`TLSClientOptions.identity`).
        case external
        /// ANONYMOUS.
        case anonymous
    }
    /// RabbitMQ lets guest in from its own machine alone.
    public var login = Login.plain(user: "guest", password: "guest")
    public var virtualHost = "/"
    /// What operators see of this connection ("connection_name").
    public var connectionName: String?
    /// The longest silence before this side sends a heartbeat: the shorter of this and the server's, rounded up to whole seconds; zero: none.
    /// After two of the server's silence the connection is lost.
    public var heartbeat = Duration.seconds(60)
    /// The largest frame, in bytes, if the server does not want smaller ones; at least 4,096.
    public var frameMax: UInt32 = 131_072
    /// The most channels, if the server does not want fewer; 0: as many as the protocol has numbers. One of them is kept for `reconnect`.
    public var channelMax: UInt16 = 2047
    /// For each address until it is connected, and then for the server until the connection is open.
    public var connectTimeout = Duration.seconds(10)
    public var reconnect = AMQPReconnect()
    /// `nil`: no TLS, unless the URL is `amqps://`.
    public var tls: TLSClientOptions?
    /// For the server's eyes, beside those that this library announces.
    public var clientProperties: AMQPTable = [:]
    public var limits = AMQPClientLimits()

    public init() {}

    var sasl: AMQPSASL {
        switch login {
        case .plain(let user, let password): .plain(user: Array(user.utf8), password: Array(password.utf8))
        case .external: .external()
        case .anonymous: .anonymous()
        }
    }

    var properties: AMQPTable {
        let capabilities: AMQPCapabilities = [
            .publisherConfirms, .exchangeExchangeBindings, .basicNack, .consumerCancelNotify, .connectionBlocked, .authenticationFailureClose,
        ]
        var table: AMQPTable = ["product": "Martlet", "platform": "Swift", "capabilities": .table(capabilities.table)]
        if let connectionName { table.fields.append(.init(Array("connection_name".utf8), .string(Array(connectionName.utf8)))) }
        table.fields += clientProperties.fields
        return table
    }

    var machineLimits: AMQPLimits {
        var machine = AMQPLimits()
        machine.frameMax = frameMax
        machine.channelMax = channelMax
        let (seconds, rest) = heartbeat.components
        machine.heartbeat = UInt16(clamping: rest > 0 ? seconds + 1 : seconds)
        machine.bodySizeMax = limits.bodySizeMax
        machine.openTimeout = connectTimeout
        machine.closeTimeout = limits.closeTimeout
        return machine
    }
}
