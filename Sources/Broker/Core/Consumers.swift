import MartletCollections

/// Who takes from which queue, and how much at a time.
extension BrokerCore {
    /// A consumer at the end of the queue's round; it is offered what waits at the next `pump`.
    /// `limit`: unsettled messages it may hold, 0 for any number. `settles: false`: given is settled.
    public mutating func addConsumer(
        to queue: QueueID, gateway: GatewayID, token: UInt32, settles: Bool = true, limit: UInt32 = 0, credit: CreditID = .none
    ) -> ConsumerID {
        let number = consumers.insert(Consumer(of: queue, gateway: gateway, token: token, settles: settles, limit: limit, credit: credit))
        let first = queues[queue.number].nextConsumer
        if first == 0 {
            consumers[number].next = number
            consumers[number].previous = number
            queues[queue.number].nextConsumer = number
        } else {
            insertLast(number, of: queue)
        }
        if !credit.isNone { enter(credit, number) }
        return ConsumerID(number)
    }

    // MARK: Turns

    /// In front of the parked ones, or of the one whose turn is next, is the end of the round.
    private mutating func insertLast(_ number: UInt32, of queue: QueueID) {
        let parked = queues[queue.number].firstParked, first = queues[queue.number].nextConsumer, behind = parked != 0 ? parked : first
        let last = consumers[behind].previous
        consumers[number].next = behind
        consumers[number].previous = last
        consumers[last].next = number
        consumers[behind].previous = number
        if first == parked { queues[queue.number].nextConsumer = number }
    }

    private mutating func unlink(_ number: UInt32) {
        let next = consumers[number].next, previous = consumers[number].previous
        consumers[previous].next = next
        consumers[next].previous = previous
    }

    /// The consumer whose turn it is has had it: it is the last of those that may take.
    @inline(__always) mutating func passTurn(of queue: QueueID) {
        let first = queues[queue.number].nextConsumer, parked = queues[queue.number].firstParked, next = consumers[first].next
        if parked == 0 {
            queues[queue.number].nextConsumer = next
        } else if next != parked {
            unlink(first)
            queues[queue.number].nextConsumer = next
            insertLast(first, of: queue)
        }
    }

    /// The consumer whose turn it is cannot take: its place at the front is, one further round, the end of the parked ones.
    @inline(__always) mutating func park(_ number: UInt32, of queue: QueueID) {
        consumers[number].isParked = true
        if queues[queue.number].firstParked == 0 { queues[queue.number].firstParked = number }
        queues[queue.number].nextConsumer = consumers[number].next
    }

    /// Something changed for a consumer: if it can take now, it waits for its turn like the others.
    @inline(__always) mutating func unparkIfPossible(_ number: UInt32) {
        if consumers[number].isParked, canTake(number) { unpark(number) }
    }

    private mutating func unpark(_ number: UInt32) {
        consumers[number].isParked = false
        let queue = consumers[number].queue, first = queues[queue.number].nextConsumer, next = consumers[number].next
        guard queues[queue.number].firstParked == number else {
            unlink(number)
            return insertLast(number, of: queue)
        }
        // It stands where the others end.
        queues[queue.number].firstParked = next == first || next == number ? 0 : next
    }

    private mutating func enter(_ credit: CreditID, _ number: UInt32) {
        let first = credits[credit.number].nextConsumer, second = first == 0 ? number : consumers[first].nextOfCredit
        if first == 0 { credits[credit.number].nextConsumer = number } else { consumers[first].nextOfCredit = number }
        consumers[number].previousOfCredit = first == 0 ? number : first
        consumers[number].nextOfCredit = second
        consumers[second].previousOfCredit = number
    }

    /// A consumer that shared no limit shares this one, with what it holds already.
    public mutating func share(_ credit: CreditID, with consumer: ConsumerID) {
        consumers[consumer.number].credit = credit
        credits[credit.number].outstanding += consumers[consumer.number].outstanding
        enter(credit, consumer.number)
    }

    /// The gateway's own name for a consumer.
    public func token(of consumer: ConsumerID) -> UInt32 { consumers[consumer.number].token }

    /// Takes a consumer away; what it holds unsettled goes back to its place.
    public mutating func removeConsumer(_ id: ConsumerID) {
        let number = id.number, queue = consumers[number].queue
        if consumers[number].outstanding > 0 { requeueUnsettled(of: id, queue) }
        leaveRings(number)
        consumers.remove(number)
    }

    /// A consumer takes nothing more; what it holds stays with it until it is settled. Its number is no more to be used.
    public mutating func cancelConsumer(_ id: ConsumerID) {
        leaveRings(id.number)
        consumers[id.number].isCancelled = true
        if consumers[id.number].outstanding == 0 { consumers.remove(id.number) }
    }

    private mutating func leaveRings(_ number: UInt32) {
        let queue = consumers[number].queue, last = consumers[number].previous
        if last == number {
            queues[queue.number].nextConsumer = 0
            queues[queue.number].firstParked = 0
        } else {
            let next = consumers[number].next, isNext = queues[queue.number].nextConsumer == number
            if queues[queue.number].firstParked == number {
                queues[queue.number].firstParked = !isNext && next == queues[queue.number].nextConsumer ? 0 : next
            }
            if isNext { queues[queue.number].nextConsumer = next }
            unlink(number)
        }
        let credit = consumers[number].credit
        if !credit.isNone { leave(credit, number) }
        if queues[queue.number].replay != 0, queues[queue.number].nextConsumer == 0 { giveUpReplays(of: queue) }
    }

