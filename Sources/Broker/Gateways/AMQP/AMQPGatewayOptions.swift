public import MartletAMQPProtocol
import MartletCore

/// What the AMQP gateway is told by the server. The limits' reasons stand where they are set (`AMQPLimits`, the server's settings).
public struct AMQPGatewayOptions: Sendable {
    public var limits = AMQPLimits()
    /// Names of virtual hosts, `/` first. Each lives on one shard, with its queues and all connections to it.
    public var virtualHosts: [[UInt8]] = [Array("/".utf8)]
    /// Whether these credentials may come in; nil: none were given.
    public var authenticate: @Sendable (_ user: [UInt8]?, _ password: [UInt8]?) -> Bool = { _, _ in true }
    /// What one queue may hold, ready and unacknowledged. Its publishers are held when it is nearly full; what still comes is refused.
    public var queueMessagesMax: UInt32 = 50_000_000
    public var queueBytesMax: UInt64 = 1 << 30
    /// What one shard's queues may hold together in memory, in bytes, before its publishers are held.
    public var memoryMax = 2 << 30
    /// Queues of one virtual host. (RabbitMQ: none unless set.)
    public var queuesMax = 1_000_000
    /// Exchanges of one virtual host. (RabbitMQ: none unless set.)
    public var exchangesMax = 100_000
    /// Bindings of one virtual host; in `/` MQTT's subscriptions count, too. (RabbitMQ: none.)
    public var bindingsMax = 4_000_000
    /// Consumers of one shard, some 250 bytes each. (RabbitMQ: none unless set.)
    public var consumersMax = 1_000_000
    /// What one connection's messages may hold that are not complete, or staged in transactions, in bytes; one message of the largest size
    /// fits in any case. A shard's connections together: `memoryMax`. (RabbitMQ: none.)
    public var unfinishedBytesMax = 64 << 20
    /// What connection.start says.
    public var serverVersion = ""
    /// What names are made of. A simulation gives its own.
    public var randomNumber: @Sendable () -> UInt64 = { .random(in: .min ... .max) }

    public init() {}

    func queuePolicy(isDurable: Bool) -> QueuePolicy {
        var policy = QueuePolicy()
        policy.isDurable = isDurable
        policy.messagesMax = queueMessagesMax
        policy.bytesMax = queueBytesMax
        policy.overflow = .refuse
        return policy
    }
}
