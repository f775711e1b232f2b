import MartletBytes
import MartletCollections

/// What the core and its gateways write to the journal. Everything in there is an entry that lives until it is ended: a message in a queue,
/// what a hub keeps, a gateway's definition. Entries of one tick are written together or not at all.
extension BrokerCore {
    /// Writes down something that a gateway must find again after a restart, in place of what `old` names. `.none`: there is no journal.
    public mutating func define(
        _ gateway: GatewayID, _ kind: UInt8, _ bytes: Span<UInt8>, replacing old: JournalName = .none, into effects: inout Effects
    ) -> JournalName {
        guard isJournaled else { return .none }
        let order = nextTicket(&effects), name = takePlace(effects).name
        JournalRecord.appendDefinition(gateway.index, kind, bytes, ordinal: name.ordinal, order: order, to: &effects.records)
        end(old, &effects)
        return name
    }

    /// A definition is none any more.
    public mutating func undefine(_ name: JournalName, into effects: inout Effects) {
        guard !name.isNone else { return }
        _ = nextTicket(&effects)
        end(name, &effects)
    }

    /// Writes down that definitions of bindings have ended, with their bindings; before a tick's records are written.
    public mutating func endBindings(into effects: inout Effects) {
        guard haveBindingsChanged else { return }
        haveBindingsChanged = false
        for name in router.takeEndedRecords() { undefine(name, into: &effects) }
    }

    /// A binding between hubs was made or removed.
    public mutating func bindingsChanged() { haveBindingsChanged = isJournaled }

    /// The name of the next entry.
    var nextName: JournalName { JournalName(segment: journalTail.segment, ordinal: journalTail.ordinal) }

    /// Where a record of one entry, which is appended next, has its place.
    mutating func takePlace(_ effects: borrowing Effects) -> PagedEntries.Place {
        defer { journalTail.ordinal &+= 1 }
        return PagedEntries.Place(name: nextName, offset: journalTail.offset + UInt32(effects.records.count))
    }

    private func beginBlock(_ effects: inout Effects) { if effects.records.isEmpty { effects.blockOrder = router.nextBlockOrder() } }

    /// The number by which the next record's arrival on disk is known, and by which it is sorted after a restart.
    mutating func nextTicket(_ effects: inout Effects) -> UInt64 {
        beginBlock(&effects)
        lastTicket = max(lastTicket, effects.blockOrder) + 1
        effects.lastTicket = lastTicket
        return lastTicket
    }

    /// An entry ends. If its segment is another shard's, that one writes it down, too: the segment outlives it there. It hears of it when this
    /// block is on disk: what stands for the entry from now on is in there.
    @inline(__always) mutating func end(_ name: JournalName, _ effects: inout Effects) {
        guard !name.isNone else { return }
        beginBlock(&effects)
        JournalRecord.appendSettled(name, to: &effects.records)
        let owner = name.owner(of: durableTickets.count)
        guard owner != shard else { return }
        _ = nextTicket(&effects)
        endedElsewhere.append(EndedElsewhere(name: name, block: effects.blockOrder))
    }

    /// What this tick has ended so far is waited for, too, by what is acknowledged from now on.
    public mutating func awaitEnds(_ effects: inout Effects) { if !effects.records.isEmpty { _ = nextTicket(&effects) } }

    /// Everything up to this ticket is on disk, and every block whose order is below it.
    mutating func tellOwners(upTo ticket: UInt64, _ effects: inout Effects) {
        while let ended = endedElsewhere.first, ended.block < ticket {
            endedElsewhere.removeFirst()
            PeerMail.appendEnded(ended.name, to: &effects.mail[UInt32(ended.name.owner(of: durableTickets.count)) + 1])
        }
    }

    /// Writes a message down for the queues of its route that survive a restart, if it `isPersistent`, and for its hub if that keeps it. The
    /// answer is the first queue's name and where the record is, and the ticket; 0: there is nothing to write.
    mutating func journal(_ message: borrowing Message, _ place: Int, isPersistent: Bool, isKept: Bool, _ effects: inout Effects) -> (
        first: PagedEntries.Place, ticket: UInt64
    ) {
        let queues = isPersistent ? cache.routes[place: place].durable.count : 0
        guard queues > 0 || isKept else { return (PagedEntries.Place(), 0) }
        let ticket = nextTicket(&effects), name = nextName, entries = queues + (isKept ? 1 : 0)
        let offset = journalTail.offset + UInt32(effects.records.count)
        journalTail.ordinal &+= UInt32(entries)
        let names = cache.routes[place: place].recordBytes.span, count = cache.routes[place: place].recordTargetsCount
        JournalRecord.appendMessage(
            message, to: names.extracting(0..<(queues > 0 ? count : 0)), entries: entries, isKept: isKept, hub: names.extracting(count..<names.count),
            ordinal: name.ordinal, order: ticket, into: &effects.records)
        return (PagedEntries.Place(name: queues > 0 ? name.advanced(by: isKept ? 1 : 0) : .none, offset: offset), ticket)
    }

