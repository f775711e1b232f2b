import MartletBytes
import MartletCollections

/// A message comes in.
extension BrokerCore {
    /// Takes a message that nobody acknowledges. Its deliveries are in the effects; those without a stored copy must be made
    /// while `message` is valid.
    public mutating func publish(_ message: borrowing Message, into effects: inout Effects) -> PublishOutcome {
        counters.published &+= 1
        return distribute(message, receipt: nil, &effects).outcome
    }

    /// Takes a message whose acknowledgement is called `tag`. Answers what to say now, or nil: it will be in the effects later,
    /// in the order of this publisher's messages.
    public mutating func publish(_ message: borrowing Message, from publisher: PublisherID, tag: UInt64, into effects: inout Effects) -> PublishOutcome? {
        counters.published &+= 1
        let number = publishers[publisher.number].firstReceipt + UInt64(publishers[publisher.number].waiting.count)
        let result = distribute(message, receipt: ReceiptID(publisher: publisher, number: number), &effects)
        if effects.fullness > 0 { slow(publisher, by: effects.fullness, &effects) }
        if result.ticket == 0, result.ownersAwaited == 0, publishers[publisher.number].waiting.isEmpty { return result.outcome }
        waitingPublishers.insert(publisher)
        publishers[publisher.number].waiting.append(Receipt(tag: tag, ownersAwaited: result.ownersAwaited, ticket: result.ticket, outcome: result.outcome))
        return nil
    }

    /// An acknowledgement for what was published and written down before: now, or nil, and it is in the effects when all of that is on disk.
    public mutating func confirm(_ publisher: PublisherID, tag: UInt64, _ outcome: PublishOutcome = .routed) -> PublishOutcome? {
        if publishers[publisher.number].waiting.isEmpty {
            if lastTicket <= durableTicket { return outcome }
            waitingPublishers.insert(publisher)
        }
        publishers[publisher.number].waiting.append(Receipt(tag: tag, ownersAwaited: 0, ticket: lastTicket, outcome: outcome))
        return nil
    }

    /// The acknowledgement of what this publisher published last waits for the disk, and for all that was written down since.
    public mutating func holdAcknowledgement(of publisher: PublisherID) {
        let count = publishers[publisher.number].waiting.count
        if count > 0 { publishers[publisher.number].waiting[count - 1].ticket = lastTicket }
    }

    /// The acknowledgement of what this publisher published last, if it is still owed, is called `tag` from now on.
    public mutating func renameAcknowledgement(of publisher: PublisherID, _ tag: UInt64) {
        let count = publishers[publisher.number].waiting.count
        if count > 0 { publishers[publisher.number].waiting[count - 1].tag = tag }
    }

