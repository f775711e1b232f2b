import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore

/// A virtual host on the shard where it lives: its exchanges and queues by name. A queue's name leads to its number with the gateway.
struct AMQPVirtualHost: ~Copyable {
    let name: [UInt8]
    let namespace: Int
    var exchanges = ByteMap<AMQPExchange>(seed: .random(in: .min ... .max))
    var queues = ByteMap<UInt32>(seed: .random(in: .min ... .max))

    init(_ name: [UInt8], _ router: Router) {
        self.name = name
        namespace = router.namespace(name)
    }

    func resource(_ kind: AMQPResource.Kind, _ name: [UInt8]) -> AMQPResource { AMQPResource(kind: kind, name: name, virtualHost: self.name) }
}

/// An exchange: a hub with what AMQP says of it.
struct AMQPExchange {
    let hub: HubID
    let type: Hub.Kind
    let isDurable: Bool
    let isAutoDelete: Bool
    let isInternal: Bool
    /// The name of the alternate exchange, which need not exist.
    let alternate: [UInt8]?
    /// Its addresses are spelled as MQTT's topics: `amq.topic` of `/`.
    let isMeetingPoint: Bool
    /// Its definition in the journal; `.none` also for those that every virtual host has.
    var record = JournalName.none
}

/// A queue with what AMQP says of it. Its row stays until nothing that came from it is unacknowledged.
struct AMQPQueue {
    /// `.none`: it was deleted.
    var id: QueueID
    let name: [UInt8]
    let virtualHost: UInt32
    let isDurable: Bool
    let isAutoDelete: Bool
    /// The connection that alone may use it; 0: any.
    let owner: UInt32
    /// Those of its declaration that a later one is compared with.
    let arguments: [UInt8]
    /// Its first consumer's number; 0: none.
    var firstConsumer: UInt32 = 0
    var consumerCount: UInt32 = 0
    var hasExclusiveConsumer = false
    /// Delivered, and neither acknowledged nor returned.
    var unacknowledged = 0
    /// How long it stays while nobody uses it, since when nobody does, and its name with `AMQPExpirations`; zero: for ever.
    var lifetime = Duration.zero
    var lastUse = Instant.never
    var expiration: UInt64 = 0
    /// Its definition in the journal.
    var record = JournalName.none
}
