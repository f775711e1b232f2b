/// What exactly is wrong in what a peer sent.
public enum AMQPFault: Error, Equatable, Sendable {
    /// Not a method, content header, body or heartbeat.
    case frameType
    /// The last octet is not 206.
    case frameEnd
    /// Larger than the negotiated frame-max.
    case frameTooLarge
    /// No room for the ids of a method or the fields of a content header.
    case frameTooShort
    case heartbeatPayload
    /// A heartbeat elsewhere than on channel 0.
    case heartbeatChannel
    /// Content on channel 0.
    case contentChannel
    /// A channel's frame while the connection is not open.
    case frameBeforeOpen
    /// A channel above the negotiated channel-max.
    case channelTooHigh
    /// A field reaches beyond its frame or its table.
    case cutShort
    /// Bytes behind the last field.
    case trailingBytes
    /// A field table with a value of unknown type.
    case tableValue
    /// Field tables within each other, above `AMQPLimits.tableDepthMax`.
    case tableTooDeep
    /// Flags of properties that do not exist.
    case propertyFlags
    case headerWeight
    /// A content header of another class than its method.
    case headerClass
    /// More body than the content header announced.
    case bodyTooLong
    /// Class and method id that stand for nothing.
    case unknownMethod
    /// A method that no peer of this role may send here: it is this side's own, another class's channel, or answers nothing.
    case unimplementedMethod
    /// A method of class connection, or on channel 0, in a state of the connection that does not take it.
    case unexpectedMethod
    case channelNotOpen
    case channelIsOpen
    case noContentHeader
    case noContentBody
    /// Content that no method announced.
    case noMethod
    /// tune-ok asks for more channels than were offered.
    case channelMax
    /// tune-ok asks for larger frames than were offered.
    case frameMax
    /// tune-ok asks for frames below 4,096 bytes.
    case frameMin
    /// A message above `AMQPLimits.bodySizeMax`. It closes its channel, not the connection.
    case bodyTooLarge

    /// The specification's code for it: its MUSTs (sections 4.2.3 to 4.2.7), then its definitions of the codes.
    var replyCode: AMQPReplyCode {
        switch self {
        case .frameType, .frameEnd, .frameTooLarge, .frameTooShort, .heartbeatPayload, .heartbeatChannel, .cutShort, .trailingBytes: .frameError
        case .tableValue, .tableTooDeep, .propertyFlags: .syntaxError
        case .unimplementedMethod, .unexpectedMethod: .commandInvalid
        case .contentChannel, .channelNotOpen, .channelIsOpen: .channelError
        case .frameBeforeOpen, .headerClass, .headerWeight, .bodyTooLong, .noContentHeader, .noContentBody, .noMethod: .unexpectedFrame
        case .channelMax, .frameMax, .frameMin, .channelTooHigh: .notAllowed
        case .unknownMethod: .notImplemented
        case .bodyTooLarge: .preconditionFailed
        }
    }
}
