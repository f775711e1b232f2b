public import MartletBytes
public import MartletEventLoop

/// A pause on a loop, as the one before the next attempt to connect. Closing it ends it unheard.
public final class PauseClock: Channel {
    private let end: Instant
    private let resume: () -> Void

    @discardableResult public init(until end: Instant, on loop: EventLoop, _ resume: @escaping () -> Void) {
        self.end = end
        self.resume = resume
        super.init()
        loop.add(clock: self)
    }

    override public var deadline: Instant { end }

    override public func wake(on loop: EventLoop) {
        loop.close(self, .finished)
        resume()
    }
}
