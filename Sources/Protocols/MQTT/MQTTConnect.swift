public import MartletBytes

/// A CONNECT packet: ranges into the machine's input.
///
/// Invariant: what versions before v5 have no field for holds the value that v5 gives as equal: a clean session ends with its connection
/// (`sessionExpiry` 0), another never (`.max`).
public struct MQTTConnect: Equatable, Sendable {
    public var version: MQTTVersion
    /// The level byte's high bit: the client is another server's bridge. (mosquitto's bridges say so, in v3.1 and v3.1.1.)
    public var isBridge: Bool
    /// Before v5: Clean Session.
    public var cleanStart: Bool
    /// Seconds; 0: none.
    public var keepAlive: UInt16
    /// Empty: the server is to assign one.
    public var clientID: ByteRange
    public var userName: ByteRange?
    public var password: ByteRange?
    public var will: MQTTWill?
    /// Seconds; `.max`: never.
    public var sessionExpiry: UInt32
    public var receiveMaximum: UInt16 = .max
    /// The largest packet the client takes.
    public var packetSizeMax: UInt32 = .max
    public var topicAliasMax: UInt16 = 0
    /// v5's Request Problem Information: reason strings are welcome in all packets.
    public var requestsProblemText = true
    /// v5's Request Response Information.
    public var requestsResponseAddress = false
    /// v5: who speaks an enhanced authentication answers with AUTH (section 4.12); others refuse with "bad authentication method".
    public var authenticationMethod: ByteRange?
    public var authenticationData: ByteRange?
    /// v5: without their length; all checked. Before: empty.
    public var properties: ByteRange
}

/// The will of a CONNECT packet: ranges into the machine's input.
public struct MQTTWill: Equatable, Sendable {
    public var topic: ByteRange
    public var payload: ByteRange
    /// v5: without their length, the delay among them.
    public var properties: ByteRange
    public var delaySeconds: UInt32
    public var qos: UInt8
    public var retain: Bool
}

/// The byte of flags in CONNECT's variable header (section 3.1.2.3).
/// ```
/// | 7 user name | 6 password | 5 will retain | 4 3 will QoS | 2 will | 1 clean start | 0 reserved |
/// ```
struct MQTTConnectFlags {
    var rawValue: UInt8
    var cleanStart: Bool { rawValue & 0x02 != 0 }
    var hasWill: Bool { rawValue & 0x04 != 0 }
    var willQoS: UInt8 { rawValue >> 3 & 3 }
    var willRetain: Bool { rawValue & 0x20 != 0 }
    var hasPassword: Bool { rawValue & 0x40 != 0 }
    var hasUserName: Bool { rawValue & 0x80 != 0 }

    /// [MQTT-3.1.2-3], [MQTT-3.1.2-11], [MQTT-3.1.2-12], [MQTT-3.1.2-13]; 3.1.1: [MQTT-3.1.2-22], a password needs a user name.
    func isLegal(_ version: MQTTVersion) -> Bool {
        rawValue & 1 == 0 && willQoS < 3 && (hasWill || rawValue & 0x38 == 0) && (version == .v5 || hasUserName || !hasPassword)
    }
}

extension MQTTConnect {
    /// The protocol level, behind the protocol name [MQTT-3.1.2-1]. MQTT 3.1 has a name of its own, "MQIsdp".
    static func readLevel(_ frame: MQTTFrame, in bytes: Span<UInt8>) throws(MQTTViolation) -> (level: UInt8, version: MQTTVersion?) {
        var reader = frame.reader(in: bytes)
        let name = bytes.at(try reader.binary())
        let current = protocolName
        let old = oldProtocolName
        let isCurrent = name.equals(current.span)
        guard isCurrent || name.equals(old.span) else { throw .malformed(.protocolName) }
        let level = try reader.byte()
        switch level {
        case 3, 0x83: return (level, isCurrent ? nil : .v3_1)
        case _ where !isCurrent: throw .malformed(.protocolName)
        case 4, 0x84: return (level, .v3_1_1)
        default: return (level, level == 5 ? .v5 : nil)
        }
    }

    static func protocolName(_ version: MQTTVersion) -> [UInt8] { version == .v3_1 ? oldProtocolName : protocolName }
    private static let protocolName: [UInt8] = Array("MQTT".utf8)
    private static let oldProtocolName: [UInt8] = Array("MQIsdp".utf8)

