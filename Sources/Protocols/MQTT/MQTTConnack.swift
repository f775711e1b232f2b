public import MartletBytes

/// The server's answer to CONNECT, owning its bytes. `nil`: the property is not sent (or was not).
///
/// v3.1.1 sends `sessionPresent` and `reason` alone, as one of its return codes; v3.1 the return code alone.
public struct MQTTConnack: Equatable, Sendable {
    public var reason: MQTTReason
    public var sessionPresent: Bool
    public var sessionExpiry: UInt32?
    public var receiveMaximum: UInt16?
    public var maximumQoS: UInt8?
    public var retainAvailable: Bool?
    public var packetSizeMax: UInt32?
    public var assignedClientID: [UInt8]?
    public var topicAliasMax: UInt16?
    public var reasonText: String?
    public var wildcardAvailable: Bool?
    public var subscriptionIdentifiersAvailable: Bool?
    public var sharedAvailable: Bool?
    public var serverKeepAlive: UInt16?
    /// v5's Response Information.
    public var responseAddress: String?
    public var serverReference: String?
    /// CONNECT's, once an enhanced authentication has succeeded (section 4.12).
    public var authenticationMethod: [UInt8]?
    public var authenticationData: [UInt8]?
    /// User properties as they are encoded.
    public var userProperties: [UInt8] = []

    public init(reason: MQTTReason = .success, sessionPresent: Bool = false) {
        self.reason = reason
        self.sessionPresent = sessionPresent
    }

    /// A CONNACK as a client receives it: texts are ranges into the machine's input.
    public struct Received: Equatable, Sendable {
        public var reason: MQTTReason
        public var sessionPresent: Bool
        public var sessionExpiry: UInt32?
        public var receiveMaximum: UInt16?
        public var maximumQoS: UInt8?
        public var retainAvailable: Bool?
        public var packetSizeMax: UInt32?
        public var assignedClientID: ByteRange?
        public var topicAliasMax: UInt16?
        public var reasonText: ByteRange?
        public var wildcardAvailable: Bool?
        public var subscriptionIdentifiersAvailable: Bool?
        public var sharedAvailable: Bool?
        public var serverKeepAlive: UInt16?
        public var responseAddress: ByteRange?
        public var serverReference: ByteRange?
        public var authenticationMethod: ByteRange?
        public var authenticationData: ByteRange?
        /// v5: all properties, without their length.
        public var properties = ByteRange.empty
    }
}

extension MQTTConnack {
    func encode(_ version: MQTTVersion, peerSizeMax: UInt32, into output: inout ByteBuffer) {
        // [MQTT-3.2.2-6]; 3.1.1: [MQTT-3.2.2-4]: no session is present when the answer is no.
        let flags: UInt8 = sessionPresent && reason == .success && version != .v3_1 ? 1 : 0
        output.append(MQTTPacketType.connack << 4)
        guard version == .v5 else {
            output.append(2 as UInt8)
            output.append(flags)
            output.append(reason.returnCode)
            return
        }
        var properties = self.properties(withTexts: true)
        // [MQTT-3.2.2-19], [MQTT-3.2.2-20]: texts are left out rather than a packet sent that is too large.
        if MQTTEncoder.packetSize(remaining: 2 + properties.sizeWithLength) > Int(peerSizeMax) { properties = self.properties(withTexts: false) }
        output.append(variableByteInteger: 2 + properties.sizeWithLength)
        output.append(flags)
        output.append(reason.rawValue)
        output.append(properties)
    }

    private func properties(withTexts: Bool) -> MQTTPropertyWriter {
        var properties = MQTTPropertyWriter()
        if let sessionExpiry { properties.add(.sessionExpiryInterval, sessionExpiry) }
        if let receiveMaximum { properties.add(.receiveMaximum, UInt32(receiveMaximum)) }
        if let maximumQoS, maximumQoS < 2 { properties.add(.maximumQoS, UInt32(maximumQoS)) }
        if let retainAvailable { properties.add(.retainAvailable, retainAvailable) }
        if let packetSizeMax { properties.add(.maximumPacketSize, packetSizeMax) }
        if let assignedClientID { properties.add(.assignedClientIdentifier, assignedClientID.span) }
        if let topicAliasMax { properties.add(.topicAliasMaximum, UInt32(topicAliasMax)) }
        if let wildcardAvailable { properties.add(.wildcardSubscriptionAvailable, wildcardAvailable) }
        if let subscriptionIdentifiersAvailable { properties.add(.subscriptionIdentifierAvailable, subscriptionIdentifiersAvailable) }
        if let sharedAvailable { properties.add(.sharedSubscriptionAvailable, sharedAvailable) }
        if let serverKeepAlive { properties.add(.serverKeepAlive, UInt32(serverKeepAlive)) }
        if let responseAddress { properties.add(.responseInformation, responseAddress) }
        if let serverReference { properties.add(.serverReference, serverReference) }
        if let authenticationMethod { properties.add(.authenticationMethod, authenticationMethod.span) }
        if let authenticationData { properties.add(.authenticationData, authenticationData.span) }
        if withTexts, let reasonText { properties.add(.reasonString, reasonText) }
        if withTexts { properties.add(encoded: userProperties) }
        return properties
    }
}

