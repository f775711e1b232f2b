public import MartletBytes

/// What a server said. Ranges speak of the machine's input.
public enum MQTTClientEvent: ProtocolEvent {
    /// With any other reason than success the machine is closed.
    case connack(MQTTConnack.Received)
    case publish(MQTTPublish)
    case puback(packetIdentifier: UInt16, reason: MQTTReason)
    /// One byte a reason, in the order of the filters.
    case suback(packetIdentifier: UInt16, reasons: ByteRange)
    /// v3.1.1: no reasons.
    case unsuback(packetIdentifier: UInt16, reasons: ByteRange)
    case pingresp
    /// v5 alone. The machine is closed. `text` may be empty.
    case disconnect(reason: MQTTReason, text: ByteRange)

    public enum Owned: Equatable, Sendable {
        case connack(MQTTConnack)
        case publish(MQTTPublish.Owned)
        case puback(packetIdentifier: UInt16, reason: MQTTReason)
        case suback(packetIdentifier: UInt16, reasons: [MQTTReason])
        case unsuback(packetIdentifier: UInt16, reasons: [MQTTReason])
        case pingresp
        case disconnect(reason: MQTTReason, text: String)
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .connack(let connack): .connack(connack.owned(in: bytes))
        case .publish(let publish): .publish(publish.owned(in: bytes))
        case .puback(let identifier, let reason): .puback(packetIdentifier: identifier, reason: reason)
        case .suback(let identifier, let reasons): .suback(packetIdentifier: identifier, reasons: bytes.at(reasons).array.map(MQTTReason.init))
        case .unsuback(let identifier, let reasons): .unsuback(packetIdentifier: identifier, reasons: bytes.at(reasons).array.map(MQTTReason.init))
        case .pingresp: .pingresp
        case .disconnect(let reason, let text): .disconnect(reason: reason, text: bytes.at(text).text)
        }
    }
}

/// What a client says.
public enum MQTTClientOutgoing: Sendable {
    case connect(MQTTConnectOptions)
    case publish(MQTTPublish.Owned)
    case puback(packetIdentifier: UInt16, reason: MQTTReason)
    /// `subscriptionIdentifier` 0: none; v5 alone.
    case subscribe(packetIdentifier: UInt16, subscriptionIdentifier: UInt32, subscriptions: [MQTTSubscription])
    case unsubscribe(packetIdentifier: UInt16, filters: [[UInt8]])
    /// For callers who want to measure; the machine sends its own for keep-alive.
    case pingreq
    /// Closes the machine. v3.1.1 sends neither reason nor expiry.
    case disconnect(reason: MQTTReason, sessionExpiry: UInt32?)
}
