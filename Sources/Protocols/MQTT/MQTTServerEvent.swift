public import MartletBytes

/// What a client said. Ranges speak of the machine's input.
public enum MQTTServerEvent: ProtocolEvent {
    /// Answer with `MQTTServerOutgoing.connack`, or `.auth` when it has a method; until then the machine takes nothing more.
    case connect(MQTTConnect)
    case publish(MQTTPublish)
    case puback(packetIdentifier: UInt16, reason: MQTTReason)
    case pubrec(packetIdentifier: UInt16, reason: MQTTReason)
    case pubrel(packetIdentifier: UInt16, reason: MQTTReason)
    case pubcomp(packetIdentifier: UInt16, reason: MQTTReason)
    /// `subscriptionIdentifier` 0: none. `MQTTFilterCursor` walks the filters.
    case subscribe(packetIdentifier: UInt16, subscriptionIdentifier: UInt32, filters: ByteRange)
    case unsubscribe(packetIdentifier: UInt16, filters: ByteRange)
    /// Already answered.
    case pingreq
    /// Answer with `MQTTServerOutgoing.auth`, with CONNACK if the connection is not open yet, or with DISCONNECT.
    case auth(MQTTAuth)
    /// The machine is closed. Before v5 always normal.
    case disconnect(reason: MQTTReason, sessionExpiry: UInt32?)

    public enum Owned: Equatable, Sendable {
        case connect(MQTTConnectOptions)
        case publish(MQTTPublish.Owned)
        case puback(packetIdentifier: UInt16, reason: MQTTReason)
        case pubrec(packetIdentifier: UInt16, reason: MQTTReason)
        case pubrel(packetIdentifier: UInt16, reason: MQTTReason)
        case pubcomp(packetIdentifier: UInt16, reason: MQTTReason)
        case subscribe(packetIdentifier: UInt16, subscriptionIdentifier: UInt32, subscriptions: [MQTTSubscription])
        case unsubscribe(packetIdentifier: UInt16, filters: [[UInt8]])
        case pingreq
        case auth(MQTTAuth.Owned)
        case disconnect(reason: MQTTReason, sessionExpiry: UInt32?)
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .connect(let connect): return .connect(connect.owned(in: bytes))
        case .publish(let publish): return .publish(publish.owned(in: bytes))
        case .puback(let identifier, let reason): return .puback(packetIdentifier: identifier, reason: reason)
        case .pubrec(let identifier, let reason): return .pubrec(packetIdentifier: identifier, reason: reason)
        case .pubrel(let identifier, let reason): return .pubrel(packetIdentifier: identifier, reason: reason)
        case .pubcomp(let identifier, let reason): return .pubcomp(packetIdentifier: identifier, reason: reason)
        case .subscribe(let identifier, let subscriptionIdentifier, let filters):
            var subscriptions: [MQTTSubscription] = []
            var cursor = MQTTFilterCursor(subscribe: filters, in: bytes)
            while let (filter, options) = cursor.next() { subscriptions.append(MQTTSubscription(filter: bytes.at(filter).array, options: options)) }
            return .subscribe(packetIdentifier: identifier, subscriptionIdentifier: subscriptionIdentifier, subscriptions: subscriptions)
        case .unsubscribe(let identifier, let filters):
            var names: [[UInt8]] = []
            var cursor = MQTTFilterCursor(unsubscribe: filters, in: bytes)
            while let (filter, _) = cursor.next() { names.append(bytes.at(filter).array) }
            return .unsubscribe(packetIdentifier: identifier, filters: names)
        case .pingreq: return .pingreq
        case .auth(let auth): return .auth(auth.owned(in: bytes))
        case .disconnect(let reason, let sessionExpiry): return .disconnect(reason: reason, sessionExpiry: sessionExpiry)
        }
    }
}

/// What a server says, but for PUBLISH, which fan-out writes by `MQTTEncoder.publish`.
public enum MQTTServerOutgoing: Sendable {
    /// Opens the connection, or refuses and closes it. What the machine enforces and this leaves out is filled in.
    case connack(MQTTConnack)
    /// Before v5 a failure cannot be told: the client reads it as success.
    case puback(packetIdentifier: UInt16, reason: MQTTReason)
    case pubrec(packetIdentifier: UInt16, reason: MQTTReason)
    case pubrel(packetIdentifier: UInt16, reason: MQTTReason)
    case pubcomp(packetIdentifier: UInt16, reason: MQTTReason)
    case suback(packetIdentifier: UInt16, reasons: [MQTTReason])
    case unsuback(packetIdentifier: UInt16, reasons: [MQTTReason])
    /// With "continue authentication", to a client that is connecting or has asked to re-authenticate; with "success" to end the latter.
    case auth(MQTTAuth.Owned)
    /// Closes the machine. Before v5, and before CONNACK: nothing is written. Empty texts are not sent.
    case disconnect(reason: MQTTReason, text: String = "", serverReference: String = "")
}
