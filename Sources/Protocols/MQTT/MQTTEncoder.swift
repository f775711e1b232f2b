public import MartletBytes

/// Packets to bytes, for both roles and all versions.
///
/// Fan-out uses `publish` directly: encode once, copy to many, patch the packet identifier of each copy.
/// Not here: who may send what when (the machines).
public enum MQTTEncoder {
    /// Appends one PUBLISH. Answers the offset of the packet identifier counted from the packet's first byte (0 with QoS 0), so
    /// that a copy can be patched. `properties` are encoded, without their length; MQTT 3.1.1 leaves them out.
    /// The topic has at most 65,535 bytes.
    @discardableResult
    public static func publish(
        version: MQTTVersion, topic: Span<UInt8>, properties: Span<UInt8>, payload: Span<UInt8>, qos: UInt8, packetIdentifier: UInt16,
        retain: Bool, duplicate: Bool, into output: inout ByteBuffer
    ) -> Int {
        write(
            version: version, topic: topic, prefix: Span(), properties: properties, payload: payload, qos: qos, packetIdentifier: packetIdentifier,
            retain: retain, duplicate: duplicate, into: &output)
    }

    /// The same, with encoded properties of the receiver's own (topic alias, subscription identifiers) in front of the message's.
    @discardableResult
    public static func publish(
        version: MQTTVersion, topic: Span<UInt8>, prefix: Span<UInt8>, properties: Span<UInt8>, payload: Span<UInt8>, qos: UInt8,
        packetIdentifier: UInt16, retain: Bool, duplicate: Bool, into output: inout ByteBuffer
    ) -> Int {
        write(
            version: version, topic: topic, prefix: prefix, properties: properties, payload: payload, qos: qos, packetIdentifier: packetIdentifier,
            retain: retain, duplicate: duplicate, into: &output)
    }

    /// Appends one property whose value is a number.
    public static func property(_ identifier: MQTTPropertyIdentifier, _ value: UInt32, into output: inout ByteBuffer) {
        output.append(property: identifier, value)
    }

    @inline(__always)
    private static func write(
        version: MQTTVersion, topic: Span<UInt8>, prefix: Span<UInt8>, properties: Span<UInt8>, payload: Span<UInt8>, qos: UInt8,
        packetIdentifier: UInt16, retain: Bool, duplicate: Bool, into output: inout ByteBuffer
    ) -> Int {
        let propertyCount = version == .v5 ? prefix.count + properties.count : -1
        let remaining = remainingLength(topicCount: topic.count, propertyCount: propertyCount, payloadCount: payload.count, qos: qos)
        let first = 0x30 | (duplicate ? 8 : 0) | (qos & 3) << 1 | (retain ? 1 : 0)
        var identifierOffset = 0
        output.write(capacity: remaining + 5) { writer in
            writer.write(first)
            writer.write(variableByteInteger: remaining)
            writer.write(UInt16(truncatingIfNeeded: topic.count))
            writer.write(topic)
            if qos > 0 {
                identifierOffset = writer.count
                writer.write(packetIdentifier)
            }
            if propertyCount >= 0 {
                writer.write(variableByteInteger: propertyCount)
                writer.write(prefix)
                writer.write(properties)
            }
            writer.write(payload)
        }
        return identifierOffset
    }

    /// The size of the packet that `publish` would append: what is held against the peer's maximum packet size.
    /// `propertyCount`: with the prefix.
    public static func publishSize(version: MQTTVersion, topicCount: Int, propertyCount: Int, payloadCount: Int, qos: UInt8) -> Int {
        packetSize(remaining: remainingLength(topicCount: topicCount, propertyCount: version == .v5 ? propertyCount : -1, payloadCount: payloadCount, qos: qos))
    }

    /// `propertyCount` is -1 in MQTT 3.1.1.
    @inline(__always)
    private static func remainingLength(topicCount: Int, propertyCount: Int, payloadCount: Int, qos: UInt8) -> Int {
        let properties = propertyCount < 0 ? 0 : propertyCount + sizeOfVariableByteInteger(propertyCount)
        return 2 + topicCount + (qos > 0 ? 2 : 0) + properties + payloadCount
    }

    @inline(__always)
    static func sizeOfVariableByteInteger(_ value: Int) -> Int { value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4 }

    static func packetSize(remaining: Int) -> Int { 1 + sizeOfVariableByteInteger(remaining) + remaining }

    /// PUBACK, PUBREC, PUBREL, PUBCOMP. Before v5 there is no word for a failure: whoever refuses a message there says nothing, or closes.
    @inline(__always)
    static func acknowledge(_ type: UInt8, _ version: MQTTVersion, _ identifier: UInt16, _ reason: MQTTReason, into output: inout ByteBuffer) {
        let short = version != .v5 || reason == .success
        output.write(capacity: 5) { writer in
            writer.write(type << 4 | (MQTTPacketType.reserves0010(type) ? 2 : 0))
            writer.write(short ? 2 as UInt8 : 3)
            writer.write(identifier)
            if !short { writer.write(reason.rawValue) }
        }
    }

    /// SUBACK and UNSUBACK. Before v5 any failure is 0x80, and UNSUBACK has no reasons.
    static func acknowledge(_ type: UInt8, _ version: MQTTVersion, _ identifier: UInt16, _ reasons: [MQTTReason], into output: inout ByteBuffer) {
        let listed = version == .v5 || type == MQTTPacketType.suback ? reasons.count : 0
        output.append(type << 4)
        output.append(variableByteInteger: 2 + (version == .v5 ? 1 : 0) + listed)
        output.append(identifier)
        if version == .v5 { output.append(0 as UInt8) }
        if listed == 0 { return }
        for reason in reasons { output.append(version != .v5 && reason.isFailure ? 0x80 : reason.rawValue) }
    }

    /// A v5 DISCONNECT with its properties; without properties the shorter forms (section 3.14.2.1).
    static func disconnect(_ reason: MQTTReason, _ properties: borrowing MQTTPropertyWriter, into output: inout ByteBuffer) {
        output.append(0xE0 as UInt8)
        if properties.bytes.isEmpty {
            output.append(reason == .success ? 0 as UInt8 : 1)
            if reason != .success { output.append(reason.rawValue) }
            return
        }
        output.append(variableByteInteger: 1 + properties.sizeWithLength)
        output.append(reason.rawValue)
        output.append(properties)
    }
}

extension ByteWriter {
    @inline(__always)
    mutating func write(variableByteInteger value: Int) {
        var rest = value
        while rest >= 128 {
            write(UInt8(truncatingIfNeeded: rest & 127) | 128)
            rest >>= 7
        }
        write(UInt8(truncatingIfNeeded: rest))
    }
}
