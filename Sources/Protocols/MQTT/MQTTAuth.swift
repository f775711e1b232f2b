public import MartletBytes

/// An AUTH packet (MQTT 5.0 section 3.15): ranges into the machine's input. One step of an enhanced authentication (section 4.12).
public struct MQTTAuth: Equatable, Sendable {
    /// Success (server), continue authentication (both), or re-authenticate (client).
    public var reason = MQTTReason.success
    /// The same as CONNECT's. Empty in the shortest form alone, a server's plain success.
    public var method = ByteRange.empty
    public var data: ByteRange?
    /// The reason string; empty: none.
    public var text = ByteRange.empty
    /// All properties, without their length.
    public var properties = ByteRange.empty

    /// An AUTH with bytes of its own.
    public struct Owned: Equatable, Sendable {
        public var reason: MQTTReason
        public var method: [UInt8]
        public var data: [UInt8]?
        public var text: String
        /// User properties as they are encoded.
        public var userProperties: [UInt8]

        public init(reason: MQTTReason, method: [UInt8], data: [UInt8]? = nil, text: String = "", userProperties: [UInt8] = []) {
            self.reason = reason
            self.method = method
            self.data = data
            self.text = text
            self.userProperties = userProperties
        }
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        Owned(
            reason: reason, method: bytes.at(method).array, data: data.map { bytes.at($0).array }, text: bytes.at(text).text,
            userProperties: bytes.copyProperties(properties) { $0 == .userProperty })
    }
}

/// Whose turn it is in an enhanced authentication. A server that has the turn ends it too.
enum MQTTAuthTurn: UInt8 { case nobody, client, server }

extension MQTTAuth {
    init(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) {
        // Section 3.15.2.1: reason and properties are left out together.
        if frame.count == 0 { return }
        var reader = frame.reader(in: bytes)
        reason = MQTTReason(rawValue: try reader.byte())
        guard reason.fitsAuth else { throw .protocolError(.reasonCode) }
        properties = try reader.properties()
        var walk = MQTTCheckedProperties(properties, in: bytes, at: .auth)
        while let property = try walk.next() {
            switch property.identifier {
            case .authenticationMethod: method = property.text
            case .authenticationData: data = property.text
            case .reasonString: text = property.text
            default: break
            }
        }
        guard walk.has(.authenticationMethod) else { throw .protocolError(.authenticationMethod) }
        try reader.end()
    }
}

extension MQTTAuth.Owned {
    /// [MQTT-3.15.2-2], [MQTT-3.15.2-3]: texts are left out rather than a packet sent that is too large.
    func encode(peerSizeMax: UInt32, withTexts: Bool, into output: inout ByteBuffer) throws(MQTTMisuse) {
        guard method.count <= 65_535, (data ?? []).count <= 65_535 else { throw .fieldTooLong }
        try userProperties.checkProperties(at: .auth)
        var properties = self.properties(withTexts: withTexts)
        if MQTTEncoder.packetSize(remaining: 1 + properties.sizeWithLength) > Int(peerSizeMax) { properties = self.properties(withTexts: false) }
        let size = 1 + properties.sizeWithLength
        guard MQTTEncoder.packetSize(remaining: size) <= Int(peerSizeMax) else { throw .packetTooLarge }
        output.append(MQTTPacketType.auth << 4)
        output.append(variableByteInteger: size)
        output.append(reason.rawValue)
        output.append(properties)
    }

    private func properties(withTexts: Bool) -> MQTTPropertyWriter {
        var properties = MQTTPropertyWriter()
        properties.add(.authenticationMethod, method.span)
        if let data { properties.add(.authenticationData, data.span) }
        if withTexts, !text.isEmpty { properties.add(.reasonString, text) }
        if withTexts { properties.add(encoded: userProperties) }
        return properties
    }
}
