import CLinux
public import MartletBytes

/// One connection (or listener, or clock) on one loop: what its protocol needs. Subclassed by what gives it a meaning.
///
/// Confined to its loop's thread: every call comes from the loop. What a delivery touches is not here but in the loop's table
/// (`Slot`), because a class's fields pay for dynamic exclusivity.
open class Channel {
    /// Its row in the loop's table; 0 when it is on no loop.
    public internal(set) final var slot: UInt32 = 0
    /// The nearest time its timer will fire.
    final var scheduled = Instant.never

    public init() {}

    /// All unread bytes in one piece; answers how many were used. The rest is shown again, with what comes after it.
    open func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int { bytes.count }

    /// Its layer is open: what it has written leaves, and `EventLoop.layer(of:)` can say who the peer is. Not called without a layer.
    open func secured(on loop: EventLoop) {}

    /// The peer sends no more. Unless overridden, the connection is closed once its output has left.
    open func receiveEnd(on loop: EventLoop) { loop.finish(self, .ended) }

    /// A channel without a byte stream (`Slot.Kind.events`): its descriptor is ready.
    open func ready(_ events: UInt32, on loop: EventLoop) {}

    /// A channel of datagrams (`Slot.Kind.datagrams`), at the end of a tick with output: sends it and answers whether the rest waits for writability.
    open func flush(on loop: EventLoop) -> Bool { false }

    /// Its deadline came (or an earlier one that has since moved away).
    open func wake(on loop: EventLoop) {}

    /// When `wake` is wanted; looked at after every call above. It may move away for nothing; moving nearer costs a heap entry.
    open var deadline: Instant { .never }

    /// Output crossed the high-water mark (`true`: the peer does not read) or fell below the low one.
    open func outputBlocked(_ blocked: Bool, on loop: EventLoop) {}

    /// After `finishWriting`: the output has left, and the end of the stream after it.
    open func outputEnded(on loop: EventLoop) {}

    /// The peer's stream and ours have ended. Unless overridden, the connection is closed, whether or not the peer's machine has confirmed everything.
    open func bothEnded(on loop: EventLoop) { loop.close(self, .ended) }

    /// It is off the loop. Called exactly once.
    open func closed(_ reason: CloseReason, on loop: EventLoop) {}
}

/// Why a connection ended, for logs and for a protocol's farewell rules.
public enum CloseReason: Equatable, Sendable, CustomStringConvertible {
    /// The peer ended its stream.
    case ended
    /// The peer said goodbye in its protocol's words.
    case finished
    /// Reading or writing failed with this errno.
    case failed(Int32)
    /// Its layer let nothing through, or nothing more.
    case layerFailed(LayerFailure)
    /// We refused the peer: the text says why.
    case refused(String)
    /// The loop is stopping.
    case stopping

    public var description: String {
        switch self {
        case .ended: "the peer closed the connection"
        case .finished: "the peer said goodbye"
        case .failed(let errno): String(cString: cl_error_text(errno)).lowercased()
        case .layerFailed(let failure): failure.text
        case .refused(let text): text
        case .stopping: "the server stops"
        }
    }
}
