import MartletBytes
import MartletCollections

/// After a restart: what the journal holds comes back before anybody is let in. First the gateways' definitions (`Gateway.restore`), which open
/// queues under their old serial numbers; then the messages, in the order in which they were published.
extension BrokerCore {
    /// What belongs to one shard of a record that was read again.
    public struct RestoredEntry: BitwiseCopyable, Sendable {
        let queue: QueueID
        /// Its place among the record's entries.
        let index: UInt32

        public init(queue: QueueID, index: Int) {
            self.queue = queue
            self.index = UInt32(index)
        }

        /// A message in a queue, as it is known over a restart.
        struct Key: Hashable {
            let queue: QueueID
            let order: UInt64
        }
    }

    /// Puts a message back into its queues and, where it says so, into what its hub keeps. `first`: the name of the record's first entry;
    /// `offset`: where the record is in that segment.
    public mutating func restore(
        _ record: borrowing MessageRecord, order: UInt64, first: JournalName, offset: UInt32, entries: ArraySlice<RestoredEntry>, into effects: inout Effects
    ) {
        restoredOrder = max(restoredOrder, order)
        let message = record.message(of: restoredHub(record))
        let isExpired = message.header.expiry <= wallTime
        var stored = MessageID.none, next = entries.startIndex
        record.forEachTarget { target in
            guard next < entries.endIndex, entries[next].index == target.index else { return }
            let entry = entries[next], name = first.advanced(by: target.index), key = RestoredEntry.Key(queue: entry.queue, order: order)
            next += 1
            if isExpired {
                counters.expired &+= 1
                return end(name, &effects)
            }
            guard target.serial != 0 else { return restoreKept(message, name, &effects) }
            // What was written only because its queue was long was not to survive.
            guard message.header.flags.contains(.persistent) else { return end(name, &effects) }
            let backlog = backlog(of: entry.queue), expected = restoring.expected.isEmpty ? nil : restoring.expected[key]
            backlogs[backlog].bytes += UInt64(message.byteCount)
            if expected == nil, isPaging(backlog) {
                return backlogs[backlog].paged.append(PagedEntries.Place(name: name, offset: offset, byteCount: UInt32(message.byteCount)))
            }
            if stored.isNone {
                stored = store(message)
                messages[stored.number].order = order
            }
            messages[stored.number].owners += 1
            let list = record.matches(of: target)
            var waiting = Entry(
                message: stored, matches: list.isEmpty ? .none : makeList(list), opaque: expected?.opaque ?? target.opaque, name: name, isRecovered: true)
            if expected != nil {
                waiting.deliveries = 1
                restoreGiven(waiting, key, in: backlog)
            } else {
                backlogs[backlog].ready.append(waiting)
            }
        }
    }

    /// It was on its way to a consumer that is to get it under the same name again, before everything that it has not seen.
    private mutating func restoreGiven(_ entry: Entry, _ key: RestoredEntry.Key, in backlog: UInt32) {
        let position = nextGivenPosition(in: backlog)
        restoring.expected[key]?.position = position
        backlogs[backlog].requeued.insert(Requeued(position: position, entry: entry))
    }

    /// While the server starts: the next position before everything that was never given out.
    private mutating func nextGivenPosition(in backlog: UInt32) -> UInt64 {
        if backlogs[backlog].firstReady == 1 { backlogs[backlog].firstReady = Self.givenMax }
        return UInt64(backlogs[backlog].requeued.count + backlogs[backlog].unsettled.count) + 1
    }

    /// More than any consumer holds.
    private static var givenMax: UInt64 { 1 << 20 }

    private mutating func restoreKept(_ message: borrowing Message, _ name: JournalName, _ effects: inout Effects) {
        let kept = router.keep(message, by: 0, as: name, limits, at: wallTime)
        for ended in kept.ended { end(ended, &effects) }
        if kept.version == 0 { end(name, &effects) }
    }

    // MARK: What was on its way

    /// Before the messages come back: the one of this order in `queue` was given out, and its consumer will want to know where it is
    /// (`restoredPosition`); `opaque`: of its delivery, which counts, whatever its record says.
    public mutating func expect(_ order: UInt64, in queue: QueueID, opaque: UInt16) {
        restoring.expected[RestoredEntry.Key(queue: queue, order: order)] = Restoring.Expected(opaque: opaque)
    }

    /// A message that a consumer has for good, whose name is still in use (`Settlement.received`): its position.
    public mutating func restoreReceived(in queue: QueueID) -> UInt64 {
        let backlog = backlog(of: queue), position = nextGivenPosition(in: backlog), gone = Entry(message: .none, matches: .none, opaque: 0)
        backlogs[backlog].unsettled.insert(Unsettled(entry: gone, consumer: .none, isReceived: true), at: position)
        return position
    }

    /// Where an expected message is; nil: it is not there any more.
    public func restoredPosition(of order: UInt64, in queue: QueueID) -> UInt64? {
        restoring.expected[RestoredEntry.Key(queue: queue, order: order)].flatMap { $0.position == 0 ? nil : $0.position }
    }

    /// Everything is back.
    public mutating func endRestoring() { restoring = Restoring() }

    /// The order of the message that was given out at `position`; 0: it is not in the journal.
    public func order(of queue: QueueID, at position: UInt64) -> UInt64 {
        let backlog = queues[queue.number].backlog
        guard backlog != 0, let unsettled = backlogs[backlog].unsettled.value(at: position), !unsettled.entry.message.isNone else { return 0 }
        return messages[unsettled.entry.message.number].order
    }

    /// The hub that a message came to; if it is gone, one that only carries its name.
    mutating func restoredHub(_ record: borrowing MessageRecord) -> HubID {
        if let known = lastRestoredHub, record.isOf(known.names) { return known.hub }
        let names = record.names(), (hub, isThere) = router.hub(restored: names.hub, in: names.namespace)
        if !isThere { removedHubs.insert(hub) }
        lastRestoredHub = (record.nameBytes, hub)
        return hub
    }

    // MARK: Groups

    /// A group whose queue survives a restart is defined by the core itself, as a gateway of this number.
    public static var definer: GatewayID { GatewayID(.max) }

    /// Restores a definition of the core's own.
    public mutating func restore(_ definition: Span<UInt8>, as name: JournalName) {
        var reader = ByteReader(definition)
        guard let serial = reader.readUInt64() else { return }
        router.restored(group: definition.extracting(8..<definition.count).array, serial: serial, as: name)
    }

    /// Ends groups that none of the restored sessions is a member of.
    public mutating func endGroups(into effects: inout Effects) { for name in router.takeRestoredGroups() { end(name, &effects) } }

    /// From here on things can be defined. A group whose members were on disk and its own definition not, because another shard's was to
    /// write that, gets a new one.
    public mutating func begin(at tail: JournalTail, into effects: inout Effects) {
        journalTail = tail
        isRestoring = false
        for queue in undefinedGroups { if let key = groupKeys[queue] { defineGroup(queue, definition(of: key), &effects) } }
        undefinedGroups = []
    }

    func definition(of group: GroupKey) -> [UInt8] {
        let names = router.names(of: group.hub)
        return [names.namespace, names.hub, group.name, group.pattern].flatMap { part in
            [UInt8(truncatingIfNeeded: part.count >> 8), UInt8(truncatingIfNeeded: part.count)] + part
        }
    }
}

/// What is known while messages come back.
struct Restoring {
    /// What was on its way.
    struct Expected {
        let opaque: UInt16
        /// 0: it has not come back.
        var position: UInt64 = 0
    }
    var expected: [BrokerCore.RestoredEntry.Key: Expected] = [:]
}