    /// Name and level have been judged.
    init(_ frame: MQTTFrame, in bytes: Span<UInt8>, version: MQTTVersion, levelsMax: UInt16) throws(MQTTViolation) {
        var reader = frame.reader(in: bytes)
        reader.offset += version == .v3_1 ? 9 : 7
        isBridge = bytes[reader.offset - 1] >= 0x80
        let flags = MQTTConnectFlags(rawValue: try reader.byte())
        guard flags.isLegal(version) else { throw .malformed(.connectFlags) }
        self.version = version
        cleanStart = flags.cleanStart
        keepAlive = try reader.uint16()
        sessionExpiry = version == .v5 || flags.cleanStart ? 0 : .max
        properties = version == .v5 ? try reader.properties() : .empty
        clientID = .empty
        try readProperties(in: bytes)
        clientID = try reader.text()
        // 3.1 asks for 1 to 23 characters (section 3.1); longer ones are taken, as elsewhere.
        if clientID.isEmpty, version == .v3_1 || version == .v3_1_1 && !cleanStart { throw .clientIdentifierNotValid }
        if flags.hasWill {
            will = try Self.readWill(&reader, flags, version: version, levelsMax: levelsMax)
        }
        // 3.1, section 3.1: the remaining length takes precedence over these flags.
        let mayEnd = version == .v3_1
        if flags.hasUserName, !(mayEnd && reader.isAtEnd) { userName = try reader.text() }
        if flags.hasPassword, !(mayEnd && reader.isAtEnd) { password = try reader.binary() }
        try reader.end()
    }

    private mutating func readProperties(in bytes: Span<UInt8>) throws(MQTTViolation) {
        var walk = MQTTCheckedProperties(properties, in: bytes, at: .connect)
        while let property = try walk.next() {
            switch property.identifier {
            case .sessionExpiryInterval: sessionExpiry = property.number
            case .receiveMaximum: receiveMaximum = UInt16(property.number)
            case .maximumPacketSize: packetSizeMax = property.number
            case .topicAliasMaximum: topicAliasMax = UInt16(property.number)
            case .requestProblemInformation: requestsProblemText = property.number == 1
            case .requestResponseInformation: requestsResponseAddress = property.number == 1
            case .authenticationMethod: authenticationMethod = property.text
            case .authenticationData: authenticationData = property.text
            default: break
            }
        }
    }

    private static func readWill(
        _ reader: inout ByteReader, _ flags: MQTTConnectFlags, version: MQTTVersion, levelsMax: UInt16
    ) throws(MQTTViolation) -> MQTTWill {
        let properties = version == .v5 ? try reader.properties() : .empty
        var delay: UInt32 = 0
        var walk = MQTTCheckedProperties(properties, in: reader.bytes, at: .will)
        while let property = try walk.next() {
            if property.identifier == .willDelayInterval { delay = property.number }
        }
        let topic = try reader.topicName(levelsMax: levelsMax)
        let payload = try reader.binary()
        return MQTTWill(topic: topic, payload: payload, properties: properties, delaySeconds: delay, qos: flags.willQoS, retain: flags.willRetain)
    }
}

extension Span where Element == UInt8 {
    /// The encoded properties at `range` that `isWanted`, copied.
    func copyProperties(_ range: ByteRange, where isWanted: (MQTTPropertyIdentifier) -> Bool) -> [UInt8] {
        var result: [UInt8] = []
        var cursor = MQTTPropertyCursor(range, in: self)
        while let property = cursor.next() {
            if isWanted(property.identifier) { result += at(property.whole).array }
        }
        return result
    }
}

extension MQTTConnect {
    public func owned(in bytes: Span<UInt8>) -> MQTTConnectOptions {
        var options = MQTTConnectOptions(version: version, clientID: bytes.at(clientID).array)
        options.cleanStart = cleanStart
        options.keepAlive = keepAlive
        if let userName { options.userName = bytes.at(userName).array }
        if let password { options.password = bytes.at(password).array }
        if let will {
            options.will = MQTTConnectOptions.Will(
                topic: bytes.at(will.topic).array, payload: bytes.at(will.payload).array, qos: will.qos, retain: will.retain, delaySeconds: will.delaySeconds,
                properties: bytes.copyProperties(will.properties) { $0 != .willDelayInterval })
        }
        options.sessionExpiry = sessionExpiry
        options.receiveMaximum = receiveMaximum
        options.packetSizeMax = packetSizeMax
        options.topicAliasMax = topicAliasMax
        options.requestsProblemText = requestsProblemText
        options.requestsResponseAddress = requestsResponseAddress
        if let authenticationMethod { options.authenticationMethod = bytes.at(authenticationMethod).array }
        if let authenticationData { options.authenticationData = bytes.at(authenticationData).array }
        options.userProperties = bytes.copyProperties(properties) { $0 == .userProperty }
        return options
    }
}
