/// What the caller of a machine got wrong. Nothing was written.
public enum AMQPMisuse: Error, Equatable, Sendable {
    /// The connection is not open, or no more.
    case notOpen
    /// Not this method at this step of opening or closing.
    case outOfOrder
    /// The peer sends this method, not this side.
    case wrongDirection
    /// The channel is not open, or its number is above the negotiated channel-max.
    case channelNotOpen
    /// A channel of this number is open.
    case channelInUse
    /// A connection method stands on channel 0, every other one elsewhere.
    case wrongChannel
    /// A short string of over 255 bytes.
    case textTooLong
    /// A method or a content header longer than the negotiated frame-max: arguments or headers are too many.
    case frameTooLarge
    /// tune-ok that asks for more than tune offered, or a frame-max below 4,096 bytes.
    case tuningInvalid
    /// The method has no content, or it has and none was given.
    case contentMismatch
}
