/// What the caller of a machine got wrong. Nothing was written.
public enum MQTTMisuse: Error, Equatable, Sendable {
    /// The connection is not open: no CONNACK yet, or closed.
    case notOpen
    /// CONNECT or CONNACK was sent before.
    case alreadySent
    case topicNameInvalid
    case topicFilterInvalid
    case propertiesInvalid
    /// User name, client identifier or will topic that is not UTF-8, or a password without a user name in 3.1.1.
    case connectInvalid
    case packetIdentifierZero
    /// A list of filters or reasons with nothing in it.
    case nothingListed
    /// A field of over 65,535 bytes.
    case fieldTooLong
    /// Larger than the peer takes.
    case packetTooLarge
    case qosNotSupported
    case retainNotSupported
    case wildcardSubscriptionsNotSupported
    case sharedSubscriptionsNotSupported
    case subscriptionIdentifiersNotSupported
    /// AUTH or CONNACK: another method than CONNECT's, a reason that is not this side's, or not its turn (section 4.12).
    case authenticationInvalid
    /// The peer has as many unacknowledged messages as it allowed.
    case receiveMaximumReached
}
