/// What one client connection holds in memory at most. Each number with its reason and what other clients chose.
public struct MQTTClientLimits: Sendable, Equatable {
    /// Messages of one subscription that wait for its task before the client stops reading. 1,024: as many
    /// small messages as one read of 64 KiB holds. (paho: no limit; mqtt.js: 16 objects in its stream.)
    public var undeliveredMax = 1_024

    /// Messages of one subscription above which QoS 0 is dropped and counted. Reached only when the task that should take them
    /// publishes itself: its acknowledgement stands behind them, so reading goes on. (nats.swift 512 Ki messages, then drops.)
    public var undeliveredHardMax = 65_536

    /// QoS 1 and 2 messages sent and not yet acknowledged, if the server allows as many; 1...65,535. (paho 20, mosquitto_pub 20,
    /// HiveMQ client 65,535.)
    public var unacknowledgedMax = 1_024

    /// The same before v5, where a server cannot say what it allows. 20, mosquitto's `max_inflight_messages`: mosquitto 2.0.11
    /// closes connections that resend more than that at QoS 2.
    public var unacknowledgedBeforeV5Max = 20

    /// Bytes that wait for the socket before publishers wait. 256 KiB: two kernel buffers' worth, so the socket never runs dry.
    public var outputMax = 256 << 10

    /// Messages, and bytes, of a pipeline that are under way before `publish` suspends.
    public var pipelineCountMax = 4_096
    public var pipelineBytesMax = 1 << 20

    /// Messages, and bytes of them, that wait for a connection while there is none; more are refused with `offlineQueueFull`.
    /// An hour of three readings a second. (paho: no limit; HiveMQ client 1,024; mqtt.js: no limit.)
    public var offlineCountMax = 10_000
    public var offlineBytesMax = 16 << 20

    /// How long leaving waits for the server to take DISCONNECT and what stands before it. (mosquitto_pub: does not wait.)
    public var leaveTimeout = Duration.seconds(2)

    public init() {}
}
