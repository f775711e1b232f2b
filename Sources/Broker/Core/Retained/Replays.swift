import MartletBytes
import MartletCollections

/// A queue being given what a hub kept when the queue was bound.
struct Replay: ~Copyable {
    let queue: QueueID
    let binding: UInt32
    var walk: RetainedWalk
    /// What the binding says, for each message.
    let target: RouteTarget
    /// Its neighbours in the queue's ring.
    var next: UInt32 = 0
    var previous: UInt32 = 0

    var isAtMostOnce: Bool { target.passesAtMostOnce && target.flags.contains(.atMostOnce) }
}

/// What the hubs keep: how it gets there, and how it is given out again.
extension BrokerCore {
    /// Hands a retained publication to the router; 0: it is refused. The first entry of its record, which is to be written, is the hub's.
    @inline(never) mutating func keep(_ message: borrowing Message, _ effects: inout Effects) -> UInt64 {
        let queue = message.header.publisherQueue
        let name = isJournaled && message.isKeptInJournal ? nextName : .none
        let kept = router.keep(message, by: queue.isNone ? 0 : queues[queue.number].serial, as: name, limits, at: wallTime)
        for name in kept.ended { end(name, &effects) }
        if kept.version == 0 {
            counters.refused &+= 1
            counters.retainedRefused &+= 1
        }
        return kept.version
    }

    /// The place of the route as it was when the message was stored: a binding made afterwards gets it by replay. The route differs from
    /// the cached one only if another shard's binding came between, or the message was on its way for a while.
    @inline(never) mutating func route(_ message: borrowing Message, storedAs version: UInt64) -> Int {
        let place = route(message)
        if cache.routes[place: place].newest < version { return place }
        if place == uncacheablePlace { forgetUncacheableRoute() }
        var matches: [RouteMatch] = []
        _ = router.route(message, into: &matches)
        matches.removeAll { $0.since >= version }
        let older = assemble(&matches, of: message.hub)
        // A hub of this number there is not.
        uncacheablePlace = cache.routes.insert(older, message.address, message.hub.number | 1 << 31)
        cache.lastPlace = -1
        return uncacheablePlace
    }

    // MARK: Coming and going

    /// Gives a queue what a walk finds, behind what its other replays do. A replay through the same binding begins anew.
    mutating func beginReplay(_ walk: RetainedWalk, through binding: UInt32, _ options: BindingOptions, into queue: QueueID) {
        if let earlier = replayOfBinding.value(at: UInt64(binding)) { endReplay(earlier) }
        let passes = policy(of: queue).passesAtMostOnce
        if passes, options.flags.contains(.atMostOnce), queues[queue.number].nextConsumer == 0 { return router.abandon(walk) }
        var list = MatchListID.none
        if options.tag != 0 {
            let matches = OwnedArray([BindingMatch(opaque: options.opaque, tag: options.tag)])
            list = MatchListID(matchLists.insert(MatchList(matches: matches, owners: 1)))
        }
        let target = RouteTarget(
            queue: queue, matches: list, opaque: options.opaque, flags: options.flags.union(.replay), passesAtMostOnce: passes)
        let number = replays.insert(Replay(queue: queue, binding: binding, walk: walk, target: target))
        replayOfBinding.insert(number, at: UInt64(binding))
        let first = queues[queue.number].replay
        if first == 0 {
            replays[number].next = number
            replays[number].previous = number
            queues[queue.number].replay = number
        } else {
            let last = replays[first].previous
            replays[number].next = first
            replays[number].previous = last
            replays[last].next = number
            replays[first].previous = number
        }
        scheduleReplays(of: queue)
    }

    mutating func endReplay(_ number: UInt32) {
        let queue = replays[number].queue, next = replays[number].next, previous = replays[number].previous
        if next == number {
            queues[queue.number].replay = 0
        } else {
            replays[previous].next = next
            replays[next].previous = previous
            if queues[queue.number].replay == number { queues[queue.number].replay = next }
        }
        _ = replayOfBinding.remove(UInt64(replays[number].binding))
        // Deliveries of this tick may still name it.
        let list = replays[number].target.matches
        if !list.isNone { spentLists.append(list) }
        let replay = replays.remove(number)
        if !replay.walk.places.isEmpty { router.abandon(replay.walk) }
    }

