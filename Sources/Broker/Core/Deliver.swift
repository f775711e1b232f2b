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
        while consumer != queues[queue.number].firstParked {
            if canTake(consumer) {
                passTurn(of: queue)
                return consumer
            }
            park(consumer, of: queue)
            consumer = queues[queue.number].nextConsumer
        }
        return 0
    }

    func delivery(_ entry: Entry, to consumer: ConsumerID, at position: UInt64, isRedelivered: Bool) -> Delivery {
        Delivery(
            token: consumers[consumer.number].token, gateway: consumers[consumer.number].gateway, settles: consumers[consumer.number].settles,
            isRedelivered: isRedelivered, opaque: entry.opaque, matches: entry.matches, queue: consumers[consumer.number].queue,
            consumer: consumer, position: position, message: entry.message, isReplay: entry.isReplay)
    }

    /// The delivery that a consumer was given at `position`, once more; nil: it is settled, received, or given back.
    public func delivery(of queue: QueueID, at position: UInt64) -> Delivery? {
        let backlog = queues[queue.number].backlog
        guard backlog != 0, let unsettled = backlogs[backlog].unsettled.value(at: position), !unsettled.isReceived, !unsettled.consumer.isNone else {
            return nil
        }
        return delivery(unsettled.entry, to: unsettled.consumer, at: position, isRedelivered: unsettled.entry.isRedelivered)
    }

    /// Gives an entry to a consumer that can take it.
    mutating func handOut(_ entry: Entry, at position: UInt64, of backlog: UInt32, to consumer: ConsumerID, _ effects: inout Effects) {
        if consumers[consumer.number].feed == 0 {
            counters.delivered &+= 1
            effects.deliveries.append(delivery(entry, to: consumer, at: position, isRedelivered: entry.isRedelivered))
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
            end(entry.name, &effects)
        }
        if consumers[consumer.number].feed != 0 { feed(entry, at: position, to: consumer, &effects) }
    }

    /// The number of a queue's backlog, made if it has none.
    @inline(__always) mutating func backlog(of queue: QueueID) -> UInt32 {
        if queues[queue.number].backlog == 0 { queues[queue.number].backlog = backlogs.insert(Backlog()) }
        return queues[queue.number].backlog
    }

    /// Puts the message that is being published into a queue, or straight into a consumer's hands.
    /// False: the queue is full. `stored` is the message's one copy on this shard, made when first needed; `place` the entry's in the journal,
    /// where it ends if the queue does not take it.
    mutating func enqueue(
        _ message: borrowing Message, stored: inout MessageID, _ target: RouteTarget, ticket: UInt64, from origin: UInt8,
        at place: PagedEntries.Place = PagedEntries.Place(), _ effects: inout Effects
    ) -> Bool {
        let name = place.name
        let queue = target.queue, policyNumber = Int(queues[queue.number].policy)
        let backlog = backlog(of: queue)
        let bytes = message.byteCount
        if backlogs[backlog].count >= Int(policies[policyNumber].messagesMax) || backlogs[backlog].bytes + UInt64(bytes) > policies[policyNumber].bytesMax {
            if policies[policyNumber].overflow == .dropNewest {
                counters.droppedNewest += 1
                noteOverflow(of: queue, &effects)
                end(name, &effects)
                return true
            }
            guard policies[policyNumber].overflow == .dropOldest, makeRoom(in: backlog, policyNumber, for: bytes, &effects) else {
                // Who comes to a full queue is slowed down with those who filled it.
                if policies[policyNumber].overflow == .refuse { (effects.fullness, effects.fullest) = (.max, queue) }
                end(name, &effects)
                return false
            }
        }
        if isJournaled, policies[policyNumber].isDurable, !name.isNone || backlogs[backlog].isPaged, isPaging(backlog) {
            page(message, target, at: place, ticket: ticket, from: origin, in: backlog, &effects)
            if policies[policyNumber].overflow == .refuse { noteFullness(of: queue, backlog, policyNumber, &effects) }
            return true
        }
        let waitsForDisk = ticket != 0 && policies[policyNumber].isDurable, isNext = !waitsForDisk && backlogs[backlog].takesNext
        if isNext, passOnSettled(target, &effects) { return true }
        if stored.isNone {
            guard storedBytes + bytes <= limits.storedBytesMax else {
                end(name, &effects)
                return false
            }
            stored = store(message)
        }
        if ticket != 0 { messages[stored.number].order = ticket }
        messages[stored.number].owners += 1
        if !target.matches.isNone { matchLists[target.matches.number].owners += 1 }
        backlogs[backlog].bytes += UInt64(bytes)
        let entry = Entry(message: stored, matches: target.matches, opaque: target.opaque, name: name, isReplay: target.flags.contains(.replay))
        if isNext {
            let consumer = nextTaker(of: queue)
            if consumer != 0 {
                let position = backlogs[backlog].firstReady
                backlogs[backlog].firstReady = position + 1
                handOut(entry, at: position, of: backlog, to: ConsumerID(consumer), &effects)
                if policies[policyNumber].overflow == .refuse { noteFullness(of: queue, backlog, policyNumber, &effects) }
                return true
            }
        }
        if waitsForDisk {
            if backlogs[backlog].undurable.isEmpty { undurableQueues.append(queue) }
            backlogs[backlog].undurable.append(Undurable(position: backlogs[backlog].end, ticket: ticket, shard: origin))
        }
        backlogs[backlog].ready.append(entry)
        // Nobody is slowed down for somebody who is away, but for a queue that will refuse.
        if queues[queue.number].nextConsumer != 0 || policies[policyNumber].overflow == .refuse { noteFullness(of: queue, backlog, policyNumber, &effects) }
        return true
    }

    /// A consumer that is done with what it is given when it is given it needs no copy: false if the queue's next one is another kind.
    @inline(__always) private mutating func passOnSettled(_ target: RouteTarget, _ effects: inout Effects) -> Bool {
        let first = queues[target.queue.number].nextConsumer
        guard first != 0, !consumers[first].settles, !consumers[first].isPaused, consumers[first].feed == 0, first != queues[target.queue.number].firstParked
        else {
            return false
        }
        passTurn(of: target.queue)
        counters.delivered &+= 1
        effects.deliveries.append(
            Delivery(
                token: consumers[first].token, gateway: consumers[first].gateway, settles: false, isRedelivered: false, opaque: target.opaque,
                matches: target.matches, queue: target.queue, consumer: ConsumerID(first), position: 0, message: .none,
                isReplay: target.flags.contains(.replay)))
        return true
    }

    @inline(never) private func noteOverflow(of queue: QueueID, _ effects: inout Effects) {
        let consumer = queues[queue.number].nextConsumer
        guard consumer != 0, consumers[consumer].feed == 0 else { return }
        let isNoted = (0..<effects.overflowing.count).contains { effects.overflowing[$0].token == consumers[consumer].token }
        if !isNoted { effects.overflowing.append(Overflowing(gateway: consumers[consumer].gateway, token: consumers[consumer].token)) }
    }

    @inline(__always) private func noteFullness(of queue: QueueID, _ backlog: UInt32, _ policy: Int, _ effects: inout Effects) {
        let fullness = fullness(backlog, policy)
        guard fullness > effects.fullness else { return }
        effects.fullness = fullness
        effects.fullest = policies[policy].overflow == .refuse ? queue : .none
    }

    /// Drops the oldest ready entries until a message fits; false if that does not help.
    private mutating func makeRoom(in backlog: UInt32, _ policy: Int, for bytes: Int, _ effects: inout Effects) -> Bool {
        while backlogs[backlog].count >= Int(policies[policy].messagesMax) || backlogs[backlog].bytes + UInt64(bytes) > policies[policy].bytesMax {
            if !backlogs[backlog].hasDeliverable, dropPaged(in: backlog, &effects) { continue }
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
        guard backlog != 0, !queues[queue.number].isUnfinished else { return }
        if backlogs[backlog].turn != turn {
            backlogs[backlog].turn = turn
            backlogs[backlog].givenInTurn = 0
            backlogs[backlog].givenBytesInTurn = 0
        }
        while backlogs[backlog].hasDeliverable {
            let consumer = nextTaker(of: queue)
            guard consumer != 0 else { break }
            if backlogs[backlog].givenInTurn >= limits.deliveriesPerPump || backlogs[backlog].givenBytesInTurn > limits.bytesPerPump {
                queues[queue.number].isUnfinished = true
                unfinishedQueues.append(queue)
                return
            }
            let (position, entry) = backlogs[backlog].takeNext()
            if entry.message.isNone { continue }
            if dropExpired(entry, of: backlog, &effects) { continue }
            backlogs[backlog].givenBytesInTurn += messages[entry.message.number].byteCount
            backlogs[backlog].givenInTurn += 1
            handOut(entry, at: position, of: backlog, to: ConsumerID(consumer), &effects)
        }
        if backlogs[backlog].isPaged { readAhead(queue, &effects) }
    }

    @inline(__always) private func fullness(_ backlog: UInt32, _ policy: Int) -> UInt8 {
        let half = Int(policies[policy].messagesMax / 2)
        // What refuses counts what its consumers hold; they may never let go of it.
        let count = policies[policy].overflow == .refuse ? backlogs[backlog].count : backlogs[backlog].waiting - backlogs[backlog].requeued.count
        let halfBytes = policies[policy].bytesMax / 2, bytes = backlogs[backlog].bytes
        guard count > half || bytes > halfBytes else { return 0 }
        let byCount = (count - half) * 255 / max(1, half), byBytes = Int(max(bytes, halfBytes) - halfBytes) * 255 / Int(max(1, halfBytes))
        return UInt8(clamping: max(byCount, byBytes))
    }

    /// What was given out once is given out again: its consumer may have it half.
    @inline(__always) mutating func dropExpired(_ entry: Entry, of backlog: UInt32, _ effects: inout Effects) -> Bool {
        guard messages[entry.message.number].header.expiry <= wallTime, entry.deliveries == 0 else { return false }
        backlogs[backlog].bytes -= UInt64(messages[entry.message.number].byteCount)
        drop(entry, &effects)
        counters.expired += 1
        return true
    }

    /// How full a queue is: 0 up to half, 255 at its limit.
    public func fullness(of queue: QueueID) -> UInt8 {
        let backlog = queues[queue.number].backlog
        return backlog == 0 ? 0 : fullness(backlog, Int(queues[queue.number].policy))
    }

    /// Whether a pump was cut short: `continuePumping` is wanted in the next tick.
    public var isUnfinished: Bool { !unfinishedQueues.isEmpty || !replayingQueues.isEmpty }

    public mutating func continuePumping(into effects: inout Effects) {
        let queues = unfinishedQueues
        unfinishedQueues.removeAll()
        turn &+= 1
        for queue in queues { self.queues[queue.number].isUnfinished = false }
        for queue in queues { pump(queue, into: &effects) }
        if !replayingQueues.isEmpty { continueReplays(into: &effects) }
    }
}
