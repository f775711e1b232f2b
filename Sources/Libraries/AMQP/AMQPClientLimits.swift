/// What one connection holds in memory at most. Each number with its reason and what other clients chose.
public struct AMQPClientLimits: Sendable, Equatable {
    /// Deliveries of one consumer without prefetch that wait for its task before the client stops reading. 1,024: as many small
    /// messages as a few reads of 64 KiB hold. Prefetch bounds a consumer by itself. (pika and aio-pika: no limit.)
    public var undeliveredMax = 1_024

    /// The prefetch of consumers that name none. 250: keeps a fast handler busy over a slow network, and leaves the rest of the queue to others.
    /// (RabbitMQ's clients: none; Spring AMQP 250; Celery 4 a process.)
    public var prefetchDefault: UInt16 = 250

    /// Bytes that wait for the socket before publishers wait. 256 KiB: two kernel buffers' worth, so the socket never runs dry.
    public var outputMax = 256 << 10

    /// Messages, and bytes, that are under way in a pipeline, or published without confirms, before `publish` suspends.
    public var pipelineCountMax = 4_096
    public var pipelineBytesMax = 1 << 20

    /// Messages, and bytes of them, that wait for a connection while there is none; more are refused with `offlineQueueFull`.
    /// (pika: refuses all; aio-pika: no limit.)
    public var offlineCountMax = 10_000
    public var offlineBytesMax = 16 << 20

    /// The longest body that is taken, in bytes. 128 MiB, the most that RabbitMQ 3 lets through; a longer one closes its channel.
    public var bodySizeMax: UInt64 = 128 << 20

    /// Messages that came back and wait in `AMQPChannel.returns`; the oldest are dropped. (pika: no limit.)
    public var returnsMax = 1_024

    /// How long closing, of a channel or the connection, waits for what was published and for the server's close-ok; what then still waits is
    /// lost. (RabbitMQ's Java client 10 s.)
    public var closeTimeout = Duration.seconds(5)

    public init() {}
}
