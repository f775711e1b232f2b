/// How hard sender and receiver try (MQTT 5.0 section 4.3).
public enum MQTTQoS: UInt8, Sendable, Comparable {
    /// Sent once and forgotten.
    case atMostOnce = 0
    /// Acknowledged; may come twice.
    case atLeastOnce = 1
    /// Acknowledged in two steps; comes once.
    case exactlyOnce = 2

    public static func < (a: MQTTQoS, b: MQTTQoS) -> Bool { a.rawValue < b.rawValue }
}

/// A message as it arrived.
public struct MQTTMessage: Sendable, Equatable {
    public var topic: String
    public var payload: [UInt8]
    public var qos: MQTTQoS
    /// The server had kept it: it is older than the subscription (or `retainAsPublished` was asked for).
    public var retain: Bool
    /// The server may have sent it before.
    public var isDuplicate: Bool
    /// v5 alone; empty otherwise.
    public var properties: MQTTProperties
    // How it came, which is no part of the message.
    /// Its packet's identifier; 0 with QoS 0.
    public internal(set) var packetIdentifier: UInt16 = 0
    /// The topic alias it came under, v5 alone; 0: none. `topic` is filled in.
    public internal(set) var topicAlias: UInt16 = 0
    /// The identifiers of the subscriptions it matched, v5 alone.
    public internal(set) var subscriptionIdentifiers: [UInt32] = []

    public init(
        topic: String, payload: [UInt8], qos: MQTTQoS = .atMostOnce, retain: Bool = false, isDuplicate: Bool = false,
        properties: MQTTProperties = MQTTProperties()
    ) {
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.isDuplicate = isDuplicate
        self.properties = properties
    }

    /// The payload as UTF-8, repaired where it is not.
    public var text: String { String(decoding: payload, as: UTF8.self) }

    /// Equal messages may have come in different ways: packet identifier, topic alias and subscription identifiers do not count.
    public static func == (a: MQTTMessage, b: MQTTMessage) -> Bool {
        a.topic == b.topic && a.payload == b.payload && a.qos == b.qos && a.retain == b.retain && a.isDuplicate == b.isDuplicate
            && a.properties == b.properties
    }
}
