internal import MartletBytes
internal import MartletEventLoop

/// How often a socket's loop is told of messages that other threads have put into its outboxes.
///
/// A loop that waits is woken by the first message, takes the few that have come until it runs, and waits again: each of these turns is a wake-up and
/// a write. So once some have followed each other with more than a few messages, the loop looks by itself every `interval`, and is told only of a
/// large heap. Whoever sends one message and waits for the answer is never held up.
struct PumpRhythm: Sendable {
    /// How long a message may wait while a stream runs.
    static let interval = Duration.microseconds(100)
    /// Messages of a look that are more than a few, and those of an interval that are still a stream: a million a second.
    private static let manyMin = 16, streamMin = 100
    private static let patienceMin = 2, patienceMax = 64

    /// The loop looks by itself.
    private(set) var isStreaming = false
    /// Looks with many messages, one after the other, and how many of them make a stream: more, the more often that was none.
    private var streak = 0
    private var patience = patienceMin
    /// Messages of this interval.
    private var seen = 0

    /// The loop was told, and took so many messages. Answers whether it has to look by itself from now on.
    mutating func told(_ count: Int) -> Bool {
        if isStreaming {
            seen += count
            return false
        }
        streak = count >= Self.manyMin ? streak + 1 : 0
        guard streak >= patience else { return false }
        (isStreaming, streak, seen) = (true, 0, 0)
        return true
    }

    /// An interval is over, and the loop took so many messages. Answers whether the stream goes on.
    mutating func looked(_ count: Int) -> Bool {
        seen += count
        isStreaming = seen >= Self.streamMin
        patience = isStreaming ? Self.patienceMin : min(patience * 2, Self.patienceMax)
        seen = 0
        return isStreaming
    }
}

/// Has a socket's host look at its outboxes again and again.
final class PumpClock: Channel {
    private let look: () -> Bool
    private var next = Instant.never

    init(on loop: EventLoop, _ look: @escaping () -> Bool) {
        self.look = look
        super.init()
        loop.add(clock: self)
    }

    override var deadline: Instant { next }

    func begin(on loop: EventLoop) {
        next = loop.currentTime() + PumpRhythm.interval
        loop.schedule(self)
    }

    override func wake(on loop: EventLoop) { next = look() ? loop.currentTime() + PumpRhythm.interval : .never }
}
