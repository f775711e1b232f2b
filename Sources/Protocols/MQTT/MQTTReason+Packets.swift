/// Which reason codes may stand in which packet, and MQTT 3.1.1's return codes.
extension MQTTReason {
    /// [MQTT-3.2.2-8]: CONNACK carries one of these.
    var fitsConnack: Bool {
        switch rawValue {
        case 0x00, 0x80...0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99...0x9D, 0x9F: true
        default: false
        }
    }

    /// [MQTT-3.4.2-1], [MQTT-3.5.2-1]: PUBACK and PUBREC carry one of these; [MQTT-3.6.2-1], [MQTT-3.7.2-1]: PUBREL and PUBCOMP one of two.
    func fitsAcknowledgement(_ type: UInt8) -> Bool {
        switch rawValue {
        case 0x00: true
        case 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99: type == MQTTPacketType.puback || type == MQTTPacketType.pubrec
        case 0x92: type == MQTTPacketType.pubrel || type == MQTTPacketType.pubcomp
        default: false
        }
    }

    /// [MQTT-3.9.3-2]: SUBACK carries one of these. MQTT 3.1.1 knows 0, 1, 2 and 0x80 [MQTT-3.9.3-2].
    func fitsSuback(_ version: MQTTVersion) -> Bool {
        switch rawValue {
        case 0x00, 0x01, 0x02, 0x80: true
        case 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2: version == .v5
        default: false
        }
    }

    /// [MQTT-3.11.3-2]: UNSUBACK carries one of these.
    var fitsUnsuback: Bool {
        switch rawValue {
        case 0x00, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91: true
        default: false
        }
    }

    /// [MQTT-3.15.2-1]: AUTH carries one of these.
    var fitsAuth: Bool { self == .success || self == .continueAuthentication || self == .reAuthenticate }

    /// [MQTT-3.14.2-1]: DISCONNECT carries one of these. Which side may send which is not enforced: peers get it wrong, and nothing depends on it.
    var fitsDisconnect: Bool {
        switch rawValue {
        case 0x00, 0x04, 0x80...0x83, 0x87, 0x89, 0x8B, 0x8D...0x90, 0x93...0xA2: true
        default: false
        }
    }

    /// What a client puts in its DISCONNECT: codes that only a server may send become the general one.
    var fromClient: MQTTReason {
        switch rawValue {
        case 0x00, 0x04, 0x80...0x83, 0x90, 0x93...0x99: self
        case 0x8D: .unspecifiedError
        case 0x9B: .implementationSpecificError
        default: .protocolError
        }
    }

    /// MQTT 3.1.1's CONNACK return code, 0 to 5 (table 3.1). Codes it has no word for become "server unavailable".
    var returnCode: UInt8 {
        switch self {
        case .success: 0
        case .unsupportedProtocolVersion: 1
        case .clientIdentifierNotValid: 2
        case .badUserNameOrPassword: 4
        case .notAuthorized, .banned, .badAuthenticationMethod: 5
        default: 3
        }
    }

    /// The reason that MQTT 3.1.1's return code stands for; `nil` for the reserved ones.
    init?(returnCode: UInt8) {
        switch returnCode {
        case 0: self = .success
        case 1: self = .unsupportedProtocolVersion
        case 2: self = .clientIdentifierNotValid
        case 3: self = .serverUnavailable
        case 4: self = .badUserNameOrPassword
        case 5: self = .notAuthorized
        default: return nil
        }
    }
}
