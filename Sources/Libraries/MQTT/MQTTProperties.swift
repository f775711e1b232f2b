internal import MartletBytes
internal import MartletMQTTProtocol

/// What MQTT 5 says about a message beside topic and payload (section 3.3.2.3). Servers pass it on unchanged.
/// Before v5 nothing of it is sent.
public struct MQTTProperties: Sendable, Equatable {
    /// The payload is UTF-8 text (payload format indicator 1).
    public var isText = false
    /// How long the server keeps the message for subscribers that are away; on arrival: what is left of it. Whole seconds,
    /// at most 4,294,967,295. `nil`: for ever.
    public var messageExpiry: Duration?
    /// A MIME type, by custom.
    public var contentType: String?
    /// Where an answer is expected: a topic name, without wildcards.
    public var responseTopic: String?
    /// What the answer repeats, so that the asker knows what it answers. At most 65,535 bytes.
    public var correlationData: [UInt8]?
    /// Name and value, in order; names may repeat. Each at most 65,535 bytes.
    public var userProperties: [MQTTUserProperty] = []

    public init() {}

    /// The first user property of that name.
    public subscript(name: String) -> String? { userProperties.first { $0.name == name }?.value }
}

/// A user property (MQTT 5.0 section 3.3.2.3.7): what name and value mean is the programs' own matter.
public struct MQTTUserProperty: Sendable, Equatable {
    public var name: String
    public var value: String

    public init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

extension MQTTProperties {
    init(_ properties: ByteRange, in bytes: Span<UInt8>) {
        var cursor = MQTTPropertyCursor(properties, in: bytes)
        while let property = cursor.next() {
            switch property.identifier {
            case .payloadFormatIndicator: isText = property.number == 1
            case .messageExpiryInterval: messageExpiry = .seconds(Int64(property.number))
            case .contentType: contentType = bytes.at(property.text).text
            case .responseTopic: responseTopic = bytes.at(property.text).text
            case .correlationData: correlationData = bytes.at(property.text).array
            case .userProperty: userProperties.append(MQTTUserProperty(bytes.at(property.text).text, bytes.at(property.value).text))
            default: break
            }
        }
    }

    /// As they are encoded in PUBLISH and in a will, without their length.
    func encoded() throws(MQTTMisuse) -> [UInt8] {
        if self == MQTTProperties() { return [] }
        var output = ByteBuffer()
        if isText { output.append(.payloadFormatIndicator, 1 as UInt8) }
        if let messageExpiry {
            output.append(MQTTPropertyIdentifier.messageExpiryInterval.rawValue)
            output.append(UInt32(clamping: messageExpiry.components.seconds))
        }
        if let contentType { try output.append(.contentType, Array(contentType.utf8)) }
        if let responseTopic { try output.append(.responseTopic, Array(responseTopic.utf8)) }
        if let correlationData { try output.append(.correlationData, correlationData) }
        for property in userProperties {
            try output.append(.userProperty, Array(property.name.utf8))
            try output.append(field: Array(property.value.utf8))
        }
        return output.span.array
    }

    /// User properties alone, as CONNECT carries them.
    static func encoded(_ userProperties: [MQTTUserProperty]) throws(MQTTMisuse) -> [UInt8] {
        var properties = MQTTProperties()
        properties.userProperties = userProperties
        return try properties.encoded()
    }
}

extension MQTTMessage {
    static func subscriptionIdentifiers(_ properties: ByteRange, in bytes: Span<UInt8>) -> [UInt32] {
        var identifiers: [UInt32] = []
        var cursor = MQTTPropertyCursor(properties, in: bytes)
        while let property = cursor.next() { if property.identifier == .subscriptionIdentifier { identifiers.append(property.number) } }
        return identifiers
    }
}

extension ByteBuffer {
    fileprivate mutating func append(_ identifier: MQTTPropertyIdentifier, _ value: UInt8) {
        append(identifier.rawValue)
        append(value)
    }

    fileprivate mutating func append(_ identifier: MQTTPropertyIdentifier, _ bytes: [UInt8]) throws(MQTTMisuse) {
        append(identifier.rawValue)
        try append(field: bytes)
    }

    fileprivate mutating func append(field bytes: [UInt8]) throws(MQTTMisuse) {
        guard bytes.count <= 65_535 else { throw .fieldTooLong }
        append(UInt16(bytes.count))
        append(bytes.span)
    }
}
