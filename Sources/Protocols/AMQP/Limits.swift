/// What one connection may ask of this side. Each number has its reason and what others chose.
///
/// Invariant: a server's tune offers `frameMax` and `channelMax`, and the machine holds the peer to what tune-ok made of them.
/// Not here: limits of queues, messages in memory and whole servers (the broker's).
public struct AMQPLimits: Sendable, Equatable {
    /// The largest frame, its eight bytes of header and end included. 128 KiB: most messages go in one frame, and a connection keeps
    /// three cut ones at most. (RabbitMQ and LavinMQ 131,072, Qpid 65,535; the protocol's least is 4,096.)
    public var frameMax: UInt32 = 131_072

    /// The highest channel number. 2,047, as RabbitMQ, whose clients count on it; a channel costs some 24 bytes here.
    /// (RabbitMQ and LavinMQ 2,047, Qpid 255.)
    public var channelMax: UInt16 = 2047

    /// The heartbeat interval that is offered, in seconds; 0: none. 60: below what NAT and firewalls forget, and seldom enough.
    /// (RabbitMQ 60, LavinMQ 300, Qpid 0.)
    public var heartbeat: UInt16 = 60

    /// The largest body that is taken, in bytes. 16 MiB, as RabbitMQ since 4.0: files belong elsewhere. (RabbitMQ 3 and LavinMQ 128 MiB.)
    public var bodySizeMax: UInt64 = 16 << 20

    /// Field tables and arrays within each other, in arguments and headers. 16: nobody nests by hand deeper, and reading one costs a
    /// stack frame each. (RabbitMQ and pika none.)
    public var tableDepthMax: UInt8 = 16

    /// From the first moment to connection.open-ok, without the time this side takes for its answers. 10 s, as MQTT's here and RabbitMQ's.
    public var openTimeout = Duration.seconds(10)

    /// How long connection.close may go without its close-ok. 10 s: what was under way comes first. (RabbitMQ 30 s, pika none.)
    public var closeTimeout = Duration.seconds(10)

    public init() {}

    /// Frames until tune-ok, in bytes: no negotiation has been. (FRAME-MIN-SIZE: 4,096 in the protocol; RabbitMQ 8,192, because server
    /// properties and tokens grew.)
    static var frameMaxBeforeTune: UInt32 { 8192 }

    /// The least frame-max that may be agreed on: the protocol's, section 4.2.3 of the class reference.
    public static var frameMaxLeast: UInt32 { 4096 }
}
