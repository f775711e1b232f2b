import MartletBytes
import MartletCollections

/// Names a group: several queues that share what one pattern lets through, each message going to one of them.
struct GroupKey: Hashable, Sendable {
    let hub: HubID
    let name: [UInt8]
    let pattern: [UInt8]
}

/// One queue's part in a group, on that queue's shard.
struct Membership {
    let key: GroupKey
    /// The shard that has the group's queue.
    let owner: UInt8
    let queue: QueueID
    let options: BindingOptions
    let matches: MatchListID
    /// Its definition in the journal, which ends with it.
    let record: JournalName
}

/// A group's consumer, on the group's shard: it gives what it takes to a member's queue.
struct Feed: BitwiseCopyable {
    struct Name: Hashable, BitwiseCopyable {
        let shard: UInt8
        let membership: UInt64
    }
    let name: Name
    var consumer = ConsumerID.none
    /// The member has left; what it still holds unsettled is waited for.
    var isLeaving = false
}

/// Where an entry of a member's queue came from: to be told how it was settled.
struct Origin: BitwiseCopyable {
    let owner: UInt8
    let membership: UInt64
    let position: UInt64
    /// Once given out, nobody else may get it.
    var isExactlyOnce = false
    /// The group's entry in the journal.
    var name = JournalName.none
}

/// Groups: a queue of their own, on the shard of whoever made them, whose consumers are the members' queues, wherever those are.
///
/// Invariant: a message of a group is in one member's queue or waits in the group's; it leaves the group's queue when the member has
/// settled it. What a member that goes away has not settled returns to the group at its old position, but for what was given to it
/// exactly once (`BindingOptions.Flags.exactlyOnce`): nobody else may get that. The last member to leave takes the group along.
extension BrokerCore {
    // MARK: On the member's shard

    /// Makes `queue` a member of the group called `name` under `pattern`; false if it was one already, with other options perhaps, which
    /// are replaced. `limit`: what it may hold unsettled of the group's, 0 for any number. The group is bound when this returns.
    /// `record`: the membership's definition in the journal (`define`), which ends with it.
    public mutating func join(
        _ name: [UInt8], _ hub: HubID, _ pattern: [UInt8], _ queue: QueueID, _ options: BindingOptions, policy: QueuePolicy, limit: UInt32,
        record: JournalName = .none, into effects: inout Effects
    ) -> Bool {
        let key = GroupKey(hub: hub, name: name, pattern: pattern)
        let old = membership(of: queue, in: key)
        let owner = router.joinGroup(key, from: shard) {
            let queue = openGroup(key, policy, &effects)
            groups[key] = queue
            groupKeys[queue] = key
            bind(queue, to: hub, .address(pattern), BindingOptions(flags: options.flags.intersection(.sparesReserved)))
        }
        lastMembership += 1
        var list = MatchListID.none
        if options.tag != 0 {
            list = MatchListID(matchLists.insert(MatchList(matches: OwnedArray([BindingMatch(opaque: options.opaque, tag: options.tag)]), owners: 1)))
        }
        memberships[lastMembership] = Membership(key: key, owner: owner, queue: queue, options: options, matches: list, record: record)
        membershipsOfQueue[queue, default: []].append(lastMembership)
        queues[queue.number].isMember = true
        let isPresent = queues[queue.number].nextConsumer != 0
        let joining = Joining(membership: lastMembership, key: key, isAtMostOnce: options.flags.contains(.atMostOnce), isPresent: isPresent, limit: limit)
        if owner == shard { admit(joining, from: shard, &effects) } else { PeerMail.appendJoining(joining, to: &effects.mail[UInt32(owner) + 1]) }
        if let old { endMembership(old, &effects) }
        return old == nil
    }

    private mutating func openGroup(_ key: GroupKey, _ policy: QueuePolicy, _ effects: inout Effects) -> QueueID {
        guard policy.isDurable, isJournaled else { return openQueue(policy) }
        let definition = definition(of: key)
        if let restored = router.takeRestored(group: definition) {
            let queue = openQueue(policy, serial: restored.serial)
            groupNames[queue] = restored.name
            return queue
        }
        let queue = openQueue(policy)
        if isRestoring { undefinedGroups.append(queue) } else { defineGroup(queue, definition, &effects) }
        return queue
    }

    mutating func defineGroup(_ queue: QueueID, _ definition: [UInt8], _ effects: inout Effects) {
        var bytes = ByteBuffer()
        bytes.append(serial(of: queue))
        bytes.append(definition.span)
        groupNames[queue] = define(Self.definer, 1, bytes.span, into: &effects)
    }

