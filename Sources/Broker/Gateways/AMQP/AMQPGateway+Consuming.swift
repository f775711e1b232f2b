import MartletAMQPProtocol
import MartletBytes
import MartletCollections
import MartletCore
import MartletDriver
import MartletEventLoop
import MartletLogging
import MartletShard

/// What clients take: consumers, basic.get, and how they are done with it.
extension AMQPGateway {
    // MARK: basic.qos

    func setPrefetch(_ qos: AMQPMethod<ByteRange>.BasicQos, on channel: UInt32) throws(AMQPException) {
        guard qos.prefetchSize == 0 else { throw AMQPException(.notImplemented, "prefetch_size!=0 (\(qos.prefetchSize))") }
        // As RabbitMQ reads `global`: one limit for the channel, or one for each consumer to come.
        if !qos.global {
            channels.value[channel].prefetch = UInt32(qos.prefetchCount)
        } else if !channels.value[channel].credit.isNone {
            let credit = channels.value[channel].credit
            shard.perform { $0.setLimit(of: credit, to: UInt32(qos.prefetchCount), into: &$1) }
        } else {
            let credit = shard.core.value.openCredit(limit: UInt32(qos.prefetchCount))
            channels.value[channel].credit = credit
            var consumer = channels.value[channel].firstConsumer
            while consumer != 0 {
                shard.core.value.share(credit, with: consumers.value[consumer].id)
                consumer = consumers.value[consumer].nextOfChannel
            }
        }
        say(.basicQosOk, on: channel)
    }

    // MARK: basic.consume, basic.cancel

    func consume(
        _ consume: AMQPMethod<ByteRange>.BasicConsume, in bytes: Span<UInt8>, on channel: UInt32, _ connection: AMQPServerConnection
    ) throws(AMQPException) {
        let queue = try queue(bytes.at(consume.queue).array, on: channel, connection)
        for field in AMQPTable(consume.arguments, in: bytes).fields where ["x-priority", "x-stream-offset"].contains(field.key.text) {
            throw AMQPException(.preconditionFailed, "invalid arg '\(field.key.text)' for \(resource(of: queue)): not supported")
        }
        guard consumers.value.count < options.consumersMax else {
            seen.value.overLimit += 1
            throw AMQPException(.notAllowed, "reached maximum (\(options.consumersMax)) of consumers")
        }
        var tag = bytes.at(consume.consumerTag).array
        if tag.isEmpty {
            tag = makeName("amq.ctag-")
        } else if consumer(tag, of: channel) != 0 {
            throw AMQPException(.notAllowed, "attempt to reuse consumer tag '\(tag.text)'")
        }
        guard !queues.value[queue].hasExclusiveConsumer, !consume.exclusive || queues.value[queue].consumerCount == 0 else {
            throw AMQPException(.accessRefused, "\(resource(of: queue)) in exclusive use")
        }
        let number = consumers.value.insert(
            AMQPConsumer(
                tag: tag, channel: channel, queue: queue, slot: connection.slot, number: channels.value[channel].number,
                frameMax: channels.value[channel].frameMax))
        let source = queues.value[queue].id
        let id = shard.core.value.addConsumer(
            to: source, gateway: self.id, token: number, settles: !consume.noAck, limit: channels.value[channel].prefetch,
            credit: channels.value[channel].credit)
        consumers.value[number].id = id
        let next = channels.value[channel].firstConsumer, nextOfQueue = queues.value[queue].firstConsumer
        consumers.value[number].nextOfChannel = next
        if next != 0 { consumers.value[next].previousOfChannel = number }
        channels.value[channel].firstConsumer = number
        consumers.value[number].nextOfQueue = nextOfQueue
        if nextOfQueue != 0 { consumers.value[nextOfQueue].previousOfQueue = number }
        queues.value[queue].firstConsumer = number
        queues.value[queue].consumerCount += 1
        queues.value[queue].hasExclusiveConsumer = consume.exclusive
        if !consume.noWait { say(.basicConsumeOk(.init(consumerTag: tag)), on: channel) }
        if shard.loop.isBlocked(connection.slot) || connection.isOverfull { shard.perform { $0.pause(id, true, into: &$1) } }
        shard.perform { $0.pump(source, into: &$1) }
    }

    private func consumer(_ tag: [UInt8], of channel: UInt32) -> UInt32 {
        var consumer = channels.value[channel].firstConsumer
        while consumer != 0, !consumers.value[consumer].withTag({ $0.equals(tag.span) }) { consumer = consumers.value[consumer].nextOfChannel }
        return consumer
    }

