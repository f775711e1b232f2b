import MartletBytes
import MartletJournal

/// Machines on a disk in memory, beside a model of what each of their entries should be after a crash.
///
/// An entry is known by its order. What one stream wrote is recovered up to some block, at least to the last one that was complete, at most
/// to the last one that was appended, and nothing else is.
final class JournalModel {
    struct Record: Equatable {
        var kind: UInt8
        var size: Int
        var settled: [Bool]
        var isLive: Bool { settled.contains(false) }
    }
    struct Name {
        var segment: UInt32
        var ordinal: UInt32
        var offset: UInt32
    }
    private enum Step { case add(UInt64, Record), settle(UInt64, Int) }
    private final class Stream {
        var machine: JournalMachine
        /// What lives by order before this run's first block, and what each block did.
        var base: [UInt64: Record] = [:]
        var blocks: [[Step]] = []
        /// After all blocks.
        var now: [UInt64: Record] = [:]
        var effects: [Box] = []
        var asked: [UInt64: UInt64] = [:]
        init(_ machine: consuming JournalMachine) { self.machine = machine }
    }
    final class Box {
        var effect: JournalEffect?
        init(_ effect: consuming JournalEffect) { self.effect = consume effect }
        func take() -> JournalEffect? { effect.take() }
    }

    let disk: JournalDisk
    /// The disk's once it has the first segments of a run.
    var capacity = Int.max
    private var random: JournalRandom
    private let options: JournalOptions
    private var streams: [Stream] = []
    private var names: [UInt64: Name] = [:]
    private var order: UInt64 = 0
    private var clock = Instant(nanoseconds: 0)
    /// Since the run began: without `.always` it may take with it what was complete.
    private var hasLostPower = false
    private(set) var complaints: [String] = []
    /// What has been seen, so that a test knows that it tested something.
    struct Counts {
        var recovered = 0, lost = 0, compactions = 0, discards = 0, reads = 0, full = 0
        mutating func add(_ other: Counts) {
            recovered += other.recovered
            lost += other.lost
            compactions += other.compactions
            discards += other.discards
            reads += other.reads
            full += other.full
        }
    }
    private(set) var counts = Counts()

    init(seed: UInt64, segmentBytes: Int = 4096, sync: JournalSync = .always) {
        disk = JournalDisk(segmentBytes: segmentBytes, seed: seed)
        random = JournalRandom(seed &* 31 &+ 7)
        options = JournalOptions(segmentBytes: segmentBytes, sync: sync)
    }

    /// The bytes of a record's payload.
    private static func payload(_ order: UInt64, _ size: Int) -> [UInt8] { (0..<size).map { UInt8(truncatingIfNeeded: Int(order) &* 7 &+ $0) } }

    // MARK: A run

    /// Recovers, compares, and opens the next run on so many loops.
    func start(shards: Int) throws {
        var recovery = try JournalRecovery(disk)
        for finding in recovery.findings where finding.isDamage { complaints.append("damage: \(finding)") }
        let found = records(of: recovery)
        compare(found)
        if random.next(3) == 0, let order = found.keys.sorted().first, let index = found[order]?.settled.firstIndex(of: false), let name = names[order] {
            recovery.settle(segment: name.segment, ordinal: name.ordinal + UInt32(index))
            try open(recovery, shards, found.merging([order: Self.settling(found[order], index)]) { $1 })
        } else {
            try open(recovery, shards, found)
        }
    }

    /// A start, or an offline compaction, that comes to its end or not: it has so many steps.
    func interruptStart(shards: Int, after steps: Int) {
        disk.stepsLeft = steps
        defer { disk.stepsLeft = .max }
        disk.capacity = .max
        do {
            let recovery = try JournalRecovery(disk)
            if random.next(4) == 0 { try recovery.compact(options: options) } else { try recovery.open(shards: shards, options: options) { _ = $0 } }
        } catch {}
    }

    private static func settling(_ record: Record?, _ index: Int) -> Record {
        var record = record ?? Record(kind: 0, size: 0, settled: [true])
        record.settled[index] = true
        return record
    }

