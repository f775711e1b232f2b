public import MartletBytes

/// The server's side of one AMQP 0-9-1 connection.
/// ```
/// protocol header -> start, start-ok, (secure, secure-ok)..., tune, tune-ok, open, open-ok -> open -> close, close-ok
/// ```
/// Each step of the peer is an event, and each of this side is sent by the driver: the properties it announces, who may log in and which
/// virtual host there is are not the machine's. A method at the wrong step or from the wrong side, a channel that is not open and content
/// out of order are violations.
/// Heartbeats: `send` is not told the time, so `wake` looks twice an interval whether something was sent meanwhile, and sends a heartbeat if
/// not; nothing heard for two intervals is a violation.
/// Not here: queues, delivery tags, prefetch, transactions (the gateway's); what is written without a look at the state (`AMQPServerEncoder`).
public struct AMQPServerMachine: ProtocolMachine, ~Copyable, Sendable {
    public typealias Event = AMQPEvent
    public typealias Outgoing = AMQPOutgoing
    public typealias Violation = AMQPViolation
    public typealias Misuse = AMQPMisuse

    private var session: AMQPSession

    /// `now`: the connection was accepted.
    public init(limits: AMQPLimits, now: Instant) { session = AMQPSession(isServer: true, limits: limits, now: now) }

    /// Nothing more is taken or sent.
    public var isClosed: Bool { session.phase == .closed }
    public var isOpen: Bool { session.phase == .open }
    /// In force, in bytes; `.max`: none was agreed on.
    public var frameMax: UInt32 { session.frameMax }
    public var channelMax: UInt16 { session.channelMax }
    /// In force, in seconds; 0: none.
    public var heartbeat: UInt16 { session.heartbeat }

    /// What the limits offer, to be sent as connection.tune.
    public var tune: AMQPMethod<[UInt8]> {
        .connectionTune(.init(channelMax: session.limits.channelMax, frameMax: session.limits.frameMax, heartbeat: session.limits.heartbeat))
    }

    public mutating func heard(at now: Instant) { session.lastHeard = now }

    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(AMQPViolation) -> AMQPEvent? {
        if let event = session.publishOrAck(from: &input) { return event }
        return try session.nextEvent(from: &input, into: &output)
    }

    public mutating func send(_ message: AMQPOutgoing, into output: inout ByteBuffer) throws(AMQPMisuse) { try session.send(message, into: &output) }

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(AMQPViolation) { try session.wake(at: now, into: &output) }

    /// AMQP gives the end of a stream no meaning of its own; whether it came without connection.close is the session's to know.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(AMQPViolation) { session.phase = .closed }

    public var deadline: Instant { session.deadline }
}
