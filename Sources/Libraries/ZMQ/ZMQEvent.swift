internal import Synchronization

/// What happens on a socket's connections: for people and for logs, never for a protocol.
public enum ZMQEvent: Sendable, Equatable {
    case listening(ZMQEndpoint)
    case accepted(peer: String)
    case connecting(ZMQEndpoint)
    /// The next attempt comes after `delay`.
    case connectFailed(ZMQEndpoint, reason: String, delay: Duration)
    case connected(ZMQEndpoint)
    case handshakeSucceeded(peer: String)
    /// The reason is a sentence: the peer's violation, its refusal, or ours.
    case handshakeFailed(peer: String, reason: String)
    case disconnected(peer: String, reason: String)
    case closed
}

/// Those who listen to a socket's events; nothing is made for nobody.
final class ZMQEventSource: Sendable {
    private let listeners = Mutex<[AsyncStream<ZMQEvent>.Continuation]>([])
    private static let waitingMax = 1_024

    /// Ends with the socket. Of events that are not taken the oldest are dropped.
    func stream() -> AsyncStream<ZMQEvent> {
        let (stream, continuation) = AsyncStream.makeStream(of: ZMQEvent.self, bufferingPolicy: .bufferingNewest(Self.waitingMax))
        listeners.withLock { $0.append(continuation) }
        return stream
    }

    func emit(_ event: @autoclosure () -> ZMQEvent) {
        let listeners = listeners.withLock { $0 }
        guard !listeners.isEmpty else { return }
        let event = event()
        for listener in listeners { listener.yield(event) }
    }

    func finish() {
        for listener in listeners.withLock({ $0 }) { listener.finish() }
    }
}