    private func open(_ recovery: consuming JournalRecovery, _ shards: Int, _ live: [UInt64: Record]) throws {
        streams = []
        hasLostPower = false
        disk.capacity = .max
        defer { disk.capacity = capacity }
        try recovery.open(shards: shards, options: options) { streams.append(Stream($0)) }
        for (order, record) in live where record.isLive {
            guard let segment = names[order]?.segment else { continue }
            streams[owner(of: segment)].base[order] = record
            streams[owner(of: segment)].now[order] = record
        }
    }

    private func owner(of segment: UInt32) -> Int { Int(segment & 63) < streams.count ? Int(segment & 63) : 0 }

    private func records(of recovery: borrowing JournalRecovery) -> [UInt64: Record] {
        var found: [UInt64: Record] = [:], names: [UInt64: Name] = [:], complaints: [String] = []
        for kind: JournalRecordKind in [.definition, .message] {
            var last: UInt64 = 0
            recovery.forEachLive(kind) { record in
                if record.order <= last || found[record.order] != nil { complaints.append("order \(record.order) after \(last)") }
                last = record.order
                let isRight = record.payload.array == Self.payload(record.order, record.payload.count) && record.kind == kind.rawValue
                if !isRight { complaints.append("record \(record.order) is wrong") }
                found[record.order] = Record(kind: record.kind, size: record.payload.count, settled: (0..<record.count).map { record.isSettled($0) })
                names[record.order] = Name(segment: record.segment, ordinal: record.ordinal, offset: record.offset)
            }
        }
        self.complaints += complaints
        self.names.merge(names) { $1 }
        counts.recovered += found.count
        return found
    }

    /// What was found of each stream must be its state after one of the blocks from the last complete one on.
    private func compare(_ found: [UInt64: Record]) {
        var left = found
        for stream in streams {
            var state = stream.base, isFound = false
            let first = hasLostPower && options.sync != .always ? 0 : Int(stream.machine.durableTicket)
            let all = Set(stream.base.keys).union(stream.blocks.flatMap { $0 }.compactMap { if case .add(let order, _) = $0 { order } else { nil } })
            let mine = found.filter { all.contains($0.key) }
            for count in 0...stream.blocks.count {
                if count > 0 { for step in stream.blocks[count - 1] { Self.apply(step, to: &state) } }
                if count >= first, state.filter({ $0.value.isLive }) == mine {
                    isFound = true
                    counts.lost += stream.blocks.count - count
                    break
                }
            }
            if !isFound { complaints.append("a stream of \(streams.count) is not what it was at any block from \(first) to \(stream.blocks.count)") }
            for order in mine.keys { left[order] = nil }
        }
        if !left.isEmpty { complaints.append("\(left.count) records that nobody wrote or that had ended") }
    }

    private static func apply(_ step: Step, to state: inout [UInt64: Record]) {
        switch step {
        case .add(let order, let record): state[order] = record
        case .settle(let order, let index): state[order]?.settled[index] = true
        }
    }

    // MARK: What happens

    func losePower() {
        hasLostPower = true
        disk.crash()
    }

    /// One thing of those that may: a tick of a loop, an effect done, time passing.
    func step(settling: Int = 50) {
        let stream = streams[random.next(streams.count)]
        clock = clock + .milliseconds(1)
        switch random.next(10) {
        case 0..<4: tick(stream, settling)
        case 4: askAgain(stream)
        case 5: clock = clock + .milliseconds(random.next(600))
        default: work(stream)
        }
        if stream.machine.deadline <= clock { stream.machine.wake(at: clock) }
        takeEffects(stream)
    }

    private func takeEffects(_ stream: Stream) {
        while let effect = stream.machine.nextEffect() {
            if Self.isCompaction(effect) { counts.compactions += 1 }
            stream.effects.append(Box(effect))
        }
    }
    private static func isCompaction(_ effect: borrowing JournalEffect) -> Bool {
        switch effect {
        case .read(let id, _, _, _): id == 0
        default: false
        }
    }

