public import MartletBytes

/// Walks the topic filters of a SUBSCRIBE or UNSUBSCRIBE that a machine has accepted. Ranges speak of `bytes`, the machine's input.
///
/// Invariant: bytes that no machine has checked end the walk early; they never trap.
public struct MQTTFilterCursor: ~Escapable {
    private var reader: ByteReader
    private let hasOptions: Bool

    @_lifetime(copy bytes)
    public init(subscribe filters: ByteRange, in bytes: Span<UInt8>) { self.init(filters, in: bytes, hasOptions: true) }

    @_lifetime(copy bytes)
    public init(unsubscribe filters: ByteRange, in bytes: Span<UInt8>) { self.init(filters, in: bytes, hasOptions: false) }

    @_lifetime(copy bytes)
    private init(_ filters: ByteRange, in bytes: Span<UInt8>, hasOptions: Bool) {
        let isInside = filters.end <= bytes.count
        reader = ByteReader(bytes.extracting(0..<(isInside ? filters.end : 0)), offset: isInside ? Int(filters.start) : 0)
        self.hasOptions = hasOptions
    }

    /// The options of an UNSUBSCRIBE are zero.
    @_lifetime(self: copy self)
    public mutating func next() -> (filter: ByteRange, options: MQTTSubscriptionOptions)? {
        guard let count = reader.readUInt16(), let filter = reader.readRange(Int(count)) else { return nil }
        guard hasOptions else { return (filter, MQTTSubscriptionOptions(rawValue: 0)) }
        guard let options = reader.readUInt8() else { return nil }
        return (filter, MQTTSubscriptionOptions(rawValue: options))
    }
}

/// The options byte behind a topic filter (MQTT 5.0 section 3.8.3.1). MQTT 3.1.1 knows the QoS alone.
/// ```
/// | 7 6 reserved | 5 4 retain handling | 3 retain as published | 2 no local | 1 0 QoS |
/// ```
public struct MQTTSubscriptionOptions: RawRepresentable, Equatable, Sendable {
    public var rawValue: UInt8

    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }

    public init(qos: UInt8, noLocal: Bool = false, retainAsPublished: Bool = false, retainHandling: UInt8 = 0) {
        rawValue = qos & 3 | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling & 3) << 4
    }

    @inlinable public var qos: UInt8 { rawValue & 3 }
    @inlinable public var noLocal: Bool { rawValue & 4 != 0 }
    @inlinable public var retainAsPublished: Bool { rawValue & 8 != 0 }
    /// 0: send retained messages; 1: only if the subscription is new; 2: do not.
    @inlinable public var retainHandling: UInt8 { rawValue >> 4 & 3 }

    /// [MQTT-3.8.3-5] and section 3.8.3.1; 3.1.1: [MQTT-3-8.3-4].
    func isLegal(_ version: MQTTVersion) -> Bool {
        qos < 3 && (version == .v5 ? rawValue & 0xC0 == 0 && retainHandling < 3 : rawValue & 0xFC == 0)
    }
}

/// A topic filter with its options, owning its bytes.
public struct MQTTSubscription: Equatable, Sendable {
    public var filter: [UInt8]
    public var options: MQTTSubscriptionOptions

    public init(filter: [UInt8], options: MQTTSubscriptionOptions) {
        self.filter = filter
        self.options = options
    }
}

/// SUBSCRIBE and UNSUBSCRIBE behind the fixed header.
struct MQTTFilterList {
    var packetIdentifier: UInt16
    /// 0: none.
    var subscriptionIdentifier: UInt32 = 0
    var filters: ByteRange

    init(_ frame: MQTTFrame, in bytes: Span<UInt8>, version: MQTTVersion, levelsMax: UInt16) throws(MQTTViolation) {
        var reader = frame.reader(in: bytes)
        let subscribes = frame.type == MQTTPacketType.subscribe
        packetIdentifier = try reader.packetIdentifier()
        if version == .v5 {
            let properties = try reader.properties()
            var walk = MQTTCheckedProperties(properties, in: bytes, at: subscribes ? .subscribe : .unsubscribe)
            while let property = try walk.next() {
                if property.identifier == .subscriptionIdentifier { subscriptionIdentifier = property.number }
            }
        }
        filters = ByteRange(reader.offset, reader.remaining)
        guard !reader.isAtEnd else { throw .protocolError(.noTopicFilter) }
        while !reader.isAtEnd {
            let filter = bytes.at(try reader.binary())
            try MQTTText.checkTopicFilter(filter, version: version, levelsMax: levelsMax)
            guard subscribes else { continue }
            let options = MQTTSubscriptionOptions(rawValue: try reader.byte())
            guard options.isLegal(version) else { throw .malformed(.subscriptionOptions) }
            if options.noLocal, MQTTText.isShared(filter) { throw .protocolError(.noLocalShared) }
        }
    }
}
