internal import MartletBytes
internal import MartletClient
internal import MartletEventLoop
internal import Synchronization

/// The library's loops, a thread each: one for sockets whose tasks run elsewhere, and those lent to sockets whose tasks run on them. They are started
/// when first needed and never stopped.
enum ZMQLoops {
    private static let free = Mutex<[EventLoop]>([])
    static let shared = make()

    static func lend() -> EventLoop { free.withLock { $0.popLast() } ?? make() }
    static func takeBack(_ loop: EventLoop) { free.withLock { $0.append(loop) } }

    private static func make() -> EventLoop {
        var limits = EventLoopLimits()
        limits.connectionsMax = 1 << 17
        limits.outputHighWater = .max
        limits.outputLowWater = 0
        // The two directions of a peer have nothing to do with each other.
        limits.readsWhileBlocked = true
        let loop = EventLoop(limits: limits)
        _ = loop.start { _ in ZMQTenant() }
        return loop
    }
}

/// Looks after the sockets of a loop whose tasks run on it: what they sent in a tick leaves at its end.
final class ZMQTenant: LoopTenant {
    private var noted: [SocketCore] = []

    static func on(_ loop: EventLoop) -> ZMQTenant? { loop.tenant as? ZMQTenant }

    func note(_ core: SocketCore) { noted.append(core) }

    func tickBegan(on loop: EventLoop) {}
    func receive(letter: Span<UInt8>, from sender: Int, on loop: EventLoop) {}

    func tickEnded(on loop: EventLoop) {
        guard !noted.isEmpty else { return }
        let cores = noted
        noted.removeAll(keepingCapacity: true)
        for core in cores { core.host.pump() }
    }
}

/// A deadline of a task's wait: `fire` is called on the loop, unless it is cancelled before.
final class PauseTimer: Sendable {
    private let clock = Mutex<LoopBound<PauseClock>?>(nil)
    private let isCancelled = Atomic(false)
    private let loop: EventLoop

    init(until end: Instant, on loop: EventLoop, fire: @escaping @Sendable () -> Void) {
        self.loop = loop
        loop.execute { [self] loop in
            guard !isCancelled.load(ordering: .acquiring) else { return }
            let made = LoopBound(PauseClock(until: end, on: loop, fire), on: loop)
            clock.withLock { $0 = made }
        }
    }

    func cancel() {
        isCancelled.store(true, ordering: .releasing)
        loop.execute { [self] loop in
            guard let clock = clock.withLock({ $0.take() })?(), clock.slot != 0 else { return }
            loop.close(clock, .finished)
        }
    }
}
