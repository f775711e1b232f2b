internal import MartletEventLoop
internal import Synchronization

/// The library's loops, a thread each: one for all clients of the process, and those lent to servers. They are started when first needed and
/// never stopped, so that what still leaves after a scope has ended can leave.
enum SocketLoops {
    private struct Loops {
        var all: [EventLoop] = []
        var free: [EventLoop] = []
    }
    private static let loops = Mutex(Loops())

    /// For connections that a task makes: the loop that it runs on, if that is one of ours.
    static var client: EventLoop { loops.withLock { $0.all }.first { $0.isCurrent } ?? clients }
    private static let clients = make()

    /// Loops for one server alone.
    static func lend(_ count: Int) -> [EventLoop] {
        var lent = loops.withLock { loops in
            let taken = loops.free.suffix(count)
            loops.free.removeLast(taken.count)
            return Array(taken)
        }
        while lent.count < count { lent.append(make()) }
        return lent
    }

    static func takeBack(_ lent: [EventLoop]) { loops.withLock { $0.free += lent } }

    private static func make() -> EventLoop {
        var limits = EventLoopLimits()
        limits.outputHighWater = StreamCore.highWater
        limits.outputLowWater = StreamCore.highWater / 4
        limits.readsWhileBlocked = true
        limits.flushBatch = 32
        let loop = loops.withLock { loops in
            let loop = EventLoop(number: loops.all.count, limits: limits)
            loops.all.append(loop)
            return loop
        }
        _ = loop.start { _ in nil }
        return loop
    }
}
