package import MartletEventLoop
package import MartletNet
internal import Synchronization

/// The library's loops, a thread each: one for all clients of the process, and those lent to servers. They are started when first needed and
/// never stopped, so that what still leaves after a scope has ended can leave.
package enum SocketLoops {
    private struct Loops {
        var all: [EventLoop] = []
        var free: [EventLoop] = []
        var clients: EventLoop?
    }
    private static let loops = Mutex(Loops())

    /// For connections that a task makes: the loop that it runs on, if that is one of ours. Throws `other` if there is no descriptor for the first.
    static func client(for place: String) throws(NetError) -> EventLoop {
        if let loop = loops.withLock({ loops in loops.all.first { $0.isCurrent } ?? loops.clients }) { return loop }
        let fresh = try make(for: place)
        return loops.withLock { loops in
            // Two may have made one: the later goes to the servers.
            if let clients = loops.clients {
                loops.free.append(fresh)
                return clients
            }
            loops.clients = fresh
            return fresh
        }
    }

    /// Loops for one server alone. Throws `other` if there is no descriptor for one more.
    package static func lend(_ count: Int, for place: String) throws(NetError) -> [EventLoop] {
        var lent = loops.withLock { loops in
            let taken = loops.free.suffix(count)
            loops.free.removeLast(taken.count)
            return Array(taken)
        }
        do throws(NetError) {
            while lent.count < count { lent.append(try make(for: place)) }
        } catch {
            takeBack(lent)
            throw error
        }
        return lent
    }

    package static func takeBack(_ lent: [EventLoop]) { loops.withLock { $0.free += lent } }

    private static func make(for place: String) throws(NetError) -> EventLoop {
        var errno: Int32 = 0
        guard let kernel = LinuxKernel(orErrno: &errno) else { throw NetError(errno: errno, .bind, place) }
        var limits = EventLoopLimits()
        limits.outputHighWater = StreamCore.highWater
        limits.outputLowWater = StreamCore.highWater / 4
        limits.readsWhileBlocked = true
        limits.flushBatch = 8
        let loop = loops.withLock { loops in
            let loop = EventLoop(number: loops.all.count, kernel: kernel, limits: limits)
            loops.all.append(loop)
            return loop
        }
        _ = loop.start { _ in nil }
        return loop
    }
}
