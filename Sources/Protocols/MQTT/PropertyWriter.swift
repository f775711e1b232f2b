internal import MartletBytes

/// Collects the v5 properties of one packet, whose length stands before them. Not for PUBLISH, whose properties come encoded.
struct MQTTPropertyWriter: ~Copyable {
    private(set) var bytes = ByteBuffer()

    mutating func add(_ identifier: MQTTPropertyIdentifier, _ number: UInt32) { bytes.append(property: identifier, number) }

    mutating func add(_ identifier: MQTTPropertyIdentifier, _ flag: Bool) { add(identifier, flag ? 1 as UInt32 : 0) }

    mutating func add(_ identifier: MQTTPropertyIdentifier, _ text: Span<UInt8>) {
        bytes.append(identifier.rawValue)
        bytes.append(field: text)
    }

    /// Cut at 65,535 bytes, between characters.
    mutating func add(_ identifier: MQTTPropertyIdentifier, _ text: String) {
        var kept = text
        while kept.utf8.count > 65_535 { kept.removeLast() }
        let bytes = Array(kept.utf8)
        add(identifier, bytes.span)
    }

    /// Properties that are encoded already.
    mutating func add(encoded properties: [UInt8]) { bytes.append(properties.span) }

    /// The bytes that length and properties take.
    var sizeWithLength: Int { bytes.count + MQTTEncoder.sizeOfVariableByteInteger(bytes.count) }
}

extension ByteBuffer {
    mutating func append(property identifier: MQTTPropertyIdentifier, _ number: UInt32) {
        append(identifier.rawValue)
        switch identifier.form {
        case .byte: append(UInt8(truncatingIfNeeded: number))
        case .uint16: append(UInt16(truncatingIfNeeded: number))
        case .variableByteInteger: append(variableByteInteger: Int(number))
        default: append(number)
        }
    }

    mutating func append(variableByteInteger value: Int) {
        var rest = value
        while rest >= 128 {
            append(UInt8(rest & 127) | 128)
            rest >>= 7
        }
        append(UInt8(rest))
    }

    /// A two-byte length and the bytes: text or binary data. Longer fields than 65,535 are the caller's to refuse.
    mutating func append(field bytes: Span<UInt8>) {
        append(UInt16(truncatingIfNeeded: bytes.count))
        append(bytes)
    }

    mutating func append(_ properties: borrowing MQTTPropertyWriter) {
        append(variableByteInteger: properties.bytes.count)
        append(properties.bytes.span)
    }
}
