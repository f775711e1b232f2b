import MartletBytes
import MartletCollections

/// Queues longer than memory: above a budget, what is in the journal anyway is not kept in memory, and is read again when its turn comes.
///
/// Invariants: what is paged stands behind everything that the queue has in memory, and what comes next behind that; positions are given in the
/// order of arrival all the same. A message that the journal did not have is written there first, and does not survive a restart.
/// Not here: the disk. A read is an effect; its answer comes with `arrived`.
extension BrokerCore {
    /// What one reading asks for, in messages and bytes: enough to give out while the next comes.
    private static let readMessagesMax = 256, readBytesMax = 1 << 20
    /// A queue has this many entries in memory before any is paged, so that few messages and fast consumers pay nothing for others' backlogs.
    private static let residentMin = 64

    /// Whether the next entry of a queue is to be paged.
    @inline(__always) func isPaging(_ backlog: UInt32) -> Bool {
        if backlogs[backlog].isPaged { return true }
        return memoryBytes > limits.residentBytesMax && backlogs[backlog].ready.count >= Self.residentMin
    }

    /// Puts a message into a queue without keeping it in memory. `place`: where the shard `origin` wrote it down, under `ticket`; without a
    /// name it has to be written here.
    mutating func page(
        _ message: borrowing Message, _ target: RouteTarget, at place: PagedEntries.Place, ticket: UInt64, from origin: UInt8, in backlog: UInt32,
        _ effects: inout Effects
    ) {
        var place = place, ticket = ticket, origin = origin
        if place.name.isNone {
            let order = nextTicket(&effects)
            place = takePlace(effects)
            JournalRecord.appendMessage(
                message, to: serial(of: target.queue), opaque: target.opaque, matches: target.matches.isNone ? [] : matches(target.matches),
                hub: router.names(of: message.hub), ordinal: place.name.ordinal, order: order, into: &effects.records)
            (ticket, origin) = (order, shard)
        }
        place.byteCount = UInt32(message.byteCount)
        if backlogs[backlog].undurable.isEmpty { undurableQueues.append(target.queue) }
        backlogs[backlog].undurable.append(Undurable(position: backlogs[backlog].end, ticket: ticket, shard: origin))
        backlogs[backlog].bytes += UInt64(message.byteCount)
        backlogs[backlog].paged.append(place)
        counters.paged &+= 1
    }

    // MARK: Back into memory

    /// Asks for what comes next, if it is on disk and will soon be wanted.
    mutating func readAhead(_ queue: QueueID, _ effects: inout Effects) {
        let backlog = queues[queue.number].backlog, resident = backlogs[backlog].ready.count
        guard backlogs[backlog].reading == 0, !backlogs[backlog].paged.isEmpty else { return }
        guard resident < (queues[queue.number].nextConsumer == 0 ? Self.residentMin : Self.readMessagesMax) / 2 else { return }
        let readable = backlogs[backlog].durableCount - resident
        guard readable > 0 else { return }
        lastReading += 1
        var reading = Reading(queue: queue)
        while reading.entries.count < min(readable, Self.readMessagesMax), reading.byteCount < Self.readBytesMax, !backlogs[backlog].paged.isEmpty {
            let place = backlogs[backlog].paged.removeFirst()
            let id = UInt64(shard) << 56 | lastReading << 16 | UInt64(reading.entries.count)
            reading.entries.append(.init(place: place))
            reading.byteCount += Int(place.byteCount)
            let owner = place.name.owner(of: durableTickets.count), read = RecordRead(id: id, segment: place.name.segment, offset: place.offset)
            if owner == shard { effects.reads.append(read) } else { PeerMail.appendFetch(read, to: &effects.mail[UInt32(owner) + 1]) }
        }
        reading.awaited = reading.entries.count
        backlogs[backlog].reading = lastReading
        backlogs[backlog].readingCount = reading.entries.count
        readings[lastReading] = reading
    }

