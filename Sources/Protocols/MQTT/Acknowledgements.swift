internal import MartletBytes

/// PUBACK, PUBREC, PUBREL or PUBCOMP behind the fixed header. v5 has three forms: identifier alone (success), with reason, with
/// reason and properties.
struct MQTTAcknowledgement {
    var packetIdentifier: UInt16
    var reason = MQTTReason.success

    @inline(__always)
    init(_ frame: MQTTFrame, in bytes: Span<UInt8>, version: MQTTVersion) throws(MQTTViolation) {
        guard frame.count >= 2 else { throw .malformed(.cutShort) }
        packetIdentifier = bytes.uint16(at: frame.body)
        guard packetIdentifier != 0 else { throw .malformed(.packetIdentifierZero) }
        if frame.count > 2 { reason = try Self.readReason(frame, in: bytes, version: version) }
    }

    @inline(never)
    private static func readReason(_ frame: MQTTFrame, in bytes: Span<UInt8>, version: MQTTVersion) throws(MQTTViolation) -> MQTTReason {
        guard version == .v5 else { throw .malformed(.trailingBytes) }
        var reader = frame.reader(in: bytes)
        reader.offset += 2
        let reason = MQTTReason(rawValue: try reader.byte())
        guard reason.fitsAcknowledgement(frame.type) else { throw .protocolError(.reasonCode) }
        if reader.isAtEnd { return reason }
        try MQTTCheckedProperties.check(try reader.properties(), in: bytes, at: .acknowledgement)
        try reader.end()
        return reason
    }
}

/// SUBACK and UNSUBACK behind the fixed header: a reason for each filter, but none in UNSUBACK before v5.
struct MQTTReasonList {
    var packetIdentifier: UInt16
    /// One byte each.
    var reasons: ByteRange

    init(_ frame: MQTTFrame, in bytes: Span<UInt8>, version: MQTTVersion) throws(MQTTViolation) {
        let answersSubscribe = frame.type == MQTTPacketType.suback
        var reader = frame.reader(in: bytes)
        packetIdentifier = try reader.packetIdentifier()
        if version == .v5 { try MQTTCheckedProperties.check(try reader.properties(), in: bytes, at: .acknowledgement) }
        reasons = ByteRange(reader.offset, reader.remaining)
        if version != .v5, !answersSubscribe {
            try reader.end()
            return
        }
        guard !reasons.isEmpty else { throw .protocolError(.noReasonCode) }
        while !reader.isAtEnd {
            let reason = MQTTReason(rawValue: try reader.byte())
            guard answersSubscribe ? reason.fitsSuback(version) : reason.fitsUnsuback else { throw .protocolError(.reasonCode) }
        }
    }
}

/// DISCONNECT behind the fixed header. v5 has three forms: nothing (normal), reason, reason and properties.
struct MQTTDisconnect {
    var reason = MQTTReason.success
    var sessionExpiry: UInt32?
    var text = ByteRange.empty
    var serverReference = ByteRange.empty

    init(_ frame: MQTTFrame, in bytes: Span<UInt8>, version: MQTTVersion, place: MQTTPropertyPlace) throws(MQTTViolation) {
        if frame.count == 0 { return }
        guard version == .v5 else { throw .malformed(.trailingBytes) }
        var reader = frame.reader(in: bytes)
        reason = MQTTReason(rawValue: try reader.byte())
        guard reason.fitsDisconnect else { throw .protocolError(.reasonCode) }
        if reader.isAtEnd { return }
        var walk = MQTTCheckedProperties(try reader.properties(), in: bytes, at: place)
        while let property = try walk.next() {
            if property.identifier == .sessionExpiryInterval { sessionExpiry = property.number }
            if property.identifier == .reasonString { text = property.text }
            if property.identifier == .serverReference { serverReference = property.text }
        }
        try reader.end()
    }
}