extension MQTTConnack.Received {
    init(_ frame: MQTTFrame, in bytes: Span<UInt8>, version: MQTTVersion) throws(MQTTViolation) {
        var reader = frame.reader(in: bytes)
        let flags = try reader.byte()
        let code = try reader.byte()
        // 3.1 leaves the byte open.
        guard flags <= 1 || version == .v3_1 else { throw .malformed(.connackFlags) }
        sessionPresent = flags == 1 && version != .v3_1
        reason = .success
        if version != .v5 || frame.count == 2 && code == 1 {
            // A server that knows 3.1.1 alone refuses a v5 CONNECT in its own form: code 1 without properties.
            guard let reason = MQTTReason(returnCode: code) else { throw .malformed(.reasonCode) }
            self.reason = reason
        } else {
            reason = MQTTReason(rawValue: code)
            guard reason.fitsConnack else { throw .protocolError(.reasonCode) }
            properties = try reader.properties()
            try readProperties(in: bytes)
        }
        if sessionPresent, reason != .success { throw .protocolError(.connackFlags) }
        try reader.end()
    }

    private mutating func readProperties(in bytes: Span<UInt8>) throws(MQTTViolation) {
        var walk = MQTTCheckedProperties(properties, in: bytes, at: .connack)
        while let property = try walk.next() {
            switch property.identifier {
            case .sessionExpiryInterval: sessionExpiry = property.number
            case .receiveMaximum: receiveMaximum = UInt16(property.number)
            case .maximumQoS: maximumQoS = UInt8(property.number)
            case .retainAvailable: retainAvailable = property.number == 1
            case .maximumPacketSize: packetSizeMax = property.number
            case .assignedClientIdentifier: assignedClientID = property.text
            case .topicAliasMaximum: topicAliasMax = UInt16(property.number)
            case .reasonString: reasonText = property.text
            case .wildcardSubscriptionAvailable: wildcardAvailable = property.number == 1
            case .subscriptionIdentifierAvailable: subscriptionIdentifiersAvailable = property.number == 1
            case .sharedSubscriptionAvailable: sharedAvailable = property.number == 1
            case .serverKeepAlive: serverKeepAlive = UInt16(property.number)
            case .responseInformation: responseAddress = property.text
            case .serverReference: serverReference = property.text
            case .authenticationMethod: authenticationMethod = property.text
            case .authenticationData: authenticationData = property.text
            default: break
            }
        }
    }

    public func owned(in bytes: Span<UInt8>) -> MQTTConnack {
        var connack = MQTTConnack(reason: reason, sessionPresent: sessionPresent)
        connack.sessionExpiry = sessionExpiry
        connack.receiveMaximum = receiveMaximum
        connack.maximumQoS = maximumQoS
        connack.retainAvailable = retainAvailable
        connack.packetSizeMax = packetSizeMax
        if let assignedClientID { connack.assignedClientID = bytes.at(assignedClientID).array }
        connack.topicAliasMax = topicAliasMax
        if let reasonText { connack.reasonText = bytes.at(reasonText).text }
        connack.wildcardAvailable = wildcardAvailable
        connack.subscriptionIdentifiersAvailable = subscriptionIdentifiersAvailable
        connack.sharedAvailable = sharedAvailable
        connack.serverKeepAlive = serverKeepAlive
        if let responseAddress { connack.responseAddress = bytes.at(responseAddress).text }
        if let serverReference { connack.serverReference = bytes.at(serverReference).text }
        if let authenticationMethod { connack.authenticationMethod = bytes.at(authenticationMethod).array }
        if let authenticationData { connack.authenticationData = bytes.at(authenticationData).array }
        connack.userProperties = bytes.copyProperties(properties) { $0 == .userProperty }
        return connack
    }
}