    /// The queue is going.
    mutating func endReplays(of queue: QueueID) {
        while queues[queue.number].replay != 0 { endReplay(queues[queue.number].replay) }
        if queues[queue.number].isReplaying { replayingQueues.removeAll { $0 == queue } }
    }

    /// The queue's last consumer is gone: what it may lose it does not get; the rest goes on with the next consumer.
    mutating func giveUpReplays(of queue: QueueID) {
        var left: [UInt32] = []
        var number = queues[queue.number].replay
        repeat {
            if replays[number].isAtMostOnce { left.append(number) }
            number = replays[number].next
        } while number != queues[queue.number].replay
        for number in left { endReplay(number) }
    }

    // MARK: Going on

    /// Something changed that the queue's replays may have waited for.
    mutating func scheduleReplays(of queue: QueueID) {
        guard !queues[queue.number].isReplaying else { return }
        queues[queue.number].isReplaying = true
        replayingQueues.append(queue)
    }

    /// Lets the replays go on that can, as far as a tick's budget goes.
    mutating func continueReplays(into effects: inout Effects) {
        var tick = limits.replayTick
        let waiting = replayingQueues
        replayingQueues.removeAll(keepingCapacity: true)
        for queue in waiting {
            queues[queue.number].isReplaying = false
            if tick.isUsedUp || continueReplays(of: queue, &tick, &effects) { scheduleReplays(of: queue) }
        }
    }

    /// One step's worth of a queue's replays, in their order; true if more can be done at once.
    private mutating func continueReplays(of queue: QueueID, _ tick: inout ReplayBudget, _ effects: inout Effects) -> Bool {
        var turn = limits.replayStep
        while queues[queue.number].replay != 0 {
            let room = roomForReplays(in: queue)
            guard room > 0 else { return false }
            if turn.isUsedUp { return true }
            let number = queues[queue.number].replay
            var budget = ReplayBudget(messages: min(turn.messages, room), bytes: turn.bytes, nodes: turn.nodes)
            let before = budget
            let step = router.step(&replays[number].walk, &budget, at: wallTime)
            give(step.messages, replays[number].target, &effects)
            if step.isLast { endReplay(number) }
            let used = before.less(budget)
            turn = turn.less(used)
            tick = tick.less(used)
            // A look at a pattern's levels costs as much as a node.
            turn.nodes -= 1
            tick.nodes -= 1
        }
        return false
    }

    /// How many messages a replay may add to a queue now; 0 while no consumer can take anything or enough waits in it.
    private func roomForReplays(in queue: QueueID) -> Int {
        let first = queues[queue.number].nextConsumer
        guard first != 0 else { return 0 }
        var consumer = first
        while consumers[consumer].isPaused {
            consumer = consumers[consumer].next
            if consumer == first { return 0 }
        }
        let backlog = queues[queue.number].backlog, policy = Int(queues[queue.number].policy)
        let countMax = max(1, Int(policies[policy].messagesMax) / 2)
        guard backlog != 0 else { return min(limits.replayBacklogMax, countMax) }
        guard backlogs[backlog].bytes <= policies[policy].bytesMax / 2 else { return 0 }
        let waiting = backlogs[backlog].isPaged ? Int.max / 2 : backlogs[backlog].waiting
        return max(0, min(limits.replayBacklogMax - waiting, countMax - backlogs[backlog].count))
    }

    private mutating func give(_ found: borrowing ByteBuffer, _ target: RouteTarget, _ effects: inout Effects) {
        var reader = ByteReader(found.span)
        while reader.remaining > 0 {
            let place = MessagePlace(from: &reader), message = place.message(in: reader.bytes)
            counters.replayed &+= 1
            if target.passesAtMostOnce, target.flags.contains(.atMostOnce) || message.header.flags.contains(.atMostOnce) {
                passOnReplay(message, target, &effects)
            } else {
                var stored = MessageID.none
                if !enqueue(message, stored: &stored, target, ticket: 0, from: shard, &effects) { counters.refused &+= 1 }
            }
        }
    }

    private mutating func passOnReplay(_ message: borrowing Message, _ target: RouteTarget, _ effects: inout Effects) {
        let index = effects.deliveries.count
        passOn(message, target, &effects)
        guard effects.deliveries.count > index else { return }
        let stored = store(message)
        messages[stored.number].owners = 1
        spent.append(stored)
        effects.deliveries[index].message = stored
        effects.deliveries[index].isReplay = true
    }
}