    /// False if it was no member.
    public mutating func leave(_ name: [UInt8], _ hub: HubID, _ pattern: [UInt8], _ queue: QueueID, into effects: inout Effects) -> Bool {
        guard let number = membership(of: queue, in: GroupKey(hub: hub, name: name, pattern: pattern)) else { return false }
        endMembership(number, &effects)
        return true
    }

    private func membership(of queue: QueueID, in key: GroupKey) -> UInt64? {
        guard queues[queue.number].isMember else { return nil }
        return membershipsOfQueue[queue]?.first { memberships[$0]?.key == key }
    }

    private mutating func endMembership(_ number: UInt64, _ effects: inout Effects) {
        guard let membership = memberships.removeValue(forKey: number) else { return }
        undefine(membership.record, into: &effects)
        membershipsOfQueue[membership.queue]?.removeAll { $0 == number }
        if membershipsOfQueue[membership.queue]?.isEmpty == true {
            membershipsOfQueue[membership.queue] = nil
            queues[membership.queue.number].isMember = false
        }
        // First it is given nothing more, then it gives back.
        if membership.owner == shard {
            dismiss(Feed.Name(shard: shard, membership: number), &effects)
        } else {
            PeerMail.appendLeaving(number, to: &effects.mail[UInt32(membership.owner) + 1])
        }
        returnReady(of: membership.queue, &effects) { $0.membership == number }
        if !membership.matches.isNone { spentLists.append(membership.matches) }
    }

    /// The queue goes: it leaves all its groups.
    mutating func leaveAll(_ queue: QueueID, _ effects: inout Effects) {
        for number in membershipsOfQueue[queue] ?? [] { endMembership(number, &effects) }
    }

    /// Whether a member has a consumer that takes anything just now; it gets nothing of its groups while it has none, and what it had
    /// not settled goes to others. To be said after its consumer was added or removed. `limit` as for `join`.
    public mutating func setPresence(of queue: QueueID, _ isPresent: Bool, limit: UInt32 = 0, into effects: inout Effects) {
        guard queues[queue.number].isMember || !isPresent else { return }
        for number in membershipsOfQueue[queue] ?? [] {
            guard let owner = memberships[number]?.owner else { continue }
            if owner == shard {
                setPresence(of: Feed.Name(shard: shard, membership: number), isPresent, limit, &effects)
            } else {
                PeerMail.appendPresence(number, isPresent, limit: limit, to: &effects.mail[UInt32(owner) + 1])
            }
        }
        if !isPresent { returnAll(of: queue, &effects) }
    }

    /// Back to their groups: entries of a queue that were not given out. Their places stay, empty, until their turn comes.
    private mutating func returnReady(of queue: QueueID, _ effects: inout Effects, where isWanted: (Origin) -> Bool) {
        let backlog = queues[queue.number].backlog
        guard backlog != 0, origins.count > 0 else { return }
        for index in 0..<backlogs[backlog].ready.count {
            let entry = backlogs[backlog].ready[index]
            guard entry.origin != 0, isWanted(origins[entry.origin]) else { continue }
            backlogs[backlog].ready[index] = Entry(message: .none, matches: .none, opaque: 0)
            giveBack(entry, of: backlog, &effects)
        }
    }

    private mutating func giveBack(_ entry: Entry, of backlog: UInt32, _ effects: inout Effects) {
        backlogs[backlog].bytes -= UInt64(messages[entry.message.number].byteCount)
        release(entry.message)
        release(entry.matches)
        settleOrigin(entry.origin, .requeued, &effects)
    }

    private mutating func returnAll(of queue: QueueID, _ effects: inout Effects) {
        let backlog = queues[queue.number].backlog
        guard backlog != 0, origins.count > 0 else { return }
        returnReady(of: queue, &effects) { _ in true }
        var kept = MinHeap<Requeued>()
        while !backlogs[backlog].requeued.isEmpty {
            let requeued = backlogs[backlog].requeued.removeFirst()
            if requeued.entry.origin == 0 || origins[requeued.entry.origin].isExactlyOnce {
                kept.insert(requeued)
            } else {
                giveBack(requeued.entry, of: backlog, &effects)
            }
        }
        backlogs[backlog].requeued = kept
    }

