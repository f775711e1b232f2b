/// What the peers tell each other they can do, in `capabilities` of the server's and client's properties (RabbitMQ's extensions).
public struct AMQPCapabilities: OptionSet, Sendable {
    public var rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static var publisherConfirms: Self { Self(rawValue: 1) }
    public static var exchangeExchangeBindings: Self { Self(rawValue: 2) }
    public static var basicNack: Self { Self(rawValue: 4) }
    public static var consumerCancelNotify: Self { Self(rawValue: 8) }
    public static var connectionBlocked: Self { Self(rawValue: 16) }
    public static var consumerPriorities: Self { Self(rawValue: 32) }
    public static var authenticationFailureClose: Self { Self(rawValue: 64) }
    public static var perConsumerQoS: Self { Self(rawValue: 128) }
    public static var directReplyTo: Self { Self(rawValue: 256) }

    /// By the names they have on the wire.
    private static var names: [(Self, String)] {
        [
            (.publisherConfirms, "publisher_confirms"), (.exchangeExchangeBindings, "exchange_exchange_bindings"), (.basicNack, "basic.nack"),
            (.consumerCancelNotify, "consumer_cancel_notify"), (.connectionBlocked, "connection.blocked"),
            (.consumerPriorities, "consumer_priorities"), (.authenticationFailureClose, "authentication_failure_close"),
            (.perConsumerQoS, "per_consumer_qos"), (.directReplyTo, "direct_reply_to"),
        ]
    }

    /// The value of `capabilities`: each with true.
    public var table: AMQPTable { AMQPTable(Self.names.filter { contains($0.0) }.map { AMQPTable.Field(Array($0.1.utf8), true) }) }

    /// From server's or client's properties; unknown ones and those that are not true are left out.
    public init(properties: AMQPTable) {
        self = []
        guard case .table(let table) = properties["capabilities"] else { return }
        for (capability, name) in Self.names where table[name] == true { insert(capability) }
    }
}