    // MARK: A record's entries, shard by shard

    /// The names that a record of this shard gave to another's queues, or to its own.
    func names(on other: UInt8, _ place: Int, first: PagedEntries.Place) -> EntryNames {
        guard !first.name.isNone else { return EntryNames(from: first) }
        var before = 0
        while before < cache.routes[place: place].durable.count, cache.routes[place: place].durable[before].shard < other { before += 1 }
        return EntryNames(from: PagedEntries.Place(name: first.name.advanced(by: before), offset: first.offset))
    }

    /// Tells another shard what its queues' entries are called.
    func appendNames(_ place: Int, _ other: UInt8, first: PagedEntries.Place, to mail: inout ByteBuffer) {
        var count = 0, before = 0
        for index in 0..<cache.routes[place: place].durable.count {
            let owner = cache.routes[place: place].durable[index].shard
            if owner < other { before += 1 } else if owner == other { count += 1 }
        }
        PeerMail.appendPlace(PagedEntries.Place(name: first.name.advanced(by: before), offset: first.offset), count: count, to: &mail)
        for index in before..<before + count { mail.append(cache.routes[place: place].durable[index].serial) }
    }

    /// The names of this shard's entries in another's record, which says whose they are. What has been bound since is not in the journal;
    /// what has been unbound ends.
    mutating func names(_ serials: Span<UInt8>, _ place: Int, first: PagedEntries.Place, _ effects: inout Effects) -> EntryNames {
        guard !first.name.isNone else { return EntryNames(from: first) }
        if isRoute(place, to: serials) { return EntryNames(from: first) }
        var named: [UInt64: JournalName] = [:], names: [JournalName] = []
        for index in 0..<serials.count / 8 { named[serials.uint64(at: 8 * index)] = first.name.advanced(by: index) }
        for target in 0..<cache.routes[place: place].durable.count where cache.routes[place: place].durable[target].shard == shard {
            names.append(named.removeValue(forKey: cache.routes[place: place].durable[target].serial) ?? .none)
        }
        for name in named.values.sorted(by: { $0.ordinal < $1.ordinal }) { end(name, &effects) }
        return EntryNames(names, at: first.offset)
    }

    /// Whether a route's durable queues of this shard are just these.
    private func isRoute(_ place: Int, to serials: Span<UInt8>) -> Bool {
        var index = 0
        for target in 0..<cache.routes[place: place].durable.count where cache.routes[place: place].durable[target].shard == shard {
            guard 8 * index < serials.count, serials.uint64(at: 8 * index) == cache.routes[place: place].durable[target].serial else { return false }
            index += 1
        }
        return 8 * index == serials.count
    }
}

/// An entry that ended here, in the block of this order, and is another shard's to settle.
struct EndedElsewhere: BitwiseCopyable {
    let name: JournalName
    let block: UInt64
}

extension Message {
    /// Of a retained one: whether the journal has to have it. An empty one is not kept at all.
    var isKeptInJournal: Bool { !body.isEmpty && !header.flags.contains(.passing) }
}

/// What a record calls the entries of one shard's durable targets, in the order of the route: mostly one after the other.
struct EntryNames: ~Copyable {
    private let first: JournalName
    private let others: [JournalName]
    /// Of the record.
    private let offset: UInt32

    init(from first: PagedEntries.Place) {
        self.first = first.name
        offset = first.offset
        others = []
    }

    init(_ names: [JournalName], at offset: UInt32) {
        first = .none
        self.offset = offset
        others = names
    }

    /// None of them is in the journal.
    var isEmpty: Bool { first.isNone && others.isEmpty }

    subscript(index: Int) -> PagedEntries.Place {
        PagedEntries.Place(name: first.isNone ? others[index] : first.advanced(by: index), offset: offset)
    }
}