    /// A tag that nobody has is no error.
    func cancel(_ tag: [UInt8], noWait: Bool, on channel: UInt32) {
        let consumer = consumer(tag, of: channel)
        if consumer != 0 { remove(consumer: consumer) }
        if !noWait { say(.basicCancelOk(.init(consumerTag: tag)), on: channel) }
    }

    /// A queue goes: its consumer is told, if its client knows that the server may cancel.
    func dismiss(_ consumer: UInt32) {
        let channel = consumers.value[consumer].channel, tag = consumers.value[consumer].withTag { $0.array }
        let connection = shard.loop.channel(at: consumers.value[consumer].slot) as? AMQPServerConnection
        take(consumer)
        guard let connection, connection.capabilities.contains(.consumerCancelNotify) else { return }
        say(.basicCancel(.init(consumerTag: tag, noWait: true)), on: channel)
    }

    /// A consumer ends, and with the last one the queue that deletes itself.
    private func remove(consumer: UInt32) {
        let queue = consumers.value[consumer].queue
        take(consumer)
        if queues.value[queue].isAutoDelete, queues.value[queue].consumerCount == 0 { delete(queue) }
    }

    /// Takes a consumer out of all lists. What it has not acknowledged stays with its channel.
    private func take(_ consumer: UInt32) {
        let channel = consumers.value[consumer].channel, queue = consumers.value[consumer].queue
        let next = consumers.value[consumer].nextOfChannel, previous = consumers.value[consumer].previousOfChannel
        if previous == 0 { channels.value[channel].firstConsumer = next } else { consumers.value[previous].nextOfChannel = next }
        if next != 0 { consumers.value[next].previousOfChannel = previous }
        let nextOfQueue = consumers.value[consumer].nextOfQueue, previousOfQueue = consumers.value[consumer].previousOfQueue
        if previousOfQueue == 0 { queues.value[queue].firstConsumer = nextOfQueue } else { consumers.value[previousOfQueue].nextOfQueue = nextOfQueue }
        if nextOfQueue != 0 { consumers.value[nextOfQueue].previousOfQueue = previousOfQueue }
        queues.value[queue].consumerCount -= 1
        queues.value[queue].hasExclusiveConsumer = false
        use(queue)
        shard.core.value.cancelConsumer(consumers.value[consumer].id)
        consumers.value.remove(consumer)
    }

    func cancelConsumers(of channel: UInt32) {
        while channels.value[channel].firstConsumer != 0 { remove(consumer: channels.value[channel].firstConsumer) }
    }

    /// Its output is too full for more, or no longer.
    func outputBlocked(_ connection: AMQPServerConnection, _ isBlocked: Bool) {
        guard !isBlocked else { return pauseConsumers(of: connection) }
        if connection.isOverfull {
            connection.isOverfull = false
            shard.loop.showAgain(connection.slot)
        }
        for (_, channel) in connection.channels {
            var consumer = channels.value[channel].firstConsumer
            while consumer != 0 {
                let id = consumers.value[consumer].id
                consumer = consumers.value[consumer].nextOfChannel
                shard.perform { $0.pause(id, false, into: &$1) }
            }
        }
    }

    /// Also while deliveries are made: it has no effects.
    func pauseConsumers(of connection: AMQPServerConnection) {
        for (_, channel) in connection.channels {
            var consumer = channels.value[channel].firstConsumer
            while consumer != 0 {
                shard.core.value.pause(consumers.value[consumer].id, true, into: &shard.effects.value)
                consumer = consumers.value[consumer].nextOfChannel
            }
        }
    }

    // MARK: basic.get

    func get(_ name: [UInt8], noAck: Bool, on channel: UInt32, _ connection: AMQPServerConnection) throws(AMQPException) {
        let queue = try queue(name, on: channel, connection), source = queues.value[queue].id
        use(queue)
        guard let taken = shard.core.value.take(from: source, settles: !noAck, into: &shard.effects.value) else {
            guard shard.core.value.isReading(source) else { return say(.basicGetEmpty(.init(clusterID: [])), on: channel) }
            waitingGets.append(AMQPWaitingGet(connection: connection, channel: channel, queue: queues.value[queue].name, noAck: noAck))
            return
        }
        seen.value.got &+= 1
        let tag = nextTag(on: channel, noAck ? nil : AMQPUnacknowledged(queue: queue, position: taken.position))
        let slot = channels.value[channel].slot, number = channels.value[channel].number, frameMax = channels.value[channel].frameMax
        shard.loop.willWrite(slot)
        shard.core.value.withMessage(taken.message) { message in
            seen.value.deliveredBytes &+= UInt64(message.body.count)
            withOrigin(of: message) { origin, properties in
                AMQPServerEncoder.getOk(
                    channel: number, deliveryTag: tag, redelivered: taken.isRedelivered, from: origin, messageCount: UInt32(clamping: taken.ready),
                    properties: properties, body: message.body, frameMax: frameMax, into: &outputs[slot])
            }
        }
        shard.carryOut()
        shard.core.value.finish(&shard.effects.value)
    }

