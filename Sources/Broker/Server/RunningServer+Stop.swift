import MartletCore
import MartletEventLoop
import MartletJournal
import MartletNet
import MartletShard
import Synchronization

extension RunningServer {
    /// Stops accepting, says goodbye to every client, waits for their output to leave, and ends the loops; after `grace` at the latest.
    ///
    /// HTTP goes last, so that whoever asks meanwhile is told that the server is stopping.
    public func stop(grace: Duration) {
        let deadline = ContinuousClock.now + grace, kept = httpAddresses
        phase.beginStopping()
        for loop in loops {
            loop.execute { loop in
                for listener in loop.channels(of: Listener.self) where !kept.contains(listener.address) { loop.close(listener, .stopping) }
                guard let shard = loop.tenant as? Shard else { return }
                shard.logCounters()
                for gateway in shard.allGateways where gateway.id != .http { gateway.stop() }
            }
        }
        // Its own clients get a part of the time.
        if !kept.isEmpty { awaitOthers(until: deadline - min(.seconds(1), grace / 4)) }
        for loop in loops {
            loop.execute { loop in
                for listener in loop.channels(of: Listener.self) { loop.close(listener, .stopping) }
                (loop.tenant as? Shard)?.gateway(.http).stop()
            }
        }
        for loop in loops { loop.stop(grace: max(.zero, deadline - ContinuousClock.now)) }
        for thread in threads { thread.join() }
        journal?.housekeeper.finish()
    }

    /// Waits until nobody is connected but by HTTP.
    private func awaitOthers(until deadline: ContinuousClock.Instant) {
        repeat {
            let count = OtherConnections()
            for loop in loops {
                loop.execute { loop in
                    let http = ((loop.tenant as? Shard)?.gateway(.http) as? HTTPGateway)?.connectionCount ?? 0
                    count.add(loop.connectionCount - http - loop.channels(of: Listener.self).count)
                }
            }
            while count.answers < loops.count, ContinuousClock.now < deadline { DetachedThread.sleep(.microseconds(200)) }
            if count.answers == loops.count, count.connections <= 0 { return }
            DetachedThread.sleep(.milliseconds(10))
        } while ContinuousClock.now < deadline
    }
}

private final class OtherConnections: Sendable {
    private let state = Mutex((answers: 0, connections: 0))
    var answers: Int { state.withLock { $0.answers } }
    var connections: Int { state.withLock { $0.connections } }
    func add(_ count: Int) { state.withLock { $0 = ($0.answers + 1, $0.connections + count) } }
}
