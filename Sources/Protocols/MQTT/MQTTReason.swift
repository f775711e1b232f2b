/// A reason code of MQTT 5.0 (section 2.4). MQTT 3.1.1's CONNACK and SUBACK codes are translated to and from these at the wire.
///
/// Not here: which reason may stand in which packet (see `MQTTReason+Packets.swift`).
public struct MQTTReason: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt8

    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// 0x80 and above: the request failed.
    @inlinable public var isFailure: Bool { rawValue >= 0x80 }

    /// DISCONNECT's reading of 0x00.
    public static var normalDisconnection: MQTTReason { success }
    /// SUBACK's reading of 0x00.
    public static var grantedQoS0: MQTTReason { success }

    public static var success: MQTTReason { MQTTReason(rawValue: 0x00) }
    public static var grantedQoS1: MQTTReason { MQTTReason(rawValue: 0x01) }
    public static var grantedQoS2: MQTTReason { MQTTReason(rawValue: 0x02) }
    public static var disconnectWithWillMessage: MQTTReason { MQTTReason(rawValue: 0x04) }
    public static var noMatchingSubscribers: MQTTReason { MQTTReason(rawValue: 0x10) }
    public static var noSubscriptionExisted: MQTTReason { MQTTReason(rawValue: 0x11) }
    public static var continueAuthentication: MQTTReason { MQTTReason(rawValue: 0x18) }
    public static var reAuthenticate: MQTTReason { MQTTReason(rawValue: 0x19) }
    public static var unspecifiedError: MQTTReason { MQTTReason(rawValue: 0x80) }
    public static var malformedPacket: MQTTReason { MQTTReason(rawValue: 0x81) }
    public static var protocolError: MQTTReason { MQTTReason(rawValue: 0x82) }
    public static var implementationSpecificError: MQTTReason { MQTTReason(rawValue: 0x83) }
    public static var unsupportedProtocolVersion: MQTTReason { MQTTReason(rawValue: 0x84) }
    public static var clientIdentifierNotValid: MQTTReason { MQTTReason(rawValue: 0x85) }
    public static var badUserNameOrPassword: MQTTReason { MQTTReason(rawValue: 0x86) }
    public static var notAuthorized: MQTTReason { MQTTReason(rawValue: 0x87) }
    public static var serverUnavailable: MQTTReason { MQTTReason(rawValue: 0x88) }
    public static var serverBusy: MQTTReason { MQTTReason(rawValue: 0x89) }
    public static var banned: MQTTReason { MQTTReason(rawValue: 0x8A) }
    public static var serverShuttingDown: MQTTReason { MQTTReason(rawValue: 0x8B) }
    public static var badAuthenticationMethod: MQTTReason { MQTTReason(rawValue: 0x8C) }
    public static var keepAliveTimeout: MQTTReason { MQTTReason(rawValue: 0x8D) }
    public static var sessionTakenOver: MQTTReason { MQTTReason(rawValue: 0x8E) }
    public static var topicFilterInvalid: MQTTReason { MQTTReason(rawValue: 0x8F) }
    public static var topicNameInvalid: MQTTReason { MQTTReason(rawValue: 0x90) }
    public static var packetIdentifierInUse: MQTTReason { MQTTReason(rawValue: 0x91) }
    public static var packetIdentifierNotFound: MQTTReason { MQTTReason(rawValue: 0x92) }
    public static var receiveMaximumExceeded: MQTTReason { MQTTReason(rawValue: 0x93) }
    public static var topicAliasInvalid: MQTTReason { MQTTReason(rawValue: 0x94) }
    public static var packetTooLarge: MQTTReason { MQTTReason(rawValue: 0x95) }
    public static var messageRateTooHigh: MQTTReason { MQTTReason(rawValue: 0x96) }
    public static var quotaExceeded: MQTTReason { MQTTReason(rawValue: 0x97) }
    public static var administrativeAction: MQTTReason { MQTTReason(rawValue: 0x98) }
    public static var payloadFormatInvalid: MQTTReason { MQTTReason(rawValue: 0x99) }
    public static var retainNotSupported: MQTTReason { MQTTReason(rawValue: 0x9A) }
    public static var qosNotSupported: MQTTReason { MQTTReason(rawValue: 0x9B) }
    public static var useAnotherServer: MQTTReason { MQTTReason(rawValue: 0x9C) }
    public static var serverMoved: MQTTReason { MQTTReason(rawValue: 0x9D) }
    public static var sharedSubscriptionsNotSupported: MQTTReason { MQTTReason(rawValue: 0x9E) }
    public static var connectionRateExceeded: MQTTReason { MQTTReason(rawValue: 0x9F) }
    public static var maximumConnectTime: MQTTReason { MQTTReason(rawValue: 0xA0) }
    public static var subscriptionIdentifiersNotSupported: MQTTReason { MQTTReason(rawValue: 0xA1) }
    public static var wildcardSubscriptionsNotSupported: MQTTReason { MQTTReason(rawValue: 0xA2) }

    /// The specification's name.
    public var name: String { Self.names[rawValue] ?? "Reason code \(rawValue)" }

    private static let names: [UInt8: String] = [
        0x00: "Success",
        0x01: "Granted QoS 1",
        0x02: "Granted QoS 2",
        0x04: "Disconnect with Will Message",
        0x10: "No matching subscribers",
        0x11: "No subscription existed",
        0x18: "Continue authentication",
        0x19: "Re-authenticate",
        0x80: "Unspecified error",
        0x81: "Malformed Packet",
        0x82: "Protocol Error",
        0x83: "Implementation specific error",
        0x84: "Unsupported Protocol Version",
        0x85: "Client Identifier not valid",
        0x86: "Bad User Name or Password",
        0x87: "Not authorized",
        0x88: "Server unavailable",
        0x89: "Server busy",
        0x8A: "Banned",
        0x8B: "Server shutting down",
        0x8C: "Bad authentication method",
        0x8D: "Keep Alive timeout",
        0x8E: "Session taken over",
        0x8F: "Topic Filter invalid",
        0x90: "Topic Name invalid",
        0x91: "Packet Identifier in use",
        0x92: "Packet Identifier not found",
        0x93: "Receive Maximum exceeded",
        0x94: "Topic Alias invalid",
        0x95: "Packet too large",
        0x96: "Message rate too high",
        0x97: "Quota exceeded",
        0x98: "Administrative action",
        0x99: "Payload format invalid",
        0x9A: "Retain not supported",
        0x9B: "QoS not supported",
        0x9C: "Use another server",
        0x9D: "Server moved",
        0x9E: "Shared Subscriptions not supported",
        0x9F: "Connection rate exceeded",
        0xA0: "Maximum connect time",
        0xA1: "Subscription Identifiers not supported",
        0xA2: "Wildcard Subscriptions not supported",
    ]
}

extension MQTTReason: CustomStringConvertible {
    public var description: String { name }
}
