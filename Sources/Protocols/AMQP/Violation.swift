/// How the peer broke the protocol. When a machine throws one, its output already holds the farewell; write it, then close. Whoever can should end
/// only its own direction and read on until the peer's end, so that connection.close is not lost in a reset: the machine takes nothing more.
public enum AMQPViolation: Error, Equatable, Sendable {
    /// The first bytes are not `AMQP 0 0 9 1`. A server's farewell is its own protocol header (section 2.2.4); a client has none.
    case protocolHeader
    /// A connection exception. The farewell is connection.close with the code, the text and the method that caused it (0 0 if none did).
    case exception(AMQPReplyCode, AMQPFault, text: String, classID: UInt16, methodID: UInt16)
    /// Nothing came for two heartbeat intervals. There is no farewell, as nobody seems to listen (section 4.2.7).
    case heartbeatMissed
    /// The connection was not open in time.
    case openTimedOut
    /// The peer did not answer connection.close in time.
    case closeTimedOut

    /// Of an exception.
    public var replyCode: AMQPReplyCode? { if case .exception(let code, _, _, _, _) = self { code } else { nil } }
}

extension AMQPViolation: CustomStringConvertible {
    /// Of an exception: its reply text, in RabbitMQ's words where it has any.
    public var description: String {
        switch self {
        case .protocolHeader: "the protocol header is not that of AMQP 0-9-1"
        case .exception(_, _, let text, _, _): text
        case .heartbeatMissed: "missed heartbeats from the peer"
        case .openTimedOut: "the connection was not opened in time"
        case .closeTimedOut: "connection.close was not answered in time"
        }
    }
}
