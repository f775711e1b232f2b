public import MartletBytes

/// The client's side of one AMQP 0-9-1 connection.
/// ```
/// protocol header -> start, start-ok, (secure, secure-ok)..., tune, tune-ok, open, open-ok -> open -> close, close-ok
/// ```
/// Each step of the server is an event, each of this side is sent by the driver, beginning with `AMQPOutgoing.protocolHeader`.
/// Heartbeats and violations are as in `AMQPServerMachine`.
/// Not here: channel numbers, consumers, confirms and what is done after a reconnect (the library's).
public struct AMQPClientMachine: ProtocolMachine, ~Copyable {
    public typealias Event = AMQPEvent
    public typealias Outgoing = AMQPOutgoing
    public typealias Violation = AMQPViolation
    public typealias Misuse = AMQPMisuse

    private var session: AMQPSession

    /// `now`: the connection was begun.
    public init(limits: AMQPLimits, now: Instant) { session = AMQPSession(isServer: false, limits: limits, now: now) }

    /// Nothing more is taken or sent.
    public var isClosed: Bool { session.phase == .closed }
    public var isOpen: Bool { session.phase == .open }
    /// In force, in bytes; `.max`: none was agreed on.
    public var frameMax: UInt32 { session.frameMax }
    public var channelMax: UInt16 { session.channelMax }
    /// In force, in seconds; 0: none.
    public var heartbeat: UInt16 { session.heartbeat }

    /// The lower of what the server's tune offers and what the limits allow, where 0 is more than any number; of heartbeats none if one side
    /// wants none.
    public func tuneOk(to tune: AMQPMethod<[UInt8]>.ConnectionTune) -> AMQPMethod<[UInt8]> {
        func lower<Number: FixedWidthInteger>(_ a: Number, _ b: Number) -> Number { a == 0 || b == 0 ? max(a, b) : min(a, b) }
        return .connectionTuneOk(
            .init(
                channelMax: lower(tune.channelMax, session.limits.channelMax), frameMax: lower(tune.frameMax, session.limits.frameMax),
                heartbeat: min(tune.heartbeat, session.limits.heartbeat)))
    }

    public mutating func heard(at now: Instant) { session.lastHeard = now }

    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(AMQPViolation) -> AMQPEvent? {
        if let event = session.deliverOrAck(from: &input) { return event }
        return try session.nextEvent(from: &input, into: &output)
    }

    public mutating func send(_ message: AMQPOutgoing, into output: inout ByteBuffer) throws(AMQPMisuse) { try session.send(message, into: &output) }

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(AMQPViolation) { try session.wake(at: now, into: &output) }

    /// AMQP gives the end of a stream no meaning of its own.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(AMQPViolation) { session.phase = .closed }

    public var deadline: Instant { session.deadline }
}

extension AMQPClientMachine {
    /// basic.publish with its content, from where the bytes are. `properties`: encoded (`AMQPProperties.encode`), or nothing.
    /// Exchange and routing key have at most 255 bytes; the body is cut at frame-max.
    public mutating func publish(
        channel: UInt16, exchange: Span<UInt8>, routingKey: Span<UInt8>, mandatory: Bool = false, properties: Span<UInt8>, body: Span<UInt8>,
        into output: inout ByteBuffer
    ) throws(AMQPMisuse) {
        try session.checkContent(channel: channel, propertyCount: properties.count)
        guard exchange.count <= 255, routingKey.count <= 255 else { throw .textTooLong }
        session.sendMessage(.basicPublish, channel: channel, count: 5 + exchange.count + routingKey.count, properties: properties, body: body, into: &output) {
            writer in
            writer.write(0 as UInt16)
            writer.write(shortString: exchange)
            writer.write(shortString: routingKey)
            writer.write(mandatory ? 1 as UInt8 : 0)
        }
    }

    /// Acknowledges a delivery; `multiple`: and all before it (basic.ack).
    public mutating func ack(channel: UInt16, deliveryTag: UInt64, multiple: Bool = false, into output: inout ByteBuffer) throws(AMQPMisuse) {
        try session.sendAck(channel: channel, deliveryTag: deliveryTag, multiple: multiple, into: &output)
    }
}
