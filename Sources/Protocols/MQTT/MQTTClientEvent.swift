public import MartletBytes

/// What a server said. Ranges speak of the machine's input.
public enum MQTTClientEvent: ProtocolEvent {
    /// With any other reason than success the machine is closed.
    case connack(MQTTConnack.Received)
    case publish(MQTTPublish)
    case puback(packetIdentifier: UInt16, reason: MQTTReason)
    case pubrec(packetIdentifier: UInt16, reason: MQTTReason)
    case pubrel(packetIdentifier: UInt16, reason: MQTTReason)
    case pubcomp(packetIdentifier: UInt16, reason: MQTTReason)
    /// One byte a reason, in the order of the filters.
    case suback(packetIdentifier: UInt16, reasons: ByteRange)
    /// Before v5: no reasons.
    case unsuback(packetIdentifier: UInt16, reasons: ByteRange)
    case pingresp
    /// v5 alone, after a CONNECT with a method. "Continue authentication" is to be answered, "success" ends a re-authentication.
    case auth(MQTTAuth)
    /// v5 alone. The machine is closed. The texts may be empty.
    case disconnect(reason: MQTTReason, text: ByteRange, serverReference: ByteRange)

    public enum Owned: Equatable, Sendable {
        case connack(MQTTConnack)
        case publish(MQTTPublish.Owned)
        case puback(packetIdentifier: UInt16, reason: MQTTReason)
        case pubrec(packetIdentifier: UInt16, reason: MQTTReason)
        case pubrel(packetIdentifier: UInt16, reason: MQTTReason)
        case pubcomp(packetIdentifier: UInt16, reason: MQTTReason)
        case suback(packetIdentifier: UInt16, reasons: [MQTTReason])
        case unsuback(packetIdentifier: UInt16, reasons: [MQTTReason])
        case pingresp
        case auth(MQTTAuth.Owned)
        case disconnect(reason: MQTTReason, text: String, serverReference: String = "")
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .connack(let connack): .connack(connack.owned(in: bytes))
        case .publish(let publish): .publish(publish.owned(in: bytes))
        case .puback(let identifier, let reason): .puback(packetIdentifier: identifier, reason: reason)
        case .pubrec(let identifier, let reason): .pubrec(packetIdentifier: identifier, reason: reason)
        case .pubrel(let identifier, let reason): .pubrel(packetIdentifier: identifier, reason: reason)
        case .pubcomp(let identifier, let reason): .pubcomp(packetIdentifier: identifier, reason: reason)
        case .suback(let identifier, let reasons): .suback(packetIdentifier: identifier, reasons: bytes.at(reasons).array.map(MQTTReason.init))
        case .unsuback(let identifier, let reasons): .unsuback(packetIdentifier: identifier, reasons: bytes.at(reasons).array.map(MQTTReason.init))
        case .pingresp: .pingresp
        case .auth(let auth): .auth(auth.owned(in: bytes))
        case .disconnect(let reason, let text, let server): .disconnect(reason: reason, text: bytes.at(text).text, serverReference: bytes.at(server).text)
        }
    }
}

/// What a client says.
public enum MQTTClientOutgoing: Sendable {
    case connect(MQTTConnectOptions)
    case publish(MQTTPublish.Owned)
    case puback(packetIdentifier: UInt16, reason: MQTTReason)
    case pubrec(packetIdentifier: UInt16, reason: MQTTReason)
    case pubrel(packetIdentifier: UInt16, reason: MQTTReason)
    case pubcomp(packetIdentifier: UInt16, reason: MQTTReason)
    /// `subscriptionIdentifier` 0: none; v5 alone.
    case subscribe(packetIdentifier: UInt16, subscriptionIdentifier: UInt32, subscriptions: [MQTTSubscription])
    case unsubscribe(packetIdentifier: UInt16, filters: [[UInt8]])
    /// For callers who want to measure; the machine sends its own for keep-alive.
    case pingreq
    /// "Re-authenticate" to begin, once the connection is open; "continue authentication" to answer the server.
    case auth(MQTTAuth.Owned)
    /// Closes the machine. Before v5 it sends neither reason nor expiry.
    case disconnect(reason: MQTTReason, sessionExpiry: UInt32?)
}
