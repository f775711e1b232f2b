public import MartletBytes

/// A PUBLISH packet: ranges into the machine's input, 36 bytes.
///
/// Not here: what the properties say (`MQTTPropertyCursor` reads them for whoever needs one), and which topic an alias stands
/// for: the table belongs to whoever keeps the topics.
public struct MQTTPublish: Equatable, Sendable {
    /// Empty when the alias alone names the topic.
    public var topic: ByteRange
    /// v5: the properties without their length, all checked. Before: empty.
    public var properties: ByteRange
    public var payload: ByteRange
    /// 0 with QoS 0.
    public var packetIdentifier: UInt16
    /// 0: none. Never above what this side announced.
    public var topicAlias: UInt16
    /// Seconds; `.max`: none was given (section 3.3.2.3.3).
    public var messageExpiry: UInt32
    public var qos: UInt8
    public var retain: Bool
    public var duplicate: Bool

    public init(
        topic: ByteRange, properties: ByteRange = .empty, payload: ByteRange, packetIdentifier: UInt16 = 0, topicAlias: UInt16 = 0,
        messageExpiry: UInt32 = .max, qos: UInt8 = 0, retain: Bool = false, duplicate: Bool = false
    ) {
        self.topic = topic
        self.properties = properties
        self.payload = payload
        self.packetIdentifier = packetIdentifier
        self.topicAlias = topicAlias
        self.messageExpiry = messageExpiry
        self.qos = qos
        self.retain = retain
        self.duplicate = duplicate
    }

    /// A PUBLISH with bytes of its own: what a client sends, and what laws and the async API keep.
    public struct Owned: Equatable, Sendable {
        public var topic: [UInt8]
        /// v5 properties as they are encoded, without their length, the topic alias among them.
        public var properties: [UInt8]
        public var payload: [UInt8]
        public var packetIdentifier: UInt16
        public var qos: UInt8
        public var retain: Bool
        public var duplicate: Bool

        public init(
            topic: [UInt8], properties: [UInt8] = [], payload: [UInt8], packetIdentifier: UInt16 = 0, qos: UInt8 = 0, retain: Bool = false,
            duplicate: Bool = false
        ) {
            self.topic = topic
            self.properties = properties
            self.payload = payload
            self.packetIdentifier = packetIdentifier
            self.qos = qos
            self.retain = retain
            self.duplicate = duplicate
        }
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        Owned(
            topic: bytes.at(topic).array, properties: bytes.at(properties).array, payload: bytes.at(payload).array,
            packetIdentifier: packetIdentifier, qos: qos, retain: retain, duplicate: duplicate)
    }
}

/// What the properties of a PUBLISH are held against.
struct MQTTPublishRules {
    var place: MQTTPropertyPlace
    var topicAliasMax: UInt16
}

extension MQTTPublish {
    /// The flags have been judged: not QoS 3.
    @inline(__always)
    init(_ frame: MQTTFrame, in bytes: Span<UInt8>, version: MQTTVersion, rules: @autoclosure () -> MQTTPublishRules, levelsMax: UInt16) throws(MQTTViolation) {
        guard frame.count >= 2 else { throw .malformed(.cutShort) }
        let topicCount = Int(bytes.uint16(at: frame.body))
        var at = frame.body + 2 + topicCount
        let hasIdentifier = frame.first & 6 != 0
        guard at + (hasIdentifier ? 2 : 0) <= frame.end else { throw .malformed(.cutShort) }
        let topic = ByteRange(frame.body + 2, topicCount)
        try MQTTText.checkTopicName(bytes, topic, levelsMax: levelsMax)
        var identifier: UInt16 = 0
        if hasIdentifier {
            identifier = bytes.uint16(at: at)
            at += 2
            guard identifier != 0 else { throw .malformed(.packetIdentifierZero) }
        }
        var properties = ByteRange.empty
        var alias: UInt16 = 0
        var expiry = UInt32.max
        if version == .v5 {
            guard at < frame.end else { throw .malformed(.cutShort) }
            if bytes[at] == 0 {
                at += 1
            } else {
                (properties, alias, expiry) = try Self.readProperties(frame, in: bytes, at: at, rules: rules())
                at = properties.end
            }
        }
        if topicCount == 0, alias == 0 { throw Self.emptyTopic(version) }
        self.init(
            topic: topic, properties: properties, payload: ByteRange(at, frame.end - at), packetIdentifier: identifier, topicAlias: alias,
            messageExpiry: expiry, qos: frame.first >> 1 & 3, retain: frame.first & 1 != 0, duplicate: frame.first & 8 != 0)
    }

    @inline(never)
    private static func emptyTopic(_ version: MQTTVersion) -> MQTTViolation { version == .v5 ? .protocolError(.noTopic) : .topicNameInvalid }

    @inline(never)
    private static func readProperties(
        _ frame: MQTTFrame, in bytes: Span<UInt8>, at offset: Int, rules: MQTTPublishRules
    ) throws(MQTTViolation) -> (ByteRange, alias: UInt16, expiry: UInt32) {
        var reader = frame.reader(in: bytes)
        reader.offset = offset
        let properties = try reader.properties()
        var alias: UInt16 = 0
        var expiry = UInt32.max
        var walk = MQTTCheckedProperties(properties, in: bytes, at: rules.place)
        while let property = try walk.next() {
            if property.identifier == .messageExpiryInterval { expiry = property.number }
            guard property.identifier == .topicAlias else { continue }
            guard property.number <= UInt32(rules.topicAliasMax) else { throw .topicAliasInvalid }
            alias = UInt16(property.number)
        }
        return (properties, alias, expiry)
    }
}