    /// Gives a message to every target: this shard's at once, the others' by mail. `receipt`: who wants to know.
    mutating func distribute(_ message: borrowing Message, receipt: ReceiptID?, _ effects: inout Effects) -> (
        outcome: PublishOutcome, ticket: UInt64, ownersAwaited: UInt16
    ) {
        effects.fullness = 0
        effects.fullest = .none
        if isJournalFull, isWanted(inJournal: message) { return refuse(&effects) }
        var version: UInt64 = 0
        if message.header.flags.contains(.retained) {
            version = keep(message, &effects)
            if version == 0 { return refuse(&effects) }
        }
        let place = version == 0 ? route(message) : route(message, storedAs: version)
        var ticket: UInt64 = 0, first = PagedEntries.Place()
        if isJournaled {
            let isPersistent = message.header.flags.contains(.persistent)
            (first, ticket) = journal(message, place, isPersistent: isPersistent, isKept: version != 0 && message.isKeptInJournal, &effects)
            // What was kept is not any more, and that must last as well.
            if ticket == 0, version != 0, !effects.records.isEmpty { ticket = nextTicket(&effects) }
            if !isPersistent { ticket = 0 }
        }
        let taken = deliverHere(message, place, ticket: ticket, from: shard, names: names(on: shard, place, first: first), &effects)
        let remote = cache.routes[place: place].remoteShards
        var awaited: UInt16 = 0
        if ticket == 0, remote != 0, taken.refused == 0, receipt != nil, isRemembered(message) { ticket = nextTicket(&effects) }
        if remote != 0 {
            if ticket != 0 { shardsAwaitingDisk |= remote }
            for other in 0..<durableTickets.count where remote & 1 << UInt64(other) != 0 {
                let mail = UInt32(other) + 1
                PeerMail.appendMessage(message, ticket: ticket, receipt: receipt, version: version, to: &effects.mail[mail])
                if ticket != 0 { appendNames(place, UInt8(other), first: first, to: &effects.mail[mail]) }
                awaited += receipt == nil ? 0 : 1
            }
        }
        if place == uncacheablePlace { forgetUncacheableRoute() }
        if taken.refused > 0 { counters.refused &+= 1 }
        if taken.targets == 0, remote == 0 { counters.unroutable &+= 1 }
        let outcome: PublishOutcome = taken.refused > 0 ? .refused : taken.targets == 0 && remote == 0 ? .unroutable : .routed
        effects.outcome = outcome
        return (outcome, ticket, awaited)
    }

    private func refuse(_ effects: inout Effects) -> (outcome: PublishOutcome, ticket: UInt64, ownersAwaited: UInt16) {
        effects.outcome = .refused
        return (.refused, 0, 0)
    }

    /// Whether a message would be written down. What removes a retained one makes room.
    @inline(never) private mutating func isWanted(inJournal message: borrowing Message) -> Bool {
        if message.header.flags.contains(.retained), message.isKeptInJournal { return true }
        guard message.header.flags.contains(.persistent) else { return false }
        let place = route(message), isDurable = cache.routes[place: place].durable.count > 0
        if place == uncacheablePlace { forgetUncacheableRoute() }
        return isDurable
    }

    /// Whether the publisher's gateway will write down in this tick that the message has come. Nobody elsewhere is to have it before that is on
    /// disk: it would be new when it comes again.
    @inline(__always) private func isRemembered(_ message: borrowing Message) -> Bool {
        guard isJournaled, message.header.flags.contains(.exactlyOnce), !message.header.publisherQueue.isNone else { return false }
        return policies[Int(queues[message.header.publisherQueue.number].policy)].isDurable
    }

    private func slow(_ publisher: PublisherID, by degree: UInt8, _ effects: inout Effects) {
        effects.crowding.append(Crowding(gateway: publishers[publisher.number].gateway, token: publishers[publisher.number].token, degree: degree))
    }

    /// Distributes a message that nobody holds while its deliveries are made: those get a stored copy.
    mutating func distribute(kept message: borrowing Message, _ effects: inout Effects) {
        let first = effects.deliveries.count
        _ = distribute(message, receipt: nil, &effects)
        var stored = MessageID.none
        for index in first..<effects.deliveries.count where effects.deliveries[index].message.isNone {
            if stored.isNone {
                stored = store(message)
                messages[stored.number].owners = 1
                spent.append(stored)
            }
            effects.deliveries[index].message = stored
        }
    }

    /// The part of the route that is on this shard.
    @inline(__always)
    mutating func deliverHere(
        _ message: borrowing Message, _ place: Int, ticket: UInt64, from origin: UInt8, names: borrowing EntryNames, _ effects: inout Effects
    ) -> (targets: Int, refused: Int) {
        let count = cache.routes[place: place].targets.count
        let atMostOnce = message.header.flags.contains(.atMostOnce)
        var stored = MessageID.none
        var refused = 0, index = 0, named = 0
        while index < count {
            let target = cache.routes[place: place].targets[index]
            index &+= 1
            var entry = PagedEntries.Place()
            if !names.isEmpty, target.isJournaled {
                entry = names[named]
                named &+= 1
            }
            if target.flags.contains(.noLocal), origin == shard, target.queue == message.header.publisherQueue {
                end(entry.name, &effects)
                continue
            }
            if target.passesAtMostOnce, atMostOnce || target.flags.contains(.atMostOnce) {
                passOn(message, target, &effects)
            } else if !enqueue(message, stored: &stored, target, ticket: ticket, from: origin, at: entry, &effects) {
                refused &+= 1
            }
        }
        return (count, refused)
    }

