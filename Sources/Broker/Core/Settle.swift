import MartletBytes
import MartletCollections

/// How consumers are done with what they were given.
extension BrokerCore {
    /// Settles what is unsettled at `position`; false if nothing is. What may go now because of it is in the effects.
    public mutating func settle(_ queue: QueueID, _ position: UInt64, _ settlement: Settlement, into effects: inout Effects) -> Bool {
        let backlog = queues[queue.number].backlog
        guard backlog != 0 else { return false }
        if settlement == .received { return receive(backlog, position, &effects) }
        guard let unsettled = backlogs[backlog].unsettled.remove(position) else { return false }
        if settlement == .requeued, !unsettled.isReceived {
            putBack(unsettled.entry, at: position, in: backlog)
        } else {
            if !unsettled.isReceived { finish(unsettled.entry, of: queue, backlog, rejected: settlement == .rejected, &effects) }
            release(unsettled.entry.matches)
            settleOrigin(unsettled.entry.origin, settlement, &effects)
        }
        if !unsettled.consumer.isNone {
            let credit = consumers[unsettled.consumer.number].credit
            returnCredit(of: unsettled.consumer)
            // Those that share it waited for it only if nothing was left.
            if !credit.isNone, credits[credit.number].outstanding &+ 1 == credits[credit.number].limit { offer(credit, &effects) }
        }
        if queues[queue.number].replay != 0 { scheduleReplays(of: queue) }
        if backlogs[backlog].hasDeliverable || backlogs[backlog].isPaged { pump(queue, into: &effects) }
        return true
    }

    /// Takes the next message of a queue for somebody who is no consumer of it: to be settled like any other if `settles`, else it is done
    /// with when the effects are finished. `nil`: nothing waits, what does is on its way to disk, or it is being read (`isReading`).
    public mutating func take(from queue: QueueID, settles: Bool, into effects: inout Effects) -> Taken? {
        let backlog = queues[queue.number].backlog
        guard backlog != 0 else { return nil }
        defer { if backlogs[backlog].isPaged { readAhead(queue, &effects) } }
        while backlogs[backlog].hasDeliverable {
            let (position, entry) = backlogs[backlog].takeNext()
            if entry.message.isNone || dropExpired(entry, of: backlog, &effects) { continue }
            counters.delivered &+= 1
            if settles {
                backlogs[backlog].unsettled.insert(Unsettled(entry: entry, consumer: .none, isReceived: false), at: position)
            } else {
                backlogs[backlog].bytes -= UInt64(messages[entry.message.number].byteCount)
                spent.append(entry.message)
                if !entry.matches.isNone { spentLists.append(entry.matches) }
                settleOrigin(entry.origin, .accepted, &effects)
                end(entry.name, &effects)
            }
            return Taken(position: position, message: entry.message, isRedelivered: entry.isRedelivered, ready: depth(of: queue).ready)
        }
        return nil
    }

    private mutating func receive(_ backlog: UInt32, _ position: UInt64, _ effects: inout Effects) -> Bool {
        guard let unsettled = backlogs[backlog].unsettled.value(at: position), !unsettled.isReceived else { return false }
        backlogs[backlog].bytes -= UInt64(messages[unsettled.entry.message.number].byteCount)
        release(unsettled.entry.message)
        _ = backlogs[backlog].unsettled.update(position) {
            $0.isReceived = true
            $0.entry.message = .none
            $0.entry.origin = 0
            $0.entry.name = .none
        }
        end(unsettled.entry.name, &effects)
        settleOrigin(unsettled.entry.origin, .accepted, &effects)
        return true
    }

    private mutating func finish(_ entry: Entry, of queue: QueueID, _ backlog: UInt32, rejected: Bool, _ effects: inout Effects) {
        backlogs[backlog].bytes -= UInt64(messages[entry.message.number].byteCount)
        let hub = policies[Int(queues[queue.number].policy)].rejectHub
        if rejected { counters.rejected += 1 }
        if rejected, !hub.isNone { republish(entry.message, to: hub, &effects) } else { release(entry.message) }
        end(entry.name, &effects)
    }

    /// Publishes a stored message again, to another hub, as a message of its own.
    private mutating func republish(_ id: MessageID, to hub: HubID, _ effects: inout Effects) {
        let copy = StoredMessage(copying: messages[id.number].message)
        release(id)
        let rejected = copy.message
        var message = Message(hub: hub, address: rejected.address, properties: rejected.properties, body: rejected.body, header: rejected.header)
        message.header.flags.remove(.retained)
        distribute(kept: message, &effects)
    }
}

/// What `BrokerCore.take` took.
public struct Taken: BitwiseCopyable, Sendable {
    public let position: UInt64
    public let message: MessageID
    public let isRedelivered: Bool
    /// How many wait behind it.
    public let ready: Int
}
