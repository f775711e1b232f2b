import MartletBytes
import Testing

@testable import MartletJournal

/// Messages come, commits of 250 us take what waits, and what they carried is acknowledged.
private struct GatheringModel {
    var gathering: JournalGathering
    private(set) var commits = 0
    private(set) var acknowledged = 0
    private(set) var waitMax = 0
    private var waiting: [Int] = []
    private var underWay: [Int] = []
    private var commitEnd = Int.max
    private static let commitTime = 250

    init(gathers: Bool) { gathering = JournalGathering(gathers ? .milliseconds(1) : .zero) }

    private func instant(_ microseconds: Int) -> Instant { Instant(nanoseconds: Int64(microseconds) * 1000) }

    /// `window` publishers await their acknowledgement before they publish again, 20 us later; 0: one comes every `interval`, whatever is acknowledged.
    mutating func run(from start: Int = 0, microseconds: Int, window: Int = 0, interval: Int = .max) {
        var next = start, returning = Array(repeating: start, count: window)
        for now in stride(from: start, to: start + microseconds, by: 10) {
            if now >= commitEnd {
                acknowledged += underWay.count
                waitMax = max(waitMax, now - (underWay.first ?? now))
                if window > 0 { returning += underWay.map { _ in now + 20 } }
                underWay = []
                commitEnd = .max
            }
            let coming = window > 0 ? returning.count { $0 <= now } : now == next ? 1 : 0
            if window > 0 { returning.removeAll { $0 <= now } } else if now == next { next += interval }
            if coming > 0 {
                waiting += Array(repeating: now, count: coming)
                gathering.append(entries: coming, isAwaited: true, at: instant(now))
            }
            gathering.wake(at: instant(now))
            if commitEnd == .max, gathering.isDue, !waiting.isEmpty {
                gathering.taken()
                swap(&waiting, &underWay)
                commits += 1
                commitEnd = now + Self.commitTime
            }
        }
    }
}

@Suite struct JournalGatheringTests {
    @Test(arguments: [100, 200, 300]) func `what comes by itself, a few in a commit, waits for more`(interval: Int) {
        var model = GatheringModel(gathers: true), plain = GatheringModel(gathers: false)
        model.run(microseconds: 2_000_000, interval: interval)
        plain.run(microseconds: 2_000_000, interval: interval)
        #expect(model.commits * 2 < plain.commits)
        #expect(model.acknowledged > plain.acknowledged - 20)
        // Its own commit, the one before, and the millisecond.
        #expect(model.waitMax <= 1_500)
    }

    @Test(arguments: [1, 2, 4, 8, 15, 40]) func `who awaits acknowledgements before saying more is not slowed`(window: Int) {
        var model = GatheringModel(gathers: true), plain = GatheringModel(gathers: false)
        model.run(microseconds: 2_000_000, window: window)
        plain.run(microseconds: 2_000_000, window: window)
        #expect(model.acknowledged >= plain.acknowledged * 95 / 100)
    }

    @Test(arguments: [2_000, 20_000]) func `what comes rarely goes at once`(interval: Int) {
        var model = GatheringModel(gathers: true)
        model.run(microseconds: 4_000_000, interval: interval)
        #expect(model.commits >= 4_000_000 / interval - 1)
        #expect(!model.gathering.gathers)
    }

    @Test func `much goes at once`() {
        var model = GatheringModel(gathers: true)
        model.run(microseconds: 500_000, interval: 10)
        #expect(model.waitMax <= 500)
    }

    @Test func `the way changes with the load`() {
        var model = GatheringModel(gathers: true)
        model.run(microseconds: 1_000_000, interval: 200)
        #expect(model.gathering.gathers)
        let before = model.acknowledged
        model.run(from: 1_000_000, microseconds: 9_000_000, window: 4)
        #expect(!model.gathering.gathers)
        #expect(model.acknowledged - before > 70_000)
        model.run(from: 10_000_000, microseconds: 9_000_000, interval: 200)
        #expect(model.gathering.gathers)
    }

    @Test func `what nobody awaits goes with what somebody does, or after a while`() {
        var gathering = JournalGathering(.milliseconds(1))
        let now = Instant(nanoseconds: 7_000_000)
        gathering.append(entries: 0, isAwaited: false, at: now)
        #expect(!gathering.isDue && gathering.due == now + JournalGathering.idleTime)
        gathering.append(entries: 0, isAwaited: false, at: now + .milliseconds(1))
        gathering.wake(at: now + .milliseconds(4))
        #expect(!gathering.isDue)
        gathering.wake(at: now + .milliseconds(5))
        #expect(gathering.isDue)
        gathering.taken()
        #expect(!gathering.isDue && gathering.due == .never)
        gathering.append(entries: 0, isAwaited: false, at: now)
        gathering.append(entries: 1, isAwaited: true, at: now)
        #expect(gathering.isDue)
    }
}
