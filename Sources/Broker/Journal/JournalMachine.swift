public import MartletBytes

/// One stream of the journal without a disk: records and completions go in, effects come out.
///
/// The driver's duty, after every call: take effects until `nil`, answer each with `completed`, sleep until `deadline`.
/// Each `append` is a block; blocks that wait while a write is under way go with the next one (group commit). The machine goes on to the
/// next segment when one is nearly full and that one is there; blocks of its own (the end of a segment, checkpoints, moved records) are
/// appended behind the caller's, so that `cursor` holds from one `append` to the next. A segment without live entries is discarded when a
/// checkpoint that does not list it is on disk.
/// Invariant: a segment's blocks are all synced before the next one's first block is written.
/// Not here: checksums of what is written (`JournalFormat.seal`, on the driver's thread), and recovery.
public struct JournalMachine: ~Copyable {
    let shard: UInt8
    let shards: Int
    let run: UInt64
    let options: JournalOptions
    var table = JournalTable()
    var outgoing = JournalOutgoing()
    private var gathering: JournalGathering
    private var lastTicket: UInt64 = 0
    var reads = JournalReads()
    var compaction: JournalCompaction?

    /// Where the first record of the next `append` will lie.
    public private(set) var cursor: JournalCursor
    /// What the blocks of its segment begin with.
    private var mark: UInt32
    private var preparation = Preparation.wanted
    private enum Preparation { case wanted, underWay, done }
    /// The first segment is prepared before anything is written, every other one ahead.
    private var isCurrentPrepared = false

    /// Segments without live entries that no checkpoint has left out yet; those that one on its way leaves out; those it did.
    private var dead: [UInt32] = []
    private var leftOut: [UInt32] = []
    /// So many dead ones were not worth a checkpoint in this segment.
    private var declined = 0
    private var discardable: [UInt32] = []

    /// Up to where the stream is written, and up to where it is synced.
    private var written: (segment: UInt32, offset: UInt32) = (0, 0)
    private var synced: (segment: UInt32, offset: UInt32) = (0, 0)
    private var isSyncing = false
    private var syncDue: Instant = .never
    private var isSyncWanted = false
    private var retryDue: Instant = .never
    private var isSpaceShort = false

    public private(set) var durableTicket: UInt64 = 0
    /// Whether the first checkpoint is on disk, and with it everything that was adopted.
    public private(set) var isOpen = false
    /// What ended the machine: nothing more becomes durable.
    public private(set) var failure: JournalFailure?
    /// What keeps it from going on: `failure`, or that there was no space.
    private(set) var trouble: JournalFailure?

    /// A stream for the loop `shard` of `shards`, which goes on with the live segments that are its own.
    /// `firstSequence`: greater than that of any segment there is.
    public init(shard: UInt8, shards: Int, run: UInt64, options: JournalOptions, adopting: [JournalSegment], firstSequence: UInt32) {
        self.shard = shard
        self.shards = shards
        self.run = run
        self.options = options
        gathering = JournalGathering(options.sync == .always ? options.gatherTime : .zero)
        cursor = Self.start(of: JournalFormat.segment(sequence: firstSequence, shard: shard))
        mark = JournalFormat.mark(segment: cursor.segment, run: run)
        written = (cursor.segment, UInt32(JournalFormat.headerBytes))
        for segment in adopting { table.insert(segment) }
        table.insert(JournalSegment(current, run: run))
        appendCheckpoint()
    }

    private static func start(of segment: UInt32) -> JournalCursor {
        JournalCursor(segment: segment, offset: UInt32(JournalFormat.headerBytes + JournalFormat.blockHeaderBytes), ordinal: 0)
    }
    var current: UInt32 { cursor.segment }
    /// Where the next block begins.
    private var offset: UInt32 { cursor.offset - UInt32(JournalFormat.blockHeaderBytes) }

    /// Live entries of this stream, for statistics and tests.
    public var liveCount: Int { table.numbers.reduce(0) { $0 + Int(table.segment($1)?.liveCount ?? 0) } }

    // MARK: Appending

    /// Takes the records of one tick as one block; empties `records`. Nobody awaits a block that has the ticket of the one before.
    public mutating func append(_ records: inout ByteBuffer, upTo ticket: UInt64, order: UInt64, at now: Instant) {
        if table.hasMoves { rename(&records) }
        let entries = appendBlock(records, order: order)
        outgoing.noteTicket(ticket)
        gathering.append(entries: entries, isAwaited: ticket != lastTicket, at: now)
        lastTicket = ticket
        records.removeAll()
        moveRecords()
        if isSpaceShort || dead.count >= 4 { checkpointIfWorthwhile() }
        if Int(offset) >= options.rollOffset, preparation == .done { roll() }
    }

