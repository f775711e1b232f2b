import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletShard

/// A connection that is not read from because of what it published.
struct AMQPHolding {
    let connection: AMQPServerConnection
    /// The queue that is nearly full; `.none`: the shard's memory is, or the disk.
    let queue: QueueID
}

/// Publishers that are faster than consumers. The fuller a queue, the longer its publishers wait before they are read again; when it is
/// nearly full, or the shard's memory is, they are held, and told so, until there is room.
extension AMQPGateway {
    /// Of `Effects.fullness`: from here on what is under way may find no room.
    private static var fullnessMax: UInt8 { 224 }

    /// A message of its found a queue more than half full, or it may be memory.
    func hold(_ connection: AMQPServerConnection) {
        let fullness = shard.effects.value.fullness, queue = shard.effects.value.fullest
        if shard.core.value.isJournalFull {
            return takes(connection, from: .none) ? shard.holdBack(connection, for: Self.pause) : hold(connection, .none, because: "low on disk")
        }
        if shard.core.value.memoryBytes > options.memoryMax {
            return takes(connection, from: .none) ? shard.holdBack(connection, for: Self.pause) : hold(connection, .none, because: "low on memory")
        }
        if !queue.isNone, fullness >= Self.fullnessMax {
            return takes(connection, from: queue) ? shard.holdBack(connection, for: Self.pause) : hold(connection, queue, because: "a queue is full")
        }
        shard.holdBack(connection, for: .microseconds(200 * Int(fullness)))
    }

    /// Who takes from what is full is not held, or its acknowledgements, which make room, would never be read: it is read now and then.
    private static var pause: Duration { .milliseconds(250) }

    /// `queue`: `.none`: from any.
    private func takes(_ connection: AMQPServerConnection, from queue: QueueID) -> Bool {
        for (_, channel) in connection.channels {
            var consumer = channels.value[channel].firstConsumer
            while consumer != 0 {
                if queue.isNone || queues.value[consumers.value[consumer].queue].id == queue { return true }
                consumer = consumers.value[consumer].nextOfChannel
            }
        }
        return false
    }

    private func hold(_ connection: AMQPServerConnection, _ queue: QueueID, because reason: String) {
        guard !connection.isBlocked else { return }
        connection.isBlocked = true
        seen.value.blocked += 1
        held.append(AMQPHolding(connection: connection, queue: queue))
        shard.hold(connection)
        tell(connection, .connectionBlocked(.init(reason: Array(reason.utf8))))
    }

    /// Lets those go for whom there is room again.
    func releaseHeld() {
        for holding in held where isOver(holding) { resume(holding.connection) }
        held.removeAll { !$0.connection.isBlocked }
    }

    private func isOver(_ holding: AMQPHolding) -> Bool {
        if shard.core.value.isJournalFull { return false }
        return holding.queue.isNone
            ? shard.core.value.memoryBytes < options.memoryMax / 10 * 9 : shard.core.value.fullness(of: holding.queue) < Self.fullnessMax / 4 * 3
    }

    func resume(_ connection: AMQPServerConnection) {
        connection.isBlocked = false
        shard.release(connection)
        tell(connection, .connectionUnblocked)
    }

    private func tell(_ connection: AMQPServerConnection, _ method: AMQPMethod<[UInt8]>) {
        guard connection.slot != 0, !connection.isReleased, connection.capabilities.contains(.connectionBlocked) else { return }
        shard.loop.willWrite(connection.slot)
        AMQPServerEncoder.method(method, channel: 0, frameMax: AMQPLimits.frameMaxLeast, into: &outputs[connection.slot])
    }
}
