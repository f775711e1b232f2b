import MartletBytes
import MartletCollections

/// From a queue to its consumers.
extension BrokerCore {
    /// The consumer whose turn it is among those that can take a message; 0: none. The turn passes on.
    @inline(__always) mutating func nextTaker(of queue: QueueID) -> UInt32 {
        let first = queues[queue.number].nextConsumer
        guard first != 0 else { return 0 }
        if consumers[first].next == first { return canTake(first) ? first : 0 }
        var consumer = first
        repeat {
            if canTake(consumer) {
                queues[queue.number].nextConsumer = consumers[consumer].next
                return consumer
            }
            consumer = consumers[consumer].next
        } while consumer != first
        return 0
    }

    func delivery(_ entry: Entry, to consumer: ConsumerID, at position: UInt64, isRedelivered: Bool) -> Delivery {
        Delivery(
            token: consumers[consumer.number].token, gateway: consumers[consumer.number].gateway, settles: consumers[consumer.number].settles,
            isRedelivered: isRedelivered, opaque: entry.opaque, matches: entry.matches, queue: consumers[consumer.number].queue,
            consumer: consumer, position: position, message: entry.message, isReplay: entry.isReplay)
    }

    /// Gives an entry to a consumer that can take it.
    mutating func handOut(_ entry: Entry, at position: UInt64, of backlog: UInt32, to consumer: ConsumerID, _ effects: inout Effects) {
        if consumers[consumer.number].feed == 0 {
            counters.delivered &+= 1
            effects.deliveries.append(delivery(entry, to: consumer, at: position, isRedelivered: entry.deliveries > 0))
        }
        if consumers[consumer.number].settles {
            consumers[consumer.number].outstanding += 1
            let credit = consumers[consumer.number].credit
            if !credit.isNone { credits[credit.number].outstanding += 1 }
            backlogs[backlog].unsettled.insert(Unsettled(entry: entry, consumer: consumer, isReceived: false), at: position)
        } else {
            backlogs[backlog].bytes -= UInt64(messages[entry.message.number].byteCount)
            spent.append(entry.message)
            if !entry.matches.isNone { spentLists.append(entry.matches) }
            settleOrigin(entry.origin, .accepted, &effects)
        }
        if consumers[consumer.number].feed != 0 { feed(entry, at: position, to: consumer, &effects) }
    }

    /// The number of a queue's backlog, made if it has none.
    @inline(__always) mutating func backlog(of queue: QueueID) -> UInt32 {
        if queues[queue.number].backlog == 0 { queues[queue.number].backlog = backlogs.insert(Backlog()) }
        return queues[queue.number].backlog
    }

    /// Puts the message that is being published into a queue, or straight into a consumer's hands.
    /// False: the queue is full. `stored` is the message's one copy on this shard, made when first needed.
    mutating func enqueue(
        _ message: borrowing Message, stored: inout MessageID, _ target: RouteTarget, ticket: UInt64, from origin: UInt8, _ effects: inout Effects
    ) -> Bool {
        let queue = target.queue, policyNumber = Int(queues[queue.number].policy)
        let backlog = backlog(of: queue)
        let bytes = message.byteCount
        if backlogs[backlog].count >= Int(policies[policyNumber].messagesMax) || backlogs[backlog].bytes + UInt64(bytes) > policies[policyNumber].bytesMax {
            if policies[policyNumber].overflow == .dropNewest {
                counters.droppedNewest += 1
                noteOverflow(of: queue, &effects)
                return true
            }
            guard policies[policyNumber].overflow == .dropOldest, makeRoom(in: backlog, policyNumber, for: bytes, &effects) else { return false }
        }
        if stored.isNone {
            guard storedBytes + bytes <= limits.storedBytesMax else { return false }
            stored = store(message)
        }
        messages[stored.number].owners += 1
        if !target.matches.isNone { matchLists[target.matches.number].owners += 1 }
        backlogs[backlog].bytes += UInt64(bytes)
        let entry = Entry(message: stored, matches: target.matches, opaque: target.opaque, deliveries: 0, isReplay: target.flags.contains(.replay))
        let waitsForDisk = ticket != 0 && policies[policyNumber].isDurable
        if backlogs[backlog].ready.isEmpty, backlogs[backlog].requeued.isEmpty, !waitsForDisk, backlogs[backlog].undurable.isEmpty {
            let consumer = nextTaker(of: queue)
            if consumer != 0 {
                let position = backlogs[backlog].firstReady
                backlogs[backlog].firstReady = position + 1
                handOut(entry, at: position, of: backlog, to: ConsumerID(consumer), &effects)
                return true
            }
        }
        if waitsForDisk {
            if backlogs[backlog].undurable.isEmpty { undurableQueues.append(queue) }
            backlogs[backlog].undurable.append(Undurable(position: backlogs[backlog].end, ticket: ticket, shard: origin))
        }
        backlogs[backlog].ready.append(entry)
        // Nobody is slowed down for somebody who is away.
        if queues[queue.number].nextConsumer != 0 { noteFullness(of: backlog, policyNumber, &effects) }
        return true
    }