    private func tick(_ stream: Stream, _ settling: Int) {
        var records = ByteBuffer(), steps: [Step] = []
        let cursor = stream.machine.cursor
        var ordinal = cursor.ordinal
        for _ in 0...random.next(4) {
            if random.next(100) < settling, let (order, record) = stream.now.randomElement(&random), let name = names[order] {
                guard let index = record.settled.firstIndex(of: false) else { continue }
                append([9, 1, name.segment, name.ordinal + UInt32(index)], to: &records)
                steps.append(.settle(order, index))
                stream.now[order]?.settled[index] = true
                if stream.now[order]?.isLive == false { stream.now[order] = nil }
            } else if stream.machine.isFull {
                counts.full += 1
            } else {
                order += 1
                let kind: UInt8 = random.next(4) == 0 ? 17 : 16, count = kind == 17 ? 1 : 1 + random.next(3),
                    size = random.next(20) == 0 ? 6000 : random.next(200)
                let record = Record(kind: kind, size: size, settled: Array(repeating: false, count: count))
                names[order] = Name(segment: cursor.segment, ordinal: ordinal, offset: cursor.offset + UInt32(records.count))
                append([UInt32(17 + size), UInt32(kind), ordinal, UInt32(count)], to: &records)
                records.append(order)
                for byte in Self.payload(order, size) { records.append(byte) }
                ordinal += UInt32(count)
                steps.append(.add(order, record))
                stream.now[order] = record
            }
        }
        guard !records.isEmpty else { return }
        stream.blocks.append(steps)
        stream.machine.append(&records, upTo: UInt64(stream.blocks.count), order: order, at: clock)
    }

    /// `length 4 · kind 1 · two numbers`.
    private func append(_ head: [UInt32], to records: inout ByteBuffer) {
        records.append(head[0])
        records.append(UInt8(head[1]))
        records.append(head[2])
        records.append(head[3])
    }

    /// Does one of the effects that are under way.
    private func work(_ stream: Stream) {
        guard !stream.effects.isEmpty else { return }
        let box = stream.effects.remove(at: random.next(stream.effects.count))
        guard let effect = box.take() else { return }
        if let completion = disk.perform(effect, run: disk.run) { stream.machine.completed(completion, at: clock) } else { counts.discards += 1 }
        takeReads(stream)
    }

    private func askAgain(_ stream: Stream) {
        for _ in 0..<random.next(5) {
            guard let order = stream.now.randomElement(&random)?.key, let name = names[order], !stream.asked.values.contains(order) else { continue }
            let id = UInt64(random.next(1 << 40))
            stream.asked[id] = order
            stream.machine.read(id, segment: name.segment, offset: name.offset)
        }
    }

    private func takeReads(_ stream: Stream) {
        var wrong: [String] = []
        stream.machine.takeReads { id, record in
            guard let order = stream.asked.removeValue(forKey: id) else { return }
            counts.reads += 1
            // It may have been settled, and its segment discarded, before it was read.
            guard let expected = stream.now[order] else { return }
            let isRight =
                record.count == 17 + expected.size && record[0] == expected.kind && record.extracting(17...).array == Self.payload(order, expected.size)
            if !isRight { wrong.append("record \(order) was read as \(record.count) bytes") }
        }
        complaints += wrong
    }

    /// Does all that is under way; with a full disk, as far as that goes.
    func settleDown() {
        for stream in streams {
            for _ in 0..<500 where !stream.effects.isEmpty || stream.machine.deadline < .never {
                if stream.effects.isEmpty {
                    clock = max(clock, stream.machine.deadline)
                    stream.machine.wake(at: clock)
                }
                work(stream)
                takeEffects(stream)
            }
            if disk.capacity < .max { continue }
            if !stream.asked.isEmpty { complaints.append("\(stream.asked.count) reads without an answer") }
            if stream.machine.durableTicket != UInt64(stream.blocks.count) { complaints.append("not all became durable") }
        }
    }

    var isFull: Bool { streams.contains { $0.machine.isFull } }
    var isFailed: Bool { streams.contains { $0.machine.failure != nil } }
    /// Live entries as the machines count them, and as the model does.
    var liveCounts: [Int] { streams.map { $0.machine.liveCount } }
    var expectedCounts: [Int] { streams.map { $0.now.values.reduce(0) { $0 + $1.settled.filter { !$0 }.count } } }
}

extension Dictionary where Key == UInt64 {
    fileprivate func randomElement(_ random: inout JournalRandom) -> Element? {
        if isEmpty { return nil }
        let key = keys.sorted()[random.next(count)]
        return self[key].map { (key, $0) }
    }
}
