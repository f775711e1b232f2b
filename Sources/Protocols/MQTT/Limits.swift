/// What one connection may ask of this side. Each number has its reason and what other servers chose.
///
/// Invariant: a machine announces to a v5 peer what it enforces.
/// Not here: limits of sessions, queues and whole servers (the broker's).
public struct MQTTLimits: Sendable, Equatable {
    /// The largest whole packet, fixed header included. A packet is parsed in one piece, so this bounds what a cut one keeps in
    /// memory, also for peers that have not logged in. 1 MiB: sensor messages are below 1 KiB, and files belong elsewhere.
    /// (EMQX 1 MB, mosquitto 2,000,000 since 2.1 and 256 MB before, RabbitMQ 16 MiB, AWS IoT Core 128 KiB.)
    public var packetSizeMax = 1 << 20

    /// Server: from accept to a whole CONNECT. Client: from start to CONNACK. 10 s: three lost packets on a slow radio link,
    /// and idle sockets of scanners go soon. (HiveMQ 10 s, EMQX 15 s, mosquitto 90 s.)
    public var connectTimeout = Duration.seconds(10)

    /// The longest keep-alive, in seconds, that a v5 client is allowed: one that asks for more, or for none, is told this one.
    /// 3.1.1 has no word for that, its clients get what they ask for. `nil`: no limit, because a client that wants no keep-alive
    /// may have its reason, and TCP keep-alive finds dead peers too. (mosquitto and HiveMQ 65,535, EMQX none.)
    public var keepAliveMax: UInt16?

    /// Levels of a topic name or filter. A trie descends one node a level. 128 is far above any naming scheme seen.
    /// (mosquitto 200, EMQX 128, AWS IoT Core 8.)
    public var topicLevelsMax: UInt16 = 128

    /// Unacknowledged QoS 1 and 2 messages that a v5 client may have under way to this side. 1,024 fill a link of 100 ms and
    /// 10,000 messages a second; each costs a few bytes until acknowledged. (mosquitto 20, EMQX 32, HiveMQ 10, RabbitMQ 10, NATS 1,024.)
    public var receiveMaximum: UInt16 = 1024

    /// Topic aliases that a v5 peer may set. 0: the alias table belongs to whoever keeps the topics; a gateway that has one raises it.
    /// (mosquitto 10, EMQX 65,535, HiveMQ 5, RabbitMQ 16.)
    public var topicAliasMax: UInt16 = 0

    /// Client: how long a PINGREQ may go without anything heard. 10 s, as for CONNACK. (paho: one keep-alive; mqtt.js: half.)
    public var pingTimeout = Duration.seconds(10)

    /// Server: `false` lets a sloppy client live, and counts (`MQTTServerMachine.tolerated`): more unacknowledged messages than the
    /// receive maximum, DUP with QoS 0, wrong reserved flags of SUBSCRIBE, UNSUBSCRIBE and PUBREL, and before v5 bytes behind the last
    /// field of PUBACK, PUBREC, PUBREL, PUBCOMP, PINGREQ and DISCONNECT. `true`: the specification asks for it. (mosquitto relaxed in 2.1.1.)
    public var isStrict = true

    public init() {}
}
