/// What a loop has seen; plain numbers of its thread.
public struct EventLoopCounters: Sendable, Equatable {
    public var bytesRead: UInt64 = 0
    public var bytesWritten: UInt64 = 0
}
