import MartletBytes
import MartletJournal
import Testing

/// Random loads on random disks that crash at any moment: what was complete is recovered, once and in order.
@Suite struct JournalCrashTests {
    /// Several runs, each ended by a crash or by the end of the process alone.
    private func live(_ seed: UInt64, sync: JournalSync, steps: Int = 400, runs: Int = 6, _ prepare: (JournalModel) -> Void = { _ in }) throws -> JournalModel {
        let model = JournalModel(seed: seed, sync: sync)
        prepare(model)
        var random = JournalRandom(seed)
        for _ in 0..<runs {
            try model.start(shards: 1 + random.next(3))
            let settling = 20 + random.next(75)
            for _ in 0..<random.next(steps) { model.step(settling: settling) }
            if random.next(3) == 0 { model.settleDown() }
            if random.next(3) > 0 { model.losePower() }
        }
        return model
    }

    /// Several seeds; what was seen all together.
    private func live(seeds: Range<UInt64>, sync: JournalSync, _ prepare: (JournalModel) -> Void = { _ in }) throws -> JournalModel.Counts {
        var counts = JournalModel.Counts()
        for seed in seeds {
            let model = try live(seed, sync: sync, prepare)
            counts.add(model.counts)
            if !model.complaints.isEmpty { Issue.record("seed \(seed): \(model.complaints)") }
        }
        return counts
    }

    @Test(arguments: [JournalSync.always, .interval(.milliseconds(20)), .never])
    func `what was complete is recovered, whatever a crash left`(sync: JournalSync) throws {
        let counts = try live(seeds: 0..<10, sync: sync)
        #expect(counts.recovered > 100 && counts.lost > 10 && counts.discards > 10 && counts.compactions > 10 && counts.reads > 100, "\(counts)")
    }

    @Test func `starts that a crash interrupts, on other numbers of loops, leave nothing that is taken for damage or comes back`() throws {
        var recovered = 0
        for seed in 0..<60 as Range<UInt64> {
            let model = JournalModel(seed: seed)
            var random = JournalRandom(seed &+ 1000)
            for _ in 0..<6 {
                try model.start(shards: 1 + random.next(3))
                for _ in 0..<random.next(80) { model.step() }
                model.losePower()
                for _ in 0..<random.next(3) {
                    model.interruptStart(shards: 1 + random.next(6), after: random.next(16))
                    if random.next(2) == 0 { model.losePower() }
                }
            }
            recovered += model.counts.recovered
            if !model.complaints.isEmpty { Issue.record("seed \(seed): \(model.complaints)") }
        }
        #expect(recovered > 1000)
    }

    @Test func `a full disk holds messages back, takes settled records, and all goes on when there is room`() throws {
        let counts = try live(seeds: 100..<110, sync: .always) { $0.capacity = 12 * 4096 }
        #expect(counts.recovered > 100 && counts.full > 10 && counts.discards > 10, "\(counts)")
    }

    @Test func `a full disk empties when its messages are settled`() throws {
        let model = JournalModel(seed: 1)
        try model.start(shards: 1)
        model.disk.capacity = 12 * 4096
        for _ in 0..<3000 where !model.isFull { model.step(settling: 10) }
        #expect(model.isFull)
        for _ in 0..<3000 where model.isFull { model.step(settling: 100) }
        #expect(!model.isFull)
        for _ in 0..<100 { model.step(settling: 80) }
        model.disk.capacity = .max
        model.settleDown()
        #expect(model.complaints == [])
        #expect(model.liveCounts == model.expectedCounts)
    }

    @Test(arguments: [0, 1, 2, 3] as [UInt64]) func `a sync that fails is the machine's end, and what was complete before is there`(seed: UInt64) throws {
        let model = JournalModel(seed: seed)
        try model.start(shards: 2)
        for _ in 0..<100 { model.step() }
        model.disk.isSyncFailing = true
        for _ in 0..<200 { model.step() }
        #expect(model.isFailed)
        model.disk.isSyncFailing = false
        try model.start(shards: 2)
        model.losePower()
        try model.start(shards: 1)
        #expect(model.complaints == [])
    }

    @Test func `compaction by the way and offline leaves what lives`() throws {
        let model = JournalModel(seed: 3)
        try model.start(shards: 2)
        for _ in 0..<2000 { model.step(settling: 70) }
        model.settleDown()
        #expect(model.counts.compactions > 3)
        #expect(model.liveCounts == model.expectedCounts)
        let before = try JournalRecovery(model.disk)
        let statistics = before.statistics
        try before.compact(options: JournalOptions(segmentBytes: 4096))
        model.losePower()
        try model.start(shards: 2)
        #expect(model.complaints == [])
        #expect(try JournalRecovery(model.disk).statistics.segments < statistics.segments)
    }
}