    /// Asks again for what was being read from disk.
    func answerWaitingGets() {
        let gets = waitingGets
        waitingGets = []
        for get in gets where get.connection.slot != 0 && get.connection.channels.contains(where: { $0.1 == get.channel }) {
            // Its queue was deleted meanwhile.
            if (try? self.get(get.queue, noAck: get.noAck, on: get.channel, get.connection)) == nil {
                say(.basicGetEmpty(.init(clusterID: [])), on: get.channel)
            }
        }
    }

    /// The delivery tag of the next message that goes out on the channel.
    @inline(__always) func nextTag(on channel: UInt32, _ entry: AMQPUnacknowledged?) -> UInt64 {
        channels.value[channel].lastTag &+= 1
        let tag = channels.value[channel].lastTag
        if let entry {
            if channels.value[channel].unacknowledged.isEmpty, channels.value[channel].transaction == nil { channels.value[channel].oldestTag = tag }
            channels.value[channel].unacknowledged.insert(entry, at: tag)
            queues.value[entry.queue].unacknowledged += 1
        }
        return tag
    }

    // MARK: basic.ack, basic.nack, basic.reject, basic.recover

    func acknowledge(_ tag: UInt64, multiple: Bool, _ settlement: Settlement, on channel: UInt32) throws(AMQPException) {
        let last = multiple && tag == 0 ? channels.value[channel].lastTag : tag
        guard multiple else {
            guard let entry = channels.value[channel].unacknowledged.remove(tag) else { throw Self.unknown(tag) }
            if channels.value[channel].oldestTag == tag { channels.value[channel].oldestTag = tag + 1 }
            return done(tag, entry, settlement, on: channel)
        }
        guard tag == 0 || channels.value[channel].unacknowledged.value(at: tag) != nil else { throw Self.unknown(tag) }
        var next = channels.value[channel].oldestTag
        channels.value[channel].oldestTag = last + 1
        // Deliveries that need no acknowledgement have tags, too: millions may lie between two that do.
        if last - min(last, next) > 1 << 20, !channels.value[channel].unacknowledged.isEmpty {
            for tag in channels.value[channel].unacknowledged.positions.sorted() where tag <= last {
                if let entry = channels.value[channel].unacknowledged.remove(tag) { done(tag, entry, settlement, on: channel) }
            }
            return
        }
        while next <= last {
            if let entry = channels.value[channel].unacknowledged.remove(next) { done(next, entry, settlement, on: channel) }
            next += 1
        }
    }

    private static func unknown(_ tag: UInt64) -> AMQPException { AMQPException(.preconditionFailed, "unknown delivery tag \(tag)") }

    @inline(__always) private func done(_ tag: UInt64, _ entry: AMQPUnacknowledged, _ settlement: Settlement, on channel: UInt32) {
        if channels.value[channel].transaction != nil {
            channels.value[channel].transaction?.acknowledgements.append(.init(tag: tag, entry: entry, settlement: settlement))
        } else {
            settle(entry, settlement)
        }
    }

    @inline(__always) func settle(_ entry: AMQPUnacknowledged, _ settlement: Settlement) {
        seen.value.acknowledged &+= 1
        queues.value[entry.queue].unacknowledged -= 1
        let id = queues.value[entry.queue].id
        if !id.isNone {
            _ = shard.settle(id, entry.position, settlement)
        } else if queues.value[entry.queue].unacknowledged == 0 {
            queues.value.remove(entry.queue)
        }
    }

    func recover(requeue: Bool, isAsync: Bool, on channel: UInt32) throws(AMQPException) {
        guard requeue else { throw AMQPException(.notImplemented, "requeue=false") }
        requeueAll(of: channel)
        if !isAsync { say(.basicRecoverOk, on: channel) }
    }

    /// Everything unacknowledged goes back to its place, the oldest first.
    func requeueAll(of channel: UInt32) {
        for tag in channels.value[channel].unacknowledged.positions.sorted() {
            if let entry = channels.value[channel].unacknowledged.remove(tag) { settle(entry, .requeued) }
        }
    }
}
