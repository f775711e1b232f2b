/// A wire protocol without sockets, threads or a clock: bytes and time go in, events and bytes come out.
///
/// A machine owns no input buffer: whoever drives it shows all unread bytes in one piece and keeps what was left.
/// The driver's duty, after every input: take events until `nil`, write `output`, sleep until `deadline`.
/// When a `Violation` is thrown, `output` holds the protocol's farewell (400, Close 1002, DISCONNECT): write it, then close.
/// Nothing follows a violation. Access to the machine and the output ends when `nextEvent` returns, so `send` may be called
/// between two events and replies keep their order.
public protocol ProtocolMachine: ~Copyable, SendableMetatype {
    associatedtype Event: ProtocolEvent
    /// What this side may say.
    associatedtype Outgoing
    /// The peer broke the protocol.
    associatedtype Violation: Error
    /// Our own caller did.
    associatedtype Misuse: Error

    /// Bytes came in at `now`: called once a read, before the events are taken.
    mutating func heard(at now: Instant)

    /// One whole event, or `nil`: more bytes are needed and nothing was consumed. Ranges in the event speak of `input.bytes`.
    mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(Violation) -> Event?

    mutating func send(_ message: Outgoing, into output: inout ByteBuffer) throws(Misuse)

    /// The deadline came. A machine whose deadline has moved meanwhile does nothing.
    mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(Violation)

    /// The peer will send no more bytes: an end that some protocols allow.
    mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(Violation)

    /// When `wake` wants to be called; `.never` if not at all.
    var deadline: Instant { get }
}

/// Numbers and ranges, never bytes: trivial to copy.
public protocol ProtocolEvent: Equatable, Sendable {
    associatedtype Owned: Equatable, Sendable
    /// For whoever keeps an event: laws, logs, the async API.
    func owned(in bytes: Span<UInt8>) -> Owned
}