    /// Appends a block and does what its records say; how many entries it has. `order`: 0 for blocks of our own, which wait for nothing.
    @discardableResult mutating func appendBlock(_ records: borrowing ByteBuffer, order: UInt64) -> Int {
        let start = offset, firstOrdinal = cursor.ordinal
        var entries: UInt32 = 0, entryBytes = 0
        let bytes = records.span
        JournalFormat.forEachRecord(in: bytes) { kind, start, end in
            if JournalRecordKind.isEntry(kind), let entry = JournalEntry(bytes, from: start, to: end) {
                precondition(entry.ordinal == firstOrdinal + entries, "an entry's name is not the next one")
                entries += entry.count
                entryBytes += end - start
            }
        }
        let count = outgoing.append(records, firstOrdinal: firstOrdinal, order: order, mark: mark, segment: current, offset: offset)
        cursor.offset += UInt32(count)
        cursor.ordinal += entries
        let end = offset
        _ = table.update(current) { segment in
            segment.noteBlock(at: start)
            segment.entries += entries
            segment.entryBytes += entryBytes
            segment.end = end
        }
        JournalFormat.forEachRecord(in: bytes) { kind, start, end in
            if kind == JournalRecordKind.settled.rawValue, end - start == 13 { settle(bytes.uint32(at: start + 5), bytes.uint32(at: start + 9)) }
        }
        if order == 0 { gathering.hurry() }
        return Int(entries)
    }

    private mutating func settle(_ number: UInt32, _ ordinal: UInt32) {
        let isLast = table.update(number) { $0.settle(ordinal) && $0.isDead } ?? false
        if isLast, number != current { dead.append(number) }
    }

    /// Settled records call entries by the names that were given out; on disk they have those of where they are.
    private mutating func rename(_ records: inout ByteBuffer) {
        var at = 0
        while at + 5 <= records.count {
            if records.span[at + 4] == JournalRecordKind.settled.rawValue {
                let name = table.takeName(records.span.uint32(at: at + 5), records.span.uint32(at: at + 9))
                records.set(name.segment, at: at + 5)
                records.set(name.ordinal, at: at + 9)
            }
            at += 4 + Int(records.span.uint32(at: at))
        }
    }

    // MARK: Segments

    /// Ends the segment and goes on in the next one, which is prepared.
    private mutating func roll() {
        appendBlock(ByteBuffer(), order: 0)
        outgoing.syncLast()
        if table.update(current, { $0.isDead }) == true { dead.append(current) }
        cursor = Self.start(of: next)
        mark = JournalFormat.mark(segment: current, run: run)
        table.insert(JournalSegment(current, run: run))
        preparation = .wanted
        declined = 0
        checkpointIfWorthwhile()
        chooseCompaction()
    }

    private var next: UInt32 { JournalFormat.segment(sequence: JournalFormat.sequence(of: current) + 1, shard: shard) }
    /// Whether there is room in this segment or the next one for blocks of our own.
    var hasRoom: Bool { preparation == .done || Int(offset) < options.rollOffset }

    private mutating func checkpointIfWorthwhile() {
        guard dead.count > declined, leftOut.isEmpty else { return }
        let cost = table.numbers.reduce(0) { $0 + (table.segment($1)?.checkpointBytes ?? 0) }
        if cost < dead.count * options.segmentBytes / 4 { appendCheckpoint() } else { declined = dead.count }
    }

    /// Lists every live segment before this one, and leaves out the dead ones, which may be discarded when it is on disk.
    private mutating func appendCheckpoint() {
        leftOut = dead
        dead = []
        declined = 0
        let live = table.numbers.filter { $0 != current && !leftOut.contains($0) }.sorted()
        var record = ByteBuffer()
        record.append(UInt32(live.reduce(9) { $0 + (table.segment($1)?.checkpointBytes ?? 0) }))
        record.append(JournalRecordKind.checkpoint.rawValue)
        record.append(UInt32(shards))
        record.append(UInt32(live.count))
        for number in live { table.segment(number)?.append(to: &record) }
        appendBlock(record, order: 0)
        outgoing.syncLast()
        checkpoint = (current, offset)
    }
    /// Where the last checkpoint ends.
    private var checkpoint: (segment: UInt32, offset: UInt32) = (0, 0)

    // MARK: Reading

    /// Asks for a record; `takeReads` has the answer later.
    public mutating func read(_ id: UInt64, segment: UInt32, offset: UInt32) {
        let place = table.place(segment, offset), request = JournalReads.Request(id: id, segment: place.segment, offset: place.offset)
        reads.ask(request, isWritten: Self.isWritten(request, written))
    }

    private static func isWritten(_ request: JournalReads.Request, _ written: (segment: UInt32, offset: UInt32)) -> Bool {
        request.segment == written.segment ? request.offset < written.offset : precedes(request.segment, written.segment)
    }
    private static func precedes(_ a: UInt32, _ b: UInt32) -> Bool { JournalFormat.sequence(of: a) < JournalFormat.sequence(of: b) }

