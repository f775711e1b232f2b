import MartletBytes
package import MartletCore
package import MartletEventLoop
package import MartletJournal
package import MartletLogging
import MartletNet
import MartletShard
import Synchronization

/// Gives shards back what the journal holds, before anybody is let in: definitions first, each offered to every shard; then messages in their
/// order, to the shards where their queues are now. The journal is read on the caller's thread; pieces of it are handled on the loops
/// meanwhile.
package struct Restoration: ~Copyable {
    private let loops: [EventLoop]
    private let router: Router
    private let log: Logger
    private var pieces: [Piece]
    private var unwanted: [JournalName] = []
    private let work: Work
    /// Records that have been restored.
    package private(set) var definitions = 0
    package private(set) var messages = 0

    /// `wait`: lets the loops go on for a little.
    package init(
        of loops: [EventLoop], router: Router, log: Logger, wait: @escaping @Sendable () -> Void = { DetachedThread.sleep(.microseconds(50)) }
    ) {
        work = Work(wait)
        self.loops = loops
        self.router = router
        self.log = log
        pieces = loops.map { _ in Piece() }
    }

    /// Throws when a gateway finds something that it cannot take.
    package mutating func run(_ recovery: inout JournalRecovery) throws(JournalError) {
        router.continueOrder(after: recovery.lastOrder)
        restoreDefinitions(recovery)
        if let failure = work.failure { throw JournalError(failure) }
        restoreMessages(recovery)
        for name in unwanted { recovery.settle(segment: name.segment, ordinal: name.ordinal) }
        if !unwanted.isEmpty { log.info("the journal held messages of queues that are gone", metadata: ["entries": "\(unwanted.count)"]) }
        for loop in loops { work.submit(to: loop) { $0.endRestoring() } }
        work.finish()
        router.forgetRestored()
    }

    // MARK: Definitions

    private mutating func restoreDefinitions(_ recovery: borrowing JournalRecovery) {
        // By kind, then order: a queue is there before its bindings, also if it was defined anew after them.
        var byKind: [UInt8: Definitions] = [:]
        var count = 0
        recovery.forEachLive(.definition) { record in
            guard record.payload.count >= 2 else { return }
            count += 1
            byKind[record.payload[1], default: Definitions()].append(record.payload, JournalName(segment: record.segment, ordinal: record.ordinal))
        }
        definitions = count
        for kind in byKind.keys.sorted() {
            guard let definitions = byKind.removeValue(forKey: kind) else { continue }
            for loop in loops {
                work.submit(to: loop) { [work] shard in
                    definitions.forEach { shard.restore(definition: $0, as: $1) }
                    for gateway in shard.allGateways { work.note(gateway.restoreFailure) }
                }
            }
            // What the next kind speaks of is there on every shard.
            work.finish()
        }
    }

    // MARK: Messages

    private mutating func restoreMessages(_ recovery: borrowing JournalRecovery) {
        var entries: [[BrokerCore.RestoredEntry]] = loops.map { _ in [] }
        var pieces = pieces, unwanted: [JournalName] = [], count = 0
        recovery.forEachLive(.message) { record in
            guard let message = MessageRecord(record.payload) else { return }
            count += 1
            message.forEachTarget { target in
                guard target.index < record.count, !record.isSettled(target.index) else { return }
                if target.serial == 0 {
                    entries[0].append(.init(queue: .none, index: target.index))
                } else if let place = router.place(ofRestored: target.serial) {
                    entries[Int(place.shard)].append(.init(queue: place.queue, index: target.index))
                } else {
                    unwanted.append(JournalName(segment: record.segment, ordinal: record.ordinal).advanced(by: target.index))
                }
            }
            for shard in entries.indices where !entries[shard].isEmpty {
                pieces[shard].append(record, entries[shard])
                entries[shard].removeAll(keepingCapacity: true)
                if pieces[shard].isFull { pieces[shard].hand(to: loops[shard], work) }
            }
        }
        for shard in loops.indices { pieces[shard].hand(to: loops[shard], work) }
        work.finish()
        (self.pieces, self.unwanted, messages) = (pieces, unwanted, count)
    }

    /// Messages on their way to one shard.
    private struct Piece {
        private var bytes: [UInt8] = []
        private var messages: [Place] = []
        private var entries: [BrokerCore.RestoredEntry] = []

        struct Place {
            var start: Int
            var end: Int
            var entriesEnd: Int
            var order: UInt64
            var name: JournalName
            var offset: UInt32
        }

        private static let bytesMax = 1 << 20
        var isFull: Bool { bytes.count > Self.bytesMax || messages.count > 10_000 }

        mutating func append(_ record: borrowing JournalLiveRecord, _ entries: [BrokerCore.RestoredEntry]) {
            if bytes.isEmpty { bytes.reserveCapacity(Self.bytesMax + record.payload.count) }
            let start = bytes.count
            bytes.append(record.payload)
            self.entries += entries
            messages.append(
                Place(
                    start: start, end: bytes.count, entriesEnd: self.entries.count, order: record.order,
                    name: JournalName(segment: record.segment, ordinal: record.ordinal), offset: record.offset))
        }

        mutating func hand(to loop: EventLoop, _ work: Work) {
            guard !messages.isEmpty else { return }
            let (bytes, messages, entries) = (bytes, messages, entries)
            self = Piece()
            work.submit(to: loop) { shard in
                var first = 0
                for message in messages {
                    shard.restore(
                        message: bytes.span.extracting(message.start..<message.end), order: message.order, first: message.name, offset: message.offset,
                        entries: entries[first..<message.entriesEnd])
                    first = message.entriesEnd
                }
            }
        }
    }
}

/// Definitions of one kind, in their order.
private struct Definitions {
    private var bytes: [UInt8] = []
    private var places: [(end: Int, name: JournalName)] = []

    mutating func append(_ definition: Span<UInt8>, _ name: JournalName) {
        bytes.append(definition)
        places.append((bytes.count, name))
    }

    func forEach(_ body: (Span<UInt8>, JournalName) -> Void) {
        var start = 0
        for place in places {
            body(bytes.span.extracting(start..<place.end), place.name)
            start = place.end
        }
    }
}

/// What the loops have been given to do, and have not done.
private final class Work: Sendable {
    private let state = Mutex((waiting: 0, failure: String?.none))
    private let pass: @Sendable () -> Void
    private static let waitingMax = 16

    init(_ pass: @escaping @Sendable () -> Void) { self.pass = pass }

    var failure: String? { state.withLock { $0.failure } }

    func note(_ failure: String?) { if let failure { state.withLock { $0.failure = failure } } }

    /// Waits while much is waiting already.
    func submit(to loop: EventLoop, _ body: @escaping @Sendable (Shard) -> Void) {
        wait(until: Self.waitingMax)
        state.withLock { $0.waiting += 1 }
        loop.execute { [self] loop in
            if let shard = loop.tenant as? Shard { body(shard) }
            state.withLock { $0.waiting -= 1 }
        }
    }

    func finish() { wait(until: 1) }

    private func wait(until count: Int) { while state.withLock({ $0.waiting }) >= count { pass() } }
}