    private mutating func leave(_ credit: CreditID, _ number: UInt32) {
        let previous = consumers[number].previousOfCredit
        consumers[previous].nextOfCredit = consumers[number].nextOfCredit
        consumers[consumers[number].nextOfCredit].previousOfCredit = previous
        if credits[credit.number].nextConsumer == number { credits[credit.number].nextConsumer = previous == number ? 0 : consumers[number].nextOfCredit }
    }

    private mutating func requeueUnsettled(of consumer: ConsumerID, _ queue: QueueID) {
        let backlog = queues[queue.number].backlog
        for position in backlogs[backlog].unsettled.positions {
            guard let unsettled = backlogs[backlog].unsettled.value(at: position), unsettled.consumer == consumer else { continue }
            // What its consumer has received is not given again; only its name is still in use.
            if unsettled.isReceived {
                _ = backlogs[backlog].unsettled.update(position) { $0.consumer = .none }
            } else {
                _ = backlogs[backlog].unsettled.remove(position)
                putBack(unsettled.entry, at: position, in: backlog)
            }
        }
        returnCredit(of: consumer, count: consumers[consumer.number].outstanding)
    }

    /// What the queue gave out and holds still, by position: what a consumer that comes back finds again, and what it has received for
    /// good but not yet settled.
    public func held(in queue: QueueID) -> [(position: UInt64, isReceived: Bool)] {
        let backlog = queues[queue.number].backlog
        guard backlog != 0 else { return [] }
        var held: [(position: UInt64, isReceived: Bool)] = backlogs[backlog].requeued.all.map { ($0.position, false) }
        for position in backlogs[backlog].unsettled.positions {
            held.append((position, backlogs[backlog].unsettled.value(at: position)?.isReceived == true))
        }
        return held.sorted { $0.position < $1.position }
    }

    /// What an earlier consumer of the queue has received and not settled counts as this one's, and so against its limit.
    public mutating func adoptReceived(by consumer: ConsumerID) {
        let queue = consumers[consumer.number].queue, backlog = queues[queue.number].backlog, credit = consumers[consumer.number].credit
        guard backlog != 0, !backlogs[backlog].unsettled.isEmpty else { return }
        for position in backlogs[backlog].unsettled.positions {
            guard let unsettled = backlogs[backlog].unsettled.value(at: position), unsettled.consumer.isNone else { continue }
            _ = backlogs[backlog].unsettled.update(position) { $0.consumer = consumer }
            consumers[consumer.number].outstanding += 1
            if !credit.isNone { credits[credit.number].outstanding += 1 }
        }
    }

    mutating func putBack(_ entry: Entry, at position: UInt64, in backlog: UInt32) {
        var entry = entry
        entry.deliveries &+= entry.deliveries == .max ? 0 : 1
        backlogs[backlog].requeued.insert(Requeued(position: position, entry: entry))
        counters.requeued += 1
    }

    /// A limit that several consumers share; 0: any number.
    public mutating func openCredit(limit: UInt32) -> CreditID { CreditID(credits.insert(Credit(limit: limit))) }
    public mutating func closeCredit(_ id: CreditID) { credits.remove(id.number) }

    public mutating func setLimit(of credit: CreditID, to limit: UInt32, into effects: inout Effects) {
        credits[credit.number].limit = limit
        offer(credit, &effects)
    }

    /// A consumer that cannot take anything for now (its connection is not read from by its peer), or can again.
    public mutating func pause(_ consumer: ConsumerID, _ isPaused: Bool, into effects: inout Effects) {
        consumers[consumer.number].isPaused = isPaused
        if !isPaused { unparkIfPossible(consumer.number) }
        if !isPaused { pump(consumers[consumer.number].queue, into: &effects) }
    }

    @inline(__always) func canTake(_ consumer: UInt32) -> Bool {
        if consumers[consumer].isPaused { return false }
        if !consumers[consumer].settles { return true }
        if consumers[consumer].limit != 0, consumers[consumer].outstanding >= consumers[consumer].limit { return false }
        let credit = consumers[consumer].credit
        return credit.isNone || credits[credit.number].limit == 0 || credits[credit.number].outstanding < credits[credit.number].limit
    }

    mutating func returnCredit(of consumer: ConsumerID, count: UInt32 = 1) {
        consumers[consumer.number].outstanding -= min(count, consumers[consumer.number].outstanding)
        let credit = consumers[consumer.number].credit
        if !credit.isNone { credits[credit.number].outstanding -= min(count, credits[credit.number].outstanding) }
        if !consumers[consumer.number].isCancelled {
            unparkIfPossible(consumer.number)
        } else if consumers[consumer.number].outstanding == 0 {
            consumers.remove(consumer.number)
        }
    }

    /// Offers freed credit to the queues of its consumers, in turn.
    mutating func offer(_ credit: CreditID, _ effects: inout Effects) {
        let first = credits[credit.number].nextConsumer
        guard first != 0 else { return }
        var consumer = first
        repeat {
            guard credits[credit.number].limit == 0 || credits[credit.number].outstanding < credits[credit.number].limit else { break }
            unparkIfPossible(consumer)
            pump(consumers[consumer].queue, into: &effects)
            consumer = consumers[consumer].nextOfCredit
        } while consumer != first
        credits[credit.number].nextConsumer = consumers[first].nextOfCredit
    }
}
