/// What a loop has seen; plain numbers of its thread.
public struct EventLoopCounters: Sendable, Equatable {
    public var bytesRead: UInt64 = 0
    public var bytesWritten: UInt64 = 0
    public var ticks: UInt64 = 0
    /// Ticks that took longer, in which every other connection had to wait.
    public var ticksOver10ms: UInt64 = 0
    public var ticksOver100ms: UInt64 = 0
    /// Of those that took longer than 5 ms.
    public var longestTick = Duration.zero

    public init() {}
}
