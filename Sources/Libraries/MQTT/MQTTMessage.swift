/// How hard sender and receiver try.
public enum MQTTQoS: UInt8, Sendable, Comparable {
    /// Sent once and forgotten.
    case atMostOnce = 0
    /// Acknowledged; may come twice.
    case atLeastOnce = 1

    public static func < (a: MQTTQoS, b: MQTTQoS) -> Bool { a.rawValue < b.rawValue }
}

/// A message as it arrived. Not here yet: the properties of MQTT 5.
public struct MQTTMessage: Sendable, Equatable {
    public var topic: String
    public var payload: [UInt8]
    public var qos: MQTTQoS
    /// The server had kept it: it is older than the subscription.
    public var retain: Bool
    /// The server may have sent it before.
    public var isDuplicate: Bool

    public init(topic: String, payload: [UInt8], qos: MQTTQoS = .atMostOnce, retain: Bool = false, isDuplicate: Bool = false) {
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.isDuplicate = isDuplicate
    }

    /// The payload as UTF-8, repaired where it is not.
    public var text: String { String(decoding: payload, as: UTF8.self) }
}
