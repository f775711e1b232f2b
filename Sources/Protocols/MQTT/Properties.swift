public import MartletBytes

/// One v5 property where it lies. Which fields mean something depends on `identifier.form`.
public struct MQTTProperty: Equatable, Sendable {
    public var identifier: MQTTPropertyIdentifier
    /// The value of a number (one, two or four bytes, or a variable byte integer).
    public var number: UInt32
    /// The value of a text or of binary data; the name of a user property.
    public var text: ByteRange
    /// The value of a user property.
    public var value: ByteRange
    /// The whole property, identifier included: what a forwarder copies.
    public var whole: ByteRange

    /// Where the value begins: of a number its first byte, of a text its length. A copy of a number can be patched there.
    public var valueOffset: Int { Int(whole.start) + 1 }
}

/// The properties of MQTT 5.0 (table 2-4).
public enum MQTTPropertyIdentifier: UInt8, Sendable {
    case payloadFormatIndicator = 0x01
    case messageExpiryInterval = 0x02
    case contentType = 0x03
    case responseTopic = 0x08
    case correlationData = 0x09
    case subscriptionIdentifier = 0x0B
    case sessionExpiryInterval = 0x11
    case assignedClientIdentifier = 0x12
    case serverKeepAlive = 0x13
    case authenticationMethod = 0x15
    case authenticationData = 0x16
    case requestProblemInformation = 0x17
    case willDelayInterval = 0x18
    case requestResponseInformation = 0x19
    case responseInformation = 0x1A
    case serverReference = 0x1C
    case reasonString = 0x1F
    case receiveMaximum = 0x21
    case topicAliasMaximum = 0x22
    case topicAlias = 0x23
    case maximumQoS = 0x24
    case retainAvailable = 0x25
    case userProperty = 0x26
    case maximumPacketSize = 0x27
    case wildcardSubscriptionAvailable = 0x28
    case subscriptionIdentifierAvailable = 0x29
    case sharedSubscriptionAvailable = 0x2A

    public enum Form: Sendable { case byte, uint16, uint32, variableByteInteger, text, binary, pair }

    public var form: Form {
        switch self {
        case .payloadFormatIndicator, .requestProblemInformation, .requestResponseInformation, .maximumQoS, .retainAvailable,
            .wildcardSubscriptionAvailable, .subscriptionIdentifierAvailable, .sharedSubscriptionAvailable:
            .byte
        case .serverKeepAlive, .receiveMaximum, .topicAliasMaximum, .topicAlias: .uint16
        case .messageExpiryInterval, .sessionExpiryInterval, .willDelayInterval, .maximumPacketSize: .uint32
        case .subscriptionIdentifier: .variableByteInteger
        case .contentType, .responseTopic, .assignedClientIdentifier, .authenticationMethod, .responseInformation, .serverReference, .reasonString: .text
        case .correlationData, .authenticationData: .binary
        case .userProperty: .pair
        }
    }

    /// The packets that may carry it.
    var places: MQTTPropertyPlace {
        switch self {
        case .payloadFormatIndicator, .messageExpiryInterval, .contentType, .responseTopic, .correlationData: [.publishToServer, .publishToClient, .will]
        case .subscriptionIdentifier: [.publishToClient, .subscribe]
        case .sessionExpiryInterval: [.connect, .connack, .disconnectFromClient]
        case .assignedClientIdentifier, .serverKeepAlive, .responseInformation, .maximumQoS, .retainAvailable,
            .wildcardSubscriptionAvailable, .subscriptionIdentifierAvailable, .sharedSubscriptionAvailable:
            .connack
        case .authenticationMethod, .authenticationData: [.connect, .connack, .auth]
        case .receiveMaximum, .topicAliasMaximum, .maximumPacketSize: [.connect, .connack]
        case .requestProblemInformation, .requestResponseInformation: .connect
        case .willDelayInterval: .will
        case .serverReference: [.connack, .disconnectFromServer]
        case .reasonString: [.connack, .acknowledgement, .disconnectFromClient, .disconnectFromServer, .auth]
        case .topicAlias: [.publishToServer, .publishToClient]
        case .userProperty: .everywhere
        }
    }
}

/// Where properties stand. PUBLISH and DISCONNECT differ by direction: a client must not send subscription identifiers
/// [MQTT-3.3.4-6], a server no session expiry [MQTT-3.14.2-2].
struct MQTTPropertyPlace: OptionSet, Sendable {
    var rawValue: UInt16
    static var connect: Self { Self(rawValue: 1) }
    static var connack: Self { Self(rawValue: 2) }
    static var will: Self { Self(rawValue: 4) }
    static var publishToServer: Self { Self(rawValue: 8) }
    static var publishToClient: Self { Self(rawValue: 16) }
    /// PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK.
    static var acknowledgement: Self { Self(rawValue: 32) }
    static var subscribe: Self { Self(rawValue: 64) }
    static var unsubscribe: Self { Self(rawValue: 128) }
    static var disconnectFromClient: Self { Self(rawValue: 256) }
    static var disconnectFromServer: Self { Self(rawValue: 512) }
    static var auth: Self { Self(rawValue: 1024) }
    static var everywhere: Self { Self(rawValue: 2047) }
}