    /// A member is done with an entry: its group hears of it.
    mutating func settleOrigin(_ number: UInt32, _ settlement: Settlement, _ effects: inout Effects) {
        guard number != 0 else { return }
        let origin = origins.remove(number)
        if origin.owner == shard {
            settled(Feed.Name(shard: shard, membership: origin.membership), origin.position, settlement, &effects)
        } else {
            PeerMail.appendSettled(origin.membership, origin.position, settlement, to: &effects.mail[UInt32(origin.owner) + 1])
        }
    }

    /// The order of the message that was given out at `position`, as `order` says. What a group gave exactly once becomes the queue's own, in the
    /// journal, too: a record of its own takes the place of the group's entry, in the same block.
    public mutating func own(_ queue: QueueID, at position: UInt64, into effects: inout Effects) -> UInt64 {
        let backlog = queues[queue.number].backlog
        guard backlog != 0, let entry = backlogs[backlog].unsettled.value(at: position)?.entry, !entry.message.isNone, entry.origin != 0 else {
            return order(of: queue, at: position)
        }
        let origin = origins[entry.origin]
        guard origin.isExactlyOnce, entry.name.isNone, !origin.name.isNone else { return order(of: queue, at: position) }
        let order = nextTicket(&effects), name = takePlace(effects).name
        JournalRecord.appendMessage(
            messages[entry.message.number].message, to: serial(of: queue), opaque: entry.opaque,
            matches: entry.matches.isNone ? [] : matches(entry.matches), hub: router.names(of: messages[entry.message.number].message.hub),
            ordinal: name.ordinal, order: order, into: &effects.records)
        _ = backlogs[backlog].unsettled.update(position) { $0.entry.name = name }
        end(origin.name, &effects)
        origins[entry.origin].name = .none
        if origin.owner == shard {
            disown(Feed.Name(shard: shard, membership: origin.membership), origin.position)
        } else {
            PeerMail.appendTaken(origin.membership, origin.position, to: &effects.mail[UInt32(origin.owner) + 1])
        }
        return order
    }

    /// Puts a group's message, which is stored here, into a member's queue or its consumer's hands.
    private mutating func take(_ message: MessageID, of membership: Membership, _ origin: Origin, _ effects: inout Effects) {
        let queue = membership.queue
        let backlog = backlog(of: queue)
        messages[message.number].owners += 1
        if !membership.matches.isNone { matchLists[membership.matches.number].owners += 1 }
        backlogs[backlog].bytes += UInt64(messages[message.number].byteCount)
        var entry = Entry(message: message, matches: membership.matches, opaque: membership.options.opaque)
        var origin = origin
        origin.isExactlyOnce = membership.options.flags.contains(.exactlyOnce) && messages[message.number].header.flags.contains(.exactlyOnce)
        entry.origin = origins.insert(origin)
        if backlogs[backlog].ready.isEmpty, backlogs[backlog].requeued.isEmpty, backlogs[backlog].undurable.isEmpty {
            let consumer = nextTaker(of: queue)
            if consumer != 0 {
                let position = backlogs[backlog].firstReady
                backlogs[backlog].firstReady = position + 1
                return handOut(entry, at: position, of: backlog, to: ConsumerID(consumer), &effects)
            }
        }
        backlogs[backlog].ready.append(entry)
    }

    /// At most once, to the consumer that the member has now.
    private mutating func pass(_ message: MessageID, _ membership: Membership, _ effects: inout Effects) {
        let consumer = queues[membership.queue.number].nextConsumer
        guard consumer != 0, !consumers[consumer].isPaused else { counters.droppedSlow &+= 1; return }
        counters.delivered &+= 1
        effects.deliveries.append(
            Delivery(
                token: consumers[consumer].token, gateway: consumers[consumer].gateway, settles: false, isRedelivered: false,
                opaque: membership.options.opaque, matches: membership.matches, queue: membership.queue, consumer: ConsumerID(consumer), position: 0,
                message: message))
    }

    /// A message of a group on another shard.
    mutating func receiveFed(_ letter: borrowing PeerLetter, from owner: UInt8, _ effects: inout Effects) {
        let isPassed = letter.kind == .passed
        guard let membership = memberships[letter.membership], queues[membership.queue.number].nextConsumer != 0 else {
            if !isPassed { PeerMail.appendSettled(letter.membership, letter.position, .requeued, to: &effects.mail[UInt32(owner) + 1]) }
            return
        }
        if isPassed { return pass(.none, membership, &effects) }
        let stored = store(letter.message)
        let origin = Origin(owner: owner, membership: letter.membership, position: letter.position, name: letter.place.name)
        take(stored, of: membership, origin, &effects)
    }

