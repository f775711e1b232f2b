public import MartletEventLoop

/// Whether a server may take a client's silence for its death. It is the server's own doing while it does not read from the client, and no sign of
/// death while the client takes what it was sent, however slowly.
public struct PeerSilence: Sendable {
    /// Output that a slow reader had not taken when its time last ran out.
    private var leftWhenLastAsked = UInt32.max

    public init() {}

    /// To be asked whenever the client's time runs out.
    public mutating func isExcused(_ slot: UInt32, on loop: EventLoop) -> Bool {
        let left = UInt32(clamping: loop.unsentCount(slot)), isBlocked = loop.isBlocked(slot)
        defer { leftWhenLastAsked = isBlocked ? left : .max }
        return loop.isPaused(slot) || isBlocked && left < leftWhenLastAsked
    }
}