    @inline(never) private func noteOverflow(of queue: QueueID, _ effects: inout Effects) {
        let consumer = queues[queue.number].nextConsumer
        guard consumer != 0, consumers[consumer].feed == 0 else { return }
        let isNoted = (0..<effects.overflowing.count).contains { effects.overflowing[$0].token == consumers[consumer].token }
        if !isNoted { effects.overflowing.append(Overflowing(gateway: consumers[consumer].gateway, token: consumers[consumer].token)) }
    }

    @inline(__always) private func noteFullness(of backlog: UInt32, _ policy: Int, _ effects: inout Effects) {
        let half = Int(policies[policy].messagesMax / 2), count = backlogs[backlog].ready.count
        let halfBytes = policies[policy].bytesMax / 2, bytes = backlogs[backlog].bytes
        guard count > half || bytes > halfBytes else { return }
        let byCount = (count - half) * 255 / max(1, half), byBytes = Int(max(bytes, halfBytes) - halfBytes) * 255 / Int(max(1, halfBytes))
        effects.fullness = max(effects.fullness, UInt8(clamping: max(byCount, byBytes)))
    }

    /// Drops the oldest ready entries until a message fits; false if that does not help.
    private mutating func makeRoom(in backlog: UInt32, _ policy: Int, for bytes: Int, _ effects: inout Effects) -> Bool {
        while backlogs[backlog].count >= Int(policies[policy].messagesMax) || backlogs[backlog].bytes + UInt64(bytes) > policies[policy].bytesMax {
            // An entry on its way to disk has an acknowledgement to come: it stays.
            guard backlogs[backlog].hasDeliverable else { return false }
            let (_, entry) = backlogs[backlog].takeNext()
            guard !entry.message.isNone else { continue }
            backlogs[backlog].bytes -= UInt64(messages[entry.message.number].byteCount)
            drop(entry, &effects)
            counters.droppedOldest += 1
        }
        return true
    }

    /// Gives out what waits in a queue, as far as its consumers can take it.
    public mutating func pump(_ queue: QueueID, into effects: inout Effects) {
        if queues[queue.number].replay != 0 { scheduleReplays(of: queue) }
        let backlog = queues[queue.number].backlog
        guard backlog != 0 else { return }
        var count = 0, bytes = 0
        while backlogs[backlog].hasDeliverable {
            let consumer = nextTaker(of: queue)
            guard consumer != 0 else { return }
            if count == limits.deliveriesPerPump || bytes > limits.bytesPerPump {
                unfinishedQueues.append(queue)
                return
            }
            let (position, entry) = backlogs[backlog].takeNext()
            if entry.message.isNone { continue }
            // What was given out once is given out again: its consumer may have it half.
            if messages[entry.message.number].header.expiry <= wallTime, entry.deliveries == 0 {
                backlogs[backlog].bytes -= UInt64(messages[entry.message.number].byteCount)
                drop(entry, &effects)
                counters.expired += 1
                continue
            }
            bytes += messages[entry.message.number].byteCount
            handOut(entry, at: position, of: backlog, to: ConsumerID(consumer), &effects)
            count += 1
        }
    }

    /// Whether a pump was cut short: `continuePumping` is wanted in the next tick.
    public var isUnfinished: Bool { !unfinishedQueues.isEmpty || !replayingQueues.isEmpty }

    public mutating func continuePumping(into effects: inout Effects) {
        let queues = unfinishedQueues
        unfinishedQueues.removeAll()
        for queue in queues { pump(queue, into: &effects) }
        if !replayingQueues.isEmpty { continueReplays(into: &effects) }
    }
}
