import MartletBytes
import MartletCollections
import MartletEventLoop
import MartletShard

/// When to look at which queue that expires (`x-expires`): one entry a queue, made anew when its time has not come.
final class AMQPExpirations: Channel {
    private struct Entry: Comparable {
        var at: Instant
        /// No other queue has it.
        var key: UInt64
        static func < (a: Entry, b: Entry) -> Bool { a.at < b.at }
    }
    private unowned let gateway: AMQPGateway
    private var entries = MinHeap<Entry>()
    /// By key: the queue's number with the gateway.
    private var queues: [UInt64: UInt32] = [:]
    private var lastKey: UInt64 = 0

    init(_ gateway: AMQPGateway) {
        self.gateway = gateway
        super.init()
    }

    /// The answer is what `remove` wants to know.
    func insert(_ queue: UInt32, _ lifetime: Duration, on loop: EventLoop) -> UInt64 {
        lastKey += 1
        queues[lastKey] = queue
        entries.insert(Entry(at: loop.now + lifetime, key: lastKey))
        loop.schedule(self)
        return lastKey
    }

    func remove(_ key: UInt64) {
        queues[key] = nil
        guard entries.count > 2 * queues.count + 64 else { return }
        entries.removeAll { queues[$0.key] == nil }
    }

    override var deadline: Instant { entries.first?.at ?? .never }

    override func wake(on loop: EventLoop) {
        while let first = entries.first, first.at <= loop.now {
            _ = entries.removeFirst()
            guard let queue = queues[first.key] else { continue }
            let due = gateway.expiry(of: queue)
            if due <= loop.now { gateway.delete(queue) } else { entries.insert(Entry(at: due, key: first.key)) }
        }
    }
}

extension AMQPGateway {
    /// A queue is used: declared, asked for a message, or left by a consumer.
    func use(_ queue: UInt32) { queues.value[queue].lastUse = shard.loop.now }

    /// When a queue expires, if nobody uses it until then.
    fileprivate func expiry(of queue: UInt32) -> Instant {
        (queues.value[queue].consumerCount > 0 ? shard.loop.now : queues.value[queue].lastUse) + queues.value[queue].lifetime
    }
}