/// Walks the properties of a packet that a machine has accepted. Ranges speak of `bytes`, the machine's input.
///
/// Invariant: bytes that no machine has checked end the walk early; they never trap.
/// Not here: whether a property may stand where it does (the machine has seen to that).
public struct MQTTPropertyCursor: ~Escapable {
    private var reader: ByteReader

    @_lifetime(copy bytes)
    public init(_ properties: ByteRange, in bytes: Span<UInt8>) {
        let isInside = properties.end <= bytes.count
        reader = ByteReader(bytes.extracting(0..<(isInside ? properties.end : 0)), offset: isInside ? Int(properties.start) : 0)
    }

    /// The first property of this kind from here on, e.g. the message expiry interval that a forwarder lowers (section 3.3.2.3.3).
    @_lifetime(self: copy self)
    public mutating func first(_ identifier: MQTTPropertyIdentifier) -> MQTTProperty? {
        while let property = next() { if property.identifier == identifier { return property } }
        return nil
    }

    @_lifetime(self: copy self)
    public mutating func next() -> MQTTProperty? {
        do { return try nextChecked() } catch { return nil }
    }

    /// The next property, its bytes read and its text checked; `nil` at the end.
    @_lifetime(self: copy self)
    mutating func nextChecked() throws(MQTTViolation) -> MQTTProperty? {
        if reader.isAtEnd { return nil }
        let start = reader.offset
        let number = try reader.variableByteInteger()
        guard let raw = UInt8(exactly: number), let identifier = MQTTPropertyIdentifier(rawValue: raw) else { throw .malformed(.unknownProperty) }
        var property = MQTTProperty(identifier: identifier, number: 0, text: .empty, value: .empty, whole: .empty)
        switch identifier.form {
        case .byte: property.number = UInt32(try reader.byte())
        case .uint16: property.number = UInt32(try reader.uint16())
        case .uint32: property.number = try reader.uint32()
        case .variableByteInteger: property.number = UInt32(try reader.variableByteInteger())
        case .text: property.text = try reader.text()
        case .binary: property.text = try reader.binary()
        case .pair:
            property.text = try reader.text()
            property.value = try reader.text()
        }
        property.whole = ByteRange(start, reader.offset - start)
        return property
    }
}

/// Walks properties and judges each: known, at its place, not twice, its value in range.
struct MQTTCheckedProperties: ~Escapable {
    private var cursor: MQTTPropertyCursor
    private let bytes: Span<UInt8>
    private let place: MQTTPropertyPlace
    private var seen: UInt64 = 0

    @_lifetime(copy bytes)
    init(_ properties: ByteRange, in bytes: Span<UInt8>, at place: MQTTPropertyPlace) {
        cursor = MQTTPropertyCursor(properties, in: bytes)
        self.bytes = bytes
        self.place = place
    }

    @_lifetime(self: copy self)
    mutating func next() throws(MQTTViolation) -> MQTTProperty? {
        guard let property = try cursor.nextChecked() else {
            // [MQTT-4.12.0]: data belongs to a method.
            if has(.authenticationData), !has(.authenticationMethod) { throw .protocolError(.authenticationData) }
            return nil
        }
        let identifier = property.identifier
        guard !identifier.places.isDisjoint(with: place) else { throw .protocolError(.misplacedProperty) }
        if has(identifier), identifier != .userProperty, identifier != .subscriptionIdentifier || place != .publishToClient {
            throw .protocolError(.repeatedProperty)
        }
        seen |= 1 << UInt64(identifier.rawValue)
        try checkValue(property)
        return property
    }

    func has(_ identifier: MQTTPropertyIdentifier) -> Bool { seen >> UInt64(identifier.rawValue) & 1 == 1 }

    private func checkValue(_ property: MQTTProperty) throws(MQTTViolation) {
        switch property.identifier {
        case .receiveMaximum, .maximumPacketSize, .subscriptionIdentifier:
            guard property.number > 0 else { throw .protocolError(.propertyValue) }
        case .topicAlias:
            guard property.number > 0 else { throw .topicAliasInvalid }
        case .responseTopic:
            guard !property.text.isEmpty else { throw .topicNameInvalid }
            try MQTTText.checkTopicName(bytes, property.text, levelsMax: .max)
        default:
            guard property.identifier.form != .byte || property.number <= 1 else { throw .protocolError(.propertyValue) }
        }
    }

    /// Judges all of them, for packets whose properties say nothing to the machine.
    static func check(_ properties: ByteRange, in bytes: Span<UInt8>, at place: MQTTPropertyPlace) throws(MQTTViolation) {
        if properties.isEmpty { return }
        var walk = MQTTCheckedProperties(properties, in: bytes, at: place)
        while try walk.next() != nil {}
    }
}