    /// At most once: to a consumer that can take it now, or nowhere.
    @inline(__always) mutating func passOn(_ message: borrowing Message, _ target: RouteTarget, _ effects: inout Effects) {
        let queue = target.queue
        var consumer = queues[queue.number].nextConsumer
        if consumer != 0, consumers[consumer].isPaused || consumers[consumer].next != consumer { consumer = nextUnpaused(of: queue) }
        guard consumer != 0 else {
            counters.droppedSlow &+= 1
            return
        }
        if consumers[consumer].feed != 0 { return passOn(message, toFeedOf: consumer, &effects) }
        counters.delivered &+= 1
        effects.deliveries.append(
            Delivery(
                token: consumers[consumer].token, gateway: consumers[consumer].gateway, settles: false, isRedelivered: false, opaque: target.opaque,
                matches: target.matches, queue: queue, consumer: ConsumerID(consumer), position: 0, message: .none))
    }

    private mutating func nextUnpaused(of queue: QueueID) -> UInt32 {
        let first = queues[queue.number].nextConsumer
        var consumer = first
        repeat {
            if !consumers[consumer].isPaused {
                if queues[queue.number].firstParked == 0 {
                    queues[queue.number].nextConsumer = consumers[consumer].next
                } else if consumer == first, !consumers[consumer].isParked {
                    passTurn(of: queue)
                }
                return consumer
            }
            consumer = consumers[consumer].next
        } while consumer != first
        return 0
    }

    // MARK: Publishers

    /// A source of messages that wants acknowledgements.
    public mutating func openPublisher(gateway: GatewayID, token: UInt32) -> PublisherID {
        publisherGeneration += 1
        var publisher = Publisher(gateway: gateway, token: token)
        publisher.firstReceipt = publisherGeneration << 32
        return PublisherID(publishers.insert(publisher))
    }

    /// Its acknowledgements are wanted no more.
    public mutating func closePublisher(_ id: PublisherID) {
        waitingPublishers.remove(id)
        publishers.remove(id.number)
    }

    /// Whether acknowledgements of this publisher are still owed.
    public func isWaiting(_ publisher: PublisherID) -> Bool { !publishers[publisher.number].waiting.isEmpty }

    /// Lets the acknowledgements go that are complete and have no incomplete one before them.
    private mutating func releaseReceipts(of id: PublisherID, _ effects: inout Effects) {
        while let receipt = publishers[id.number].waiting.first {
            guard receipt.ownersAwaited == 0, receipt.ticket <= durableTickets[Int(shard)] else { return }
            publishers[id.number].waiting.removeFirst()
            publishers[id.number].firstReceipt += 1
            effects.acknowledgements.append(
                Acknowledgement(
                    token: publishers[id.number].token, gateway: publishers[id.number].gateway, tag: receipt.tag, outcome: receipt.outcome))
        }
        waitingPublishers.remove(id)
    }

    // MARK: The journal

    /// Everything up to this ticket is on disk: acknowledgements and deliveries that waited for it may go.
    public mutating func journalCompleted(upTo ticket: UInt64, into effects: inout Effects) {
        durable(ticket, from: shard, &effects)
        tellOwners(upTo: ticket, &effects)
        for publisher in waitingPublishers.all { releaseReceipts(of: publisher, &effects) }
        for other in 0..<durableTickets.count where shardsAwaitingDisk & 1 << UInt64(other) != 0 {
            PeerMail.appendDurable(ticket, to: &effects.mail[UInt32(other) + 1])
        }
        if ticket == lastTicket { shardsAwaitingDisk = 0 }
    }

