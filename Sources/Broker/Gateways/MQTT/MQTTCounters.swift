/// What this shard's MQTT has seen; plain numbers of its thread.
public struct MQTTCounters: Sendable, Equatable {
    public var connectionsAccepted: UInt64 = 0
    public var connectionsRefused: UInt64 = 0
    public var violations: UInt64 = 0
    /// QoS 0 messages for a client whose output was full.
    public var droppedSlow: UInt64 = 0
    /// Messages above a client's maximum packet size.
    public var droppedOversized: UInt64 = 0
    /// PUBACKs for nothing that was under way.
    public var unknownPubacks: UInt64 = 0

    public init() {}
}
