/// The bounds of one loop. Other servers' values beside ours.
public struct EventLoopLimits: Sendable {
    /// Rows of the connection table: address space only, memory where it is used. (nginx `worker_connections` 512, here the descriptor limit binds first.)
    public var connectionsMax = 1 << 20
    /// Output above which a connection is not read from and its channel is told. (mosquitto has none; NATS cuts at 64 MiB; RabbitMQ by credit.)
    public var outputHighWater = 1 << 20
    /// Output below which it goes on.
    public var outputLowWater = 1 << 18
    /// How long a closing connection may take to send its farewell and to see the peer's end. (nginx `lingering_time` 30 s, `lingering_timeout` 5 s.)
    public var linger = Duration.seconds(2)

    public init() {}
}

/// What a loop has seen; plain numbers of its thread.
public struct EventLoopCounters: Sendable, Equatable {
    public var bytesRead: UInt64 = 0
    public var bytesWritten: UInt64 = 0
}

/// A deadline in the heap; it counts only while its slot still has that generation.
struct Timer: Comparable {
    var at: Instant
    var slot: UInt32
    var generation: UInt32
    static func < (a: Timer, b: Timer) -> Bool { a.at < b.at }
}

import MartletBytes
