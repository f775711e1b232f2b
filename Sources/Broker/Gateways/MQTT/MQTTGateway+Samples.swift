import MartletBytes
import MartletCollections
import MartletCore
import MartletShard

/// What metrics show of MQTT.
extension MQTTGateway {
    var allSamples: [(name: String, value: UInt64)] {
        counters.samples + [
            ("connections", UInt64(connectionCount)), ("sessions", UInt64(sessions.value.count)), ("sessionsConnected", UInt64(attachedCount)),
            ("subscriptions", UInt64(subscriptionCount)),
        ]
    }

    /// Sessions by their client identifiers, and groups as they are subscribed to; only those that hold something, since most never do.
    func largestQueues(_ max: Int) -> (queues: [QueueSample], leftOut: Int) {
        var largest = LargestQueues(max: max), groups: [(name: [UInt8], queue: QueueID)] = []
        shard.core.value.forEachGroup { name, pattern, queue in groups.append((Array("$share/".utf8) + name + [0x2F] + pattern, queue)) }
        for (index, group) in groups.enumerated() { offer(group.queue, UInt64(index) | Self.groupBit, to: &largest) }
        sessions.value.forEach { number, session in offer(session.queue, UInt64(number), to: &largest) }
        let queues = largest.numbers.map { number in
            if number & Self.groupBit != 0 {
                let group = groups[Int(number & ~Self.groupBit)]
                return sample(of: group.queue, group.name, consumers: 0)
            }
            let session = UInt32(number), isConnected = sessions.value[session].reach.slot != 0
            return sample(of: sessions.value[session].queue, shard.core.value.identity(of: sessions.value[session].endpoint), consumers: isConnected ? 1 : 0)
        }
        return (queues, largest.leftOut)
    }

    private static var groupBit: UInt64 { 1 << 63 }

    private func offer(_ queue: QueueID, _ number: UInt64, to largest: inout LargestQueues) {
        let depth = shard.core.value.depth(of: queue)
        if depth.ready + depth.unsettled > 0 { largest.offer(number, messages: depth.ready + depth.unsettled) }
    }

    private func sample(of queue: QueueID, _ name: [UInt8], consumers: Int) -> QueueSample {
        QueueSample(
            self.name, namespace: Array("/".utf8), name: name, depth: shard.core.value.depth(of: queue), bytes: shard.core.value.bytes(of: queue),
            consumers: consumers)
    }
}