    // MARK: On the group's shard

    mutating func admit(_ joining: Joining, from member: UInt8, _ effects: inout Effects) {
        guard let queue = groups[joining.key] else { return }
        let feed = feeds.insert(Feed(name: Feed.Name(shard: member, membership: joining.membership)))
        let consumer = addConsumer(to: queue, gateway: GatewayID(0), token: feed, settles: !joining.isAtMostOnce, limit: joining.limit)
        consumers[consumer.number].feed = feed
        consumers[consumer.number].isPaused = !joining.isPresent
        feeds[feed].consumer = consumer
        feedNumbers[feeds[feed].name] = feed
        pump(queue, into: &effects)
    }

    mutating func dismiss(_ name: Feed.Name, _ effects: inout Effects) {
        guard let feed = feedNumbers[name] else { return }
        let consumer = feeds[feed].consumer
        consumers[consumer.number].isPaused = true
        feeds[feed].isLeaving = true
        if consumers[consumer.number].outstanding == 0 { remove(feed, &effects) }
    }

    private mutating func remove(_ feed: UInt32, _ effects: inout Effects) {
        let consumer = feeds[feed].consumer, queue = consumers[consumer.number].queue
        removeConsumer(consumer)
        feedNumbers[feeds[feed].name] = nil
        feeds.remove(feed)
        guard let key = groupKeys[queue], router.leaveGroup(key) else { return }
        groups[key] = nil
        groupKeys[queue] = nil
        if let name = groupNames.removeValue(forKey: queue) { end(name, &effects) }
        deleteQueue(queue, into: &effects)
    }

    mutating func setPresence(of name: Feed.Name, _ isPresent: Bool, _ limit: UInt32, _ effects: inout Effects) {
        guard let feed = feedNumbers[name], !feeds[feed].isLeaving else { return }
        let consumer = feeds[feed].consumer
        if isPresent { consumers[consumer.number].limit = limit }
        pause(consumer, !isPresent, into: &effects)
    }

    /// The journal has it as its member's; this group does not end it there.
    mutating func disown(_ name: Feed.Name, _ position: UInt64) {
        guard let feed = feedNumbers[name] else { return }
        let backlog = queues[consumers[feeds[feed].consumer.number].queue.number].backlog
        if backlog != 0 { _ = backlogs[backlog].unsettled.update(position) { $0.entry.name = .none } }
    }

    mutating func settled(_ name: Feed.Name, _ position: UInt64, _ settlement: Settlement, _ effects: inout Effects) {
        guard let feed = feedNumbers[name] else { return }
        let consumer = feeds[feed].consumer
        _ = settle(consumers[consumer.number].queue, position, settlement, into: &effects)
        if feeds[feed].isLeaving, consumers[consumer.number].outstanding == 0 { remove(feed, &effects) }
    }

    /// A group's queue has given `entry` to the consumer of a feed.
    mutating func feed(_ entry: Entry, at position: UInt64, to consumer: ConsumerID, _ effects: inout Effects) {
        let name = feeds[consumers[consumer.number].feed].name, settles = consumers[consumer.number].settles
        guard name.shard == shard else {
            let mail = UInt32(name.shard) + 1
            PeerMail.appendFed(
                messages[entry.message.number].message, name.membership, at: position, settles ? entry.name : .none, settles: settles, to: &effects.mail[mail])
            return
        }
        guard let membership = memberships[name.membership] else { return }
        if settles {
            take(entry.message, of: membership, Origin(owner: shard, membership: name.membership, position: position, name: entry.name), &effects)
        } else {
            pass(entry.message, membership, &effects)
        }
    }

    /// The message being published goes at most once to the member whose turn it is.
    @inline(never) mutating func passOn(_ message: borrowing Message, toFeedOf consumer: UInt32, _ effects: inout Effects) {
        let name = feeds[consumers[consumer].feed].name
        guard name.shard == shard else {
            return PeerMail.appendFed(message, name.membership, at: 0, .none, settles: false, to: &effects.mail[UInt32(name.shard) + 1])
        }
        if let membership = memberships[name.membership] { pass(.none, membership, &effects) }
    }
}

/// What a member's shard tells the group's.
struct Joining {
    let membership: UInt64
    let key: GroupKey
    let isAtMostOnce: Bool
    let isPresent: Bool
    let limit: UInt32
}