    /// A record that was asked for, from its kind on; empty: it is damaged. It is another shard's if that asked.
    public mutating func arrived(_ id: UInt64, _ record: Span<UInt8>, into effects: inout Effects) {
        let requester = UInt8(truncatingIfNeeded: id >> 56)
        guard requester == shard else { return PeerMail.appendFetched(id, record, to: &effects.mail[UInt32(requester) + 1]) }
        let number = (id << 8) >> 24, index = Int(id & 0xFFFF)
        guard let queue = readings[number]?.queue, let place = readings[number]?.entries[index].place else { return }
        let entry = entry(of: record, in: queue, place)
        readings[number]?.entries[index].entry = entry
        readings[number]?.awaited -= 1
        guard readings[number]?.awaited == 0, let reading = readings.removeValue(forKey: number) else { return }
        let backlog = queues[queue.number].backlog
        backlogs[backlog].reading = 0
        backlogs[backlog].readingCount = 0
        for part in reading.entries {
            backlogs[backlog].ready.append(part.entry ?? Entry(message: .none, matches: .none, opaque: 0))
            if part.entry == nil {
                counters.damaged &+= 1
                backlogs[backlog].bytes -= UInt64(part.place.byteCount)
                end(part.place.name, &effects)
            }
        }
        pump(queue, into: &effects)
    }

    private mutating func entry(of record: Span<UInt8>, in queue: QueueID, _ place: PagedEntries.Place) -> Entry? {
        guard record.count > JournalRecord.messageHeadCount, let message = MessageRecord(record.extracting(JournalRecord.messageHeadCount..<record.count))
        else { return nil }
        let serial = queues[queue.number].serial, order = record.uint64(at: 9)
        var found: MessageRecord.Target?
        message.forEachTarget { if $0.serial == serial { found = $0 } }
        guard let target = found else { return nil }
        let stored = store(message.message(of: restoredHub(message)))
        messages[stored.number].order = order
        messages[stored.number].owners = 1
        let list = message.matches(of: target)
        return Entry(
            message: stored, matches: list.isEmpty ? .none : makeList(list), opaque: target.opaque, name: place.name,
            isRecovered: order <= restoredOrder)
    }

    /// Ends what a queue has in the journal alone, and answers how many that were; `isAll`: also what waits for the disk. Nothing that may
    /// be given out is in memory any more.
    @discardableResult mutating func endPaged(of queue: QueueID, isAll: Bool, _ effects: inout Effects) -> Int {
        let backlog = queues[queue.number].backlog
        var count = 0
        if let reading = readings.removeValue(forKey: backlogs[backlog].reading) {
            for part in reading.entries {
                backlogs[backlog].bytes -= UInt64(part.place.byteCount)
                if let entry = part.entry { drop(entry, &effects) } else { end(part.place.name, &effects) }
            }
            count = reading.entries.count
            backlogs[backlog].firstReady += UInt64(count)
            backlogs[backlog].reading = 0
            backlogs[backlog].readingCount = 0
        }
        while !backlogs[backlog].paged.isEmpty, isAll || backlogs[backlog].durableCount > 0 {
            let place = backlogs[backlog].paged.removeFirst()
            backlogs[backlog].bytes -= UInt64(place.byteCount)
            backlogs[backlog].firstReady += 1
            end(place.name, &effects)
            count += 1
        }
        return count
    }

    /// Ends the oldest entry that a queue has in the journal alone; false if that is not its oldest, or it waits for the disk.
    mutating func dropPaged(in backlog: UInt32, _ effects: inout Effects) -> Bool {
        guard backlogs[backlog].ready.isEmpty, backlogs[backlog].readingCount == 0, !backlogs[backlog].paged.isEmpty, backlogs[backlog].durableCount > 0
        else { return false }
        let place = backlogs[backlog].paged.removeFirst()
        backlogs[backlog].bytes -= UInt64(place.byteCount)
        backlogs[backlog].firstReady += 1
        end(place.name, &effects)
        counters.droppedOldest += 1
        return true
    }

    /// Whether what comes next in a queue is being read.
    public func isReading(_ queue: QueueID) -> Bool {
        let backlog = queues[queue.number].backlog
        return backlog != 0 && backlogs[backlog].reading != 0
    }
}

/// A record to be read from the journal. Its number says who asked.
public struct RecordRead: BitwiseCopyable, Sendable {
    public let id: UInt64
    public let segment: UInt32
    public let offset: UInt32
}

/// Some entries of a queue that are being read.
struct Reading {
    struct Part {
        let place: PagedEntries.Place
        /// Once it is there.
        var entry: Entry?
    }
    let queue: QueueID
    var entries: [Part] = []
    var byteCount = 0
    var awaited = 0
}