    /// Takes back the memory of the last write that is done, before that is told; nobody has to.
    public mutating func reuse(_ memory: consuming ByteBuffer) { outgoing.reuse(memory) }

    public mutating func takeReads(_ body: (_ id: UInt64, _ record: Span<UInt8>) -> Void) { reads.takeAnswers(body) }

    // MARK: Effects

    public mutating func nextEffect() -> JournalEffect? {
        guard failure == nil else { return nil }
        if isCurrentPrepared, !isSyncing, retryDue == .never || !outgoing.isRefused {
            if outgoing.isReady, outgoing.isRefused || gathering.isDue {
                if outgoing.isLast { gathering.taken() }
                let segment = outgoing.nextSegment
                return outgoing.take(sync: options.sync == .always, synced: segment == synced.segment ? synced.offset : UInt32(JournalFormat.headerBytes))
            }
            if isSyncWanted, outgoing.current == nil {
                isSyncWanted = false
                isSyncing = true
                return .sync(segment: written.segment)
            }
        }
        if preparation == .wanted, retryDue == .never {
            preparation = .underWay
            return .prepare(segment: isCurrentPrepared ? next : current)
        }
        let victim = compaction?.segment
        if let victim, let read = compaction?.nextRead(in: table.segment(victim)) { return read }
        if let read = reads.next(in: &table) { return read }
        if let index = discardable.firstIndex(where: { !reads.needs($0) && $0 != victim }) { return .discard(segment: discardable.remove(at: index)) }
        return nil
    }

    public mutating func completed(_ completion: consuming JournalCompletion, at now: Instant) {
        switch consume completion {
        case .prepared:
            preparation = isCurrentPrepared ? .done : .wanted
            isCurrentPrepared = true
            isSpaceShort = false
            trouble = nil
        case .written: hasWritten(at: now)
        case .synced:
            isSyncing = false
            synced = written
        case .read(let id, let bytes):
            if id == JournalCompaction.readID { compaction?.take(bytes) } else { reads.read(id, bytes) }
        case .failed(let failure, let bytes): hasFailed(failure, bytes, at: now)
        }
    }

    private mutating func hasWritten(at now: Instant) {
        guard let batch = outgoing.written() else { return }
        written = (batch.segment, batch.end)
        durableTicket = max(durableTicket, batch.ticket)
        if preparation == .done { (isSpaceShort, trouble) = (false, nil) }
        if batch.isSynced {
            synced = written
            syncDue = .never
            isSyncWanted = false
        } else if case .interval(let interval) = options.sync, syncDue == .never {
            syncDue = now + interval
        }
        if synced.segment == checkpoint.segment ? synced.offset >= checkpoint.offset : Self.precedes(checkpoint.segment, synced.segment) {
            isOpen = true
            for number in leftOut { table.remove(number) }
            if let job = compaction?.segment, !table.has(job), compaction?.isReading == false { compaction = nil }
            discardable += leftOut
            leftOut = []
        }
        let written = written
        reads.retryEarly { Self.isWritten($0, written) }
    }

    private mutating func hasFailed(_ failure: JournalFailure, _ bytes: consuming ByteBuffer, at now: Instant) {
        trouble = failure
        guard failure.isNoSpace, failure.step != .sync else {
            self.failure = failure
            return
        }
        isSpaceShort = true
        retryDue = now + options.retryInterval
        if failure.step == .write { outgoing.refuse(bytes) } else { preparation = .wanted }
    }

    /// What was appended is written without waiting for more.
    public mutating func hurry() { gathering.hurry() }

    /// Has everything synced that was appended: for whoever appends no more.
    mutating func finish() {
        appendBlock(ByteBuffer(), order: 0)
        outgoing.syncLast()
    }

    // MARK: Time and room

    /// Bytes that are not written yet; 0: all that was appended is.
    public var waitingBytes: Int { outgoing.waitingCount }

    public var deadline: Instant {
        guard failure == nil else { return .never }
        return min(syncDue, retryDue, outgoing.current == nil && !gathering.isDue ? gathering.due : .never)
    }

    public mutating func wake(at now: Instant) {
        gathering.wake(at: now)
        if retryDue <= now { retryDue = .never }
        if syncDue <= now {
            syncDue = .never
            isSyncWanted = true
        }
    }

    /// Whether there is no room for more messages: the disk is full and this segment nearly so, or too much waits to be written.
    public var isFull: Bool {
        if outgoing.isRefused || outgoing.waitingCount > options.waitingBytesMax { return true }
        return isSpaceShort && Int(offset) > options.segmentBytes / 4 * 3
    }
}