    private mutating func durable(_ ticket: UInt64, from origin: UInt8, _ effects: inout Effects) {
        durableTickets[Int(origin)] = max(durableTickets[Int(origin)], ticket)
        let waiting = undurableQueues
        undurableQueues.removeAll(keepingCapacity: true)
        for queue in waiting {
            let backlog = queues[queue.number].backlog
            // A queue before it may have taken it along.
            guard backlog != 0 else { continue }
            while let first = backlogs[backlog].undurable.first, first.ticket <= durableTickets[Int(first.shard)] { backlogs[backlog].undurable.removeFirst() }
            if !backlogs[backlog].undurable.isEmpty { undurableQueues.append(queue) }
            pump(queue, into: &effects)
        }
    }

    // MARK: Other shards

    /// Takes one letter from another shard. If it holds a message, its deliveries must be made while the letter is valid.
    public mutating func receive(_ letter: borrowing PeerLetter, from origin: UInt8, into effects: inout Effects) {
        switch letter.kind {
        case .message: receiveMessage(letter, from: origin, &effects)
        case .durable: durable(letter.ticket, from: origin, &effects)
        case .ended: end(letter.place.name, &effects)
        case .fetch: effects.reads.append(RecordRead(id: letter.read, segment: letter.place.name.segment, offset: letter.place.offset))
        case .fetched: arrived(letter.read, letter.serials, into: &effects)
        case .answer:
            let id = letter.receipt.publisher
            guard isKnown(letter.receipt) else { return }
            let index = Int(letter.receipt.number - publishers[id.number].firstReceipt)
            publishers[id.number].waiting[index].ownersAwaited -= 1
            if letter.fullness > 0 { slow(id, by: letter.fullness, &effects) }
            if letter.outcome == .refused { publishers[id.number].waiting[index].outcome = .refused }
            releaseReceipts(of: id, &effects)
        case .joining: if let joining = letter.joining { admit(joining, from: origin, &effects) }
        case .leaving: dismiss(Feed.Name(shard: origin, membership: letter.membership), &effects)
        case .presence: setPresence(of: Feed.Name(shard: origin, membership: letter.membership), letter.isPresent, letter.limit, &effects)
        case .fed, .passed: receiveFed(letter, from: origin, &effects)
        case .taken: disown(Feed.Name(shard: origin, membership: letter.membership), letter.position)
        case .settled: settled(Feed.Name(shard: origin, membership: letter.membership), letter.position, letter.settlement, &effects)
        }
    }

    /// Whether its publisher is still there and waits for it: a number is never used twice.
    private func isKnown(_ receipt: ReceiptID) -> Bool {
        guard waitingPublishers.contains(receipt.publisher) else { return false }
        let first = publishers[receipt.publisher.number].firstReceipt
        return receipt.number >= first && receipt.number < first + UInt64(publishers[receipt.publisher.number].waiting.count)
    }

    private mutating func receiveMessage(_ letter: borrowing PeerLetter, from origin: UInt8, _ effects: inout Effects) {
        effects.fullness = 0
        let place = letter.version == 0 ? route(letter.message) : route(letter.message, storedAs: letter.version)
        let names = names(letter.serials, place, first: letter.place, &effects)
        let taken = deliverHere(letter.message, place, ticket: letter.ticket, from: origin, names: names, &effects)
        if place == uncacheablePlace { forgetUncacheableRoute() }
        guard !letter.receipt.publisher.isNone else { return }
        PeerMail.appendAnswer(letter.receipt, taken.refused > 0 ? .refused : .routed, fullness: effects.fullness, to: &effects.mail[UInt32(origin) + 1])
    }
}
