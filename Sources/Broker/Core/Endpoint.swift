import MartletBytes
import MartletCollections

/// Someone who may come back (an MQTT session, a durable AMQP client): an identity, a queue, and how long both outlive the connection.
public struct Endpoint: ~Copyable {
    let identity: OwnedBytes
    public internal(set) var queue: QueueID
    /// The gateway's own name for its connection; 0 while nobody is connected.
    public internal(set) var token: UInt32 = 0
    /// The gateway's own state for it, kept while nobody is connected.
    public internal(set) var gatewayState: UInt32 = 0
    let gateway: GatewayID
    /// How long it outlives its connection; zero: it ends with it.
    public internal(set) var lifetime: Duration
    /// When it ends, while nobody is connected.
    var expiry = Instant.never
    /// What is published in its name if its connection is lost, how long after that, and when, if that has happened.
    var farewell = MessageID.none
    /// Its definition in the journal, which ends with it.
    var farewellRecord = JournalName.none
    var farewellDelay = Duration.zero
    /// How long it is worth delivering from then on; nil: for ever.
    var farewellLifetime: Duration?
    var farewellTime = Instant.never

    /// When something is to be done about it.
    var deadline: Instant { min(expiry, farewellTime) }
}
