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
            returnCredit(of: unsettled.consumer)
            let credit = consumers[unsettled.consumer.number].credit
            if !credit.isNone { offer(credit, &effects) }
        }
        if queues[queue.number].replay != 0 { scheduleReplays(of: queue) }
        if backlogs[backlog].hasDeliverable { pump(queue, into: &effects) }
        return true
    }

    private mutating func receive(_ backlog: UInt32, _ position: UInt64, _ effects: inout Effects) -> Bool {
        guard let unsettled = backlogs[backlog].unsettled.value(at: position), !unsettled.isReceived else { return false }
        backlogs[backlog].bytes -= UInt64(messages[unsettled.entry.message.number].byteCount)
        release(unsettled.entry.message)
        _ = backlogs[backlog].unsettled.update(position) {
            $0.isReceived = true
            $0.entry.message = .none
            $0.entry.origin = 0
        }
        settleOrigin(unsettled.entry.origin, .accepted, &effects)
        return true
    }

    private mutating func finish(_ entry: Entry, of queue: QueueID, _ backlog: UInt32, rejected: Bool, _ effects: inout Effects) {
        backlogs[backlog].bytes -= UInt64(messages[entry.message.number].byteCount)
        let hub = policies[Int(queues[queue.number].policy)].rejectHub
        if rejected {
            counters.rejected += 1
            if !hub.isNone { return republish(entry.message, to: hub, &effects) }
        }
        release(entry.message)
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
