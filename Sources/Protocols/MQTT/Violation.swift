/// How the peer broke the protocol. When a machine throws one, its output already holds the farewell; write it, then close.
public enum MQTTViolation: Error, Equatable, Sendable {
    /// The bytes cannot be read as the packet they claim to be.
    case malformed(MQTTFault)
    /// The packet can be read, and must not be sent: wrong value, wrong place, wrong time.
    case protocolError(MQTTFault)
    /// The fixed header announces more than the limit; the packet itself was not waited for.
    case packetTooLarge
    /// [MQTT-3.1.0-1]
    case firstPacketNotConnect
    /// [MQTT-3.1.0-2]
    case secondConnect
    /// [MQTT-3.1.2-2]: the protocol level, as sent.
    case unsupportedVersion(UInt8)
    /// MQTT 3.1.1 [MQTT-3.1.3-8]: an empty client identifier needs a clean session.
    case clientIdentifierNotValid
    /// Server: nothing heard for one and a half times the keep-alive [MQTT-3.1.2-22]. Client: no answer to PINGREQ.
    case keepAliveExpired
    /// No CONNECT (server) or no CONNACK (client) in time.
    case connectTimedOut
    /// [MQTT-3.2.2-11]: above the Maximum QoS that was announced.
    case qosNotSupported
    /// [MQTT-3.3.2-8], [MQTT-3.3.2-9], [MQTT-3.3.2-10]: zero, or above the announced maximum.
    case topicAliasInvalid
    /// [MQTT-3.3.2-2], [MQTT-4.7.3-1]: wildcards, no characters, or more levels than the limit.
    case topicNameInvalid
    /// [MQTT-4.7.1-1], [MQTT-4.7.1-2], [MQTT-4.8.2-1]: misplaced wildcards, no characters, or more levels than the limit.
    case topicFilterInvalid
    /// [MQTT-3.3.4-7], [MQTT-3.3.4-9]: more unacknowledged messages than this side allowed.
    case receiveMaximumExceeded

    /// The code a v5 DISCONNECT or CONNACK carries for it.
    public var reason: MQTTReason {
        switch self {
        case .malformed: .malformedPacket
        case .protocolError, .firstPacketNotConnect, .secondConnect: .protocolError
        case .packetTooLarge: .packetTooLarge
        case .unsupportedVersion: .unsupportedProtocolVersion
        case .clientIdentifierNotValid: .clientIdentifierNotValid
        case .keepAliveExpired: .keepAliveTimeout
        case .connectTimedOut: .maximumConnectTime
        case .qosNotSupported: .qosNotSupported
        case .topicAliasInvalid: .topicAliasInvalid
        case .topicNameInvalid: .topicNameInvalid
        case .topicFilterInvalid: .topicFilterInvalid
        case .receiveMaximumExceeded: .receiveMaximumExceeded
        }
    }
}

extension MQTTViolation: CustomStringConvertible {
    public var description: String {
        switch self {
        case .malformed(let fault): "malformed packet: \(fault.rawValue)"
        case .protocolError(let fault): "protocol error: \(fault.rawValue)"
        case .packetTooLarge: "packet larger than the limit"
        case .firstPacketNotConnect: "the first packet is not a CONNECT"
        case .secondConnect: "a second CONNECT"
        case .unsupportedVersion(let level): "unsupported protocol level \(level)"
        case .clientIdentifierNotValid: "an empty client identifier without a clean session"
        case .keepAliveExpired: "nothing heard within the keep-alive"
        case .connectTimedOut: "the connection was not opened in time"
        case .qosNotSupported: "QoS above the announced maximum"
        case .topicAliasInvalid: "topic alias out of range"
        case .topicNameInvalid: "invalid topic name"
        case .topicFilterInvalid: "invalid topic filter"
        case .receiveMaximumExceeded: "more unacknowledged messages than the receive maximum"
        }
    }
}

/// What exactly is wrong, in words for a log line. Requirement numbers are MQTT 5.0's, unless 3.1.1 is named.
public enum MQTTFault: String, Equatable, Sendable {
    /// [MQTT-2.1.3-1]; 3.1.1: [MQTT-2.2.2-2]
    case fixedHeaderFlags = "reserved bits of the fixed header"
    case reservedPacketType = "reserved packet type"
    /// [MQTT-1.5.5-1]: at most four bytes, and no more than needed.
    case variableByteInteger = "variable byte integer too long"
    case cutShort = "a field reaches beyond its packet"
    case trailingBytes = "bytes behind the last field"
    /// [MQTT-1.5.4-1], [MQTT-1.5.4-2]; 3.1.1: [MQTT-1.5.3-1], [MQTT-1.5.3-2]
    case text = "text that is not UTF-8, or holds U+0000"
    /// [MQTT-3.1.2-1]
    case protocolName = "unknown protocol name"
    /// [MQTT-3.1.2-3], [MQTT-3.1.2-11], [MQTT-3.1.2-12], [MQTT-3.1.2-13]; 3.1.1: also [MQTT-3.1.2-22]
    case connectFlags = "impossible CONNECT flags"
    /// [MQTT-2.2.1-3]
    case packetIdentifierZero = "packet identifier 0"
    /// [MQTT-3.3.1-4]
    case qosThree = "QoS 3"
    /// [MQTT-3.3.1-2]
    case duplicateQoSZero = "DUP set with QoS 0"
    case unknownProperty = "unknown property"
    case misplacedProperty = "property that this packet must not carry"
    case repeatedProperty = "property given twice"
    case propertyValue = "property value out of range"
    /// [MQTT-3.8.3-2], [MQTT-3.10.3-2]
    case noTopicFilter = "no topic filter"
    /// [MQTT-3.8.3-5]; 3.1.1: [MQTT-3-8.3-4]
    case subscriptionOptions = "reserved subscription options"
    /// [MQTT-3.8.3-4]
    case noLocalShared = "No Local on a shared subscription"
    case reasonCode = "reason code that this packet must not carry"
    case noReasonCode = "no reason code"
    /// [MQTT-3.2.2-1], [MQTT-3.2.2-6]
    case connackFlags = "impossible CONNACK flags"
    /// An empty topic name needs a topic alias.
    case noTopic = "no topic name and no topic alias"
    case authenticationData = "authentication data without a method"
    /// Section 4.12: CONNECT's method stands in every AUTH and in a successful CONNACK.
    case authenticationMethod = "no authentication method, or another than CONNECT's"
    /// [MQTT-3.14.2-2], section 3.14.2.2.2
    case sessionExpiry = "session expiry set that was zero in CONNECT"
    case unexpectedPacket = "packet that this side must not be sent now"
}
