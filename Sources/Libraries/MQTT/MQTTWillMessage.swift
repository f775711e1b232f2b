internal import MartletMQTTProtocol

/// What the server publishes for a client that goes without saying goodbye (MQTT 5.0 section 3.1.2.5).
public struct MQTTWillMessage: Sendable, Equatable {
    public var topic: String
    public var payload: [UInt8]
    public var qos: MQTTQoS
    public var retain: Bool
    /// How long the server waits for the client to come back, v5 alone. Whole seconds; not longer than the session lives.
    public var delay: Duration
    /// v5 alone.
    public var properties: MQTTProperties

    public init(
        topic: String, payload: [UInt8] = [], qos: MQTTQoS = .atMostOnce, retain: Bool = false, delay: Duration = .zero,
        properties: MQTTProperties = MQTTProperties()
    ) {
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.delay = delay
        self.properties = properties
    }

    func encoded(_ version: MQTTVersion) throws(MQTTMisuse) -> MQTTConnectOptions.Will {
        MQTTConnectOptions.Will(
            topic: Array(topic.utf8), payload: payload, qos: qos.rawValue, retain: retain,
            delaySeconds: version == .v5 ? UInt32(clamping: delay.components.seconds) : 0, properties: version == .v5 ? try properties.encoded() : [])
    }
}
