/// What this shard's MQTT has seen; plain numbers of its thread.
public struct MQTTCounters: Sendable, Equatable {
    /// Connections taken from the listener, whether a CONNECT came or not.
    public var sockets: UInt64 = 0
    public var connectionsAccepted: UInt64 = 0
    public var connectionsRefused: UInt64 = 0
    /// Connections whose TLS failed before a CONNECT came; those whose time ran out are among the violations.
    public var handshakesFailed: UInt64 = 0
    public var violations: UInt64 = 0
    /// What sloppy clients did that the standard forbids, where `mqtt.strict` is off.
    public var tolerated: UInt64 = 0
    /// Packets of any type.
    public var packetsReceived: UInt64 = 0
    /// All but PUBLISH.
    public var answersSent: UInt64 = 0
    public var publishesSent: UInt64 = 0
    public var publishesReceived: UInt64 = 0
    /// Bytes of their payloads.
    public var publishBytesSent: UInt64 = 0
    public var publishBytesReceived: UInt64 = 0
    /// Publications on a topic that is the server's own.
    public var publishesRefused: UInt64 = 0
    /// QoS 0 messages for a client whose output was full.
    public var droppedSlow: UInt64 = 0
    /// Messages above a client's maximum packet size, or of another protocol and without an address that could be a topic.
    public var droppedOversized: UInt64 = 0
    /// Clients sent away because their queue was full.
    public var disconnectedSlow: UInt64 = 0
    /// PUBACK, PUBREC and PUBCOMP for nothing that was under way.
    public var unknownAcknowledgements: UInt64 = 0
    /// Sessions whose time was over.
    public var sessionsExpired: UInt64 = 0

    public init() {}

    /// Packets of any type.
    var packetsSent: UInt64 { publishesSent + answersSent }

    /// Every one, by name.
    private static var all: [(name: String, place: WritableKeyPath<MQTTCounters, UInt64>)] {
        [
            ("sockets", \.sockets),
            ("connectionsAccepted", \.connectionsAccepted),
            ("connectionsRefused", \.connectionsRefused),
            ("handshakesFailed", \.handshakesFailed),
            ("violations", \.violations),
            ("tolerated", \.tolerated),
            ("packetsReceived", \.packetsReceived),
            ("answersSent", \.answersSent),
            ("publishesSent", \.publishesSent),
            ("publishesReceived", \.publishesReceived),
            ("publishBytesSent", \.publishBytesSent),
            ("publishBytesReceived", \.publishBytesReceived),
            ("publishesRefused", \.publishesRefused),
            ("droppedSlow", \.droppedSlow),
            ("droppedOversized", \.droppedOversized),
            ("disconnectedSlow", \.disconnectedSlow),
            ("unknownAcknowledgements", \.unknownAcknowledgements),
            ("sessionsExpired", \.sessionsExpired),
        ]
    }

    var samples: [(name: String, value: UInt64)] { Self.all.map { ($0.name, self[keyPath: $0.place]) } }

    mutating func add(_ other: MQTTCounters) { for (_, place) in Self.all { self[keyPath: place] += other[keyPath: place] } }
}
