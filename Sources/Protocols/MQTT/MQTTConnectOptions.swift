internal import MartletBytes

/// What a client says in CONNECT, owning its bytes.
public struct MQTTConnectOptions: Equatable, Sendable {
    public var version: MQTTVersion
    public var cleanStart = true
    /// Seconds; 0: none.
    public var keepAlive: UInt16 = 60
    public var clientID: [UInt8]
    public var userName: [UInt8]?
    public var password: [UInt8]?
    public var will: Will?
    /// Seconds; `.max`: never. Before v5 it follows from `cleanStart`.
    public var sessionExpiry: UInt32 = 0
    public var receiveMaximum: UInt16 = .max
    /// The machine lowers it to its own limit.
    public var packetSizeMax: UInt32 = .max
    public var topicAliasMax: UInt16 = 0
    public var requestsProblemText = true
    public var requestsResponseAddress = false
    /// UTF-8, v5 alone: asks for an enhanced authentication (section 4.12).
    public var authenticationMethod: [UInt8]?
    /// Only with a method.
    public var authenticationData: [UInt8]?
    /// User properties as they are encoded, v5 alone.
    public var userProperties: [UInt8] = []

    public struct Will: Equatable, Sendable {
        public var topic: [UInt8]
        public var payload: [UInt8]
        public var qos: UInt8
        public var retain: Bool
        public var delaySeconds: UInt32
        /// The other will properties as they are encoded, v5 alone.
        public var properties: [UInt8]

        public init(topic: [UInt8], payload: [UInt8], qos: UInt8 = 0, retain: Bool = false, delaySeconds: UInt32 = 0, properties: [UInt8] = []) {
            self.topic = topic
            self.payload = payload
            self.qos = qos
            self.retain = retain
            self.delaySeconds = delaySeconds
            self.properties = properties
        }
    }

    public init(version: MQTTVersion = .v5, clientID: [UInt8]) {
        self.version = version
        self.clientID = clientID
    }
}

extension MQTTConnectOptions {
    private var flags: UInt8 {
        var flags: UInt8 = cleanStart ? 2 : 0
        if let will { flags |= 4 | (will.qos & 3) << 3 | (will.retain ? 0x20 : 0) }
        return flags | (password == nil ? 0 : 0x40) | (userName == nil ? 0 : 0x80)
    }

    /// Judges what the server would; the machine's caller is told before anything is written.
    private func check(levelsMax: UInt16) throws(MQTTMisuse) {
        let fields = [clientID, userName, password, will?.topic, will?.payload, authenticationMethod, authenticationData].map { $0 ?? [] }
        guard fields.allSatisfy({ $0.count <= 65_535 }) else { throw .fieldTooLong }
        let user = userName ?? []
        let method = authenticationMethod ?? []
        guard MQTTConnectFlags(rawValue: flags).isLegal(version), MQTTText.isText(clientID.span), MQTTText.isText(user.span),
            version == .v5 || !clientID.isEmpty || cleanStart && version != .v3_1, receiveMaximum > 0, packetSizeMax > 0,
            MQTTText.isText(method.span), authenticationMethod == nil ? authenticationData == nil : version == .v5
        else { throw .connectInvalid }
        try userProperties.checkProperties(at: .connect)
        guard let will else { return }
        guard !will.topic.isEmpty else { throw .topicNameInvalid }
        try will.topic.checkTopicName(levelsMax: levelsMax)
        try will.properties.checkProperties(at: .will)
    }

    func encode(levelsMax: UInt16, into output: inout ByteBuffer) throws(MQTTMisuse) {
        try check(levelsMax: levelsMax)
        var rest = ByteBuffer()
        let name = MQTTConnect.protocolName(version)
        rest.append(field: name.span)
        rest.append(version.rawValue)
        rest.append(flags)
        rest.append(keepAlive)
        if version == .v5 { rest.append(properties) }
        rest.append(field: clientID.span)
        if let will {
            if version == .v5 {
                var properties = MQTTPropertyWriter()
                if will.delaySeconds > 0 { properties.add(.willDelayInterval, will.delaySeconds) }
                properties.add(encoded: will.properties)
                rest.append(properties)
            }
            rest.append(field: will.topic.span)
            rest.append(field: will.payload.span)
        }
        if let userName { rest.append(field: userName.span) }
        if let password { rest.append(field: password.span) }
        output.append(MQTTPacketType.connect << 4)
        output.append(variableByteInteger: rest.count)
        output.append(rest.span)
    }

    /// Values that are the default anyway are left out.
    private var properties: MQTTPropertyWriter {
        var properties = MQTTPropertyWriter()
        if sessionExpiry > 0 { properties.add(.sessionExpiryInterval, sessionExpiry) }
        if receiveMaximum < .max { properties.add(.receiveMaximum, UInt32(receiveMaximum)) }
        if packetSizeMax < .max { properties.add(.maximumPacketSize, packetSizeMax) }
        if topicAliasMax > 0 { properties.add(.topicAliasMaximum, UInt32(topicAliasMax)) }
        if !requestsProblemText { properties.add(.requestProblemInformation, false) }
        if requestsResponseAddress { properties.add(.requestResponseInformation, true) }
        if let authenticationMethod { properties.add(.authenticationMethod, authenticationMethod.span) }
        if let authenticationData { properties.add(.authenticationData, authenticationData.span) }
        properties.add(encoded: userProperties)
        return properties
    }
}

/// The judgements of the decoder, held against what our own caller gives.
extension [UInt8] {
    func checkTopicName(levelsMax: UInt16) throws(MQTTMisuse) {
        guard count <= 65_535 else { throw .fieldTooLong }
        do { try MQTTText.checkTopicName(span, ByteRange(0, count), levelsMax: levelsMax) } catch { throw .topicNameInvalid }
    }

    func checkTopicFilter(version: MQTTVersion, levelsMax: UInt16) throws(MQTTMisuse) {
        guard count <= 65_535 else { throw .fieldTooLong }
        do { try MQTTText.checkTopicFilter(span, version: version, levelsMax: levelsMax) } catch { throw .topicFilterInvalid }
    }

    func checkProperties(at place: MQTTPropertyPlace) throws(MQTTMisuse) {
        do { try MQTTCheckedProperties.check(ByteRange(0, count), in: span, at: place) } catch { throw .propertiesInvalid }
    }
}
