package import MartletEventLoop
import MartletJournal
import MartletNet
import MartletShard
import Synchronization

/// What one loop has counted, and what is there.
package struct LoopFigures: Sendable {
    package let loop: Int
    let samples: [Sample]
    let journal: JournalCounters
    let longestTick: Duration
    let queues: [QueueSample]
    let queuesLeftOut: Int
}

/// Asks every loop for its figures, each on its own thread: what `martlet ctl status`, `/metrics` and `/health/ready` tell comes from here.
package struct Survey: Sendable {
    let loops: [EventLoop]

    package init(loops: [EventLoop]) { self.loops = loops }

    /// Waits for all loops, at most for `time`: who has not answered by then is missing. **Blocks.**
    package func take(within time: Duration) -> [LoopFigures] {
        let answers = ask(queuesMax: 0), deadline = ContinuousClock.now + time
        while answers.all.count < loops.count, ContinuousClock.now < deadline { DetachedThread.sleep(.milliseconds(1)) }
        return answers.all
    }

    /// The same for a task. `queuesMax`: of each gateway on each loop so many queues, those that hold most.
    package func figures(within time: Duration, queuesMax: Int = 0) async -> [LoopFigures] {
        let answers = ask(queuesMax: queuesMax)
        let clock = Task.detached {
            // Cancelled, it only ends sooner.
            try? await Task.sleep(for: time)
            answers.enough.resume(returning: ())
        }
        await answers.enough.wait()
        clock.cancel()
        return answers.all
    }

    private func ask(queuesMax: Int) -> Answers {
        let answers = Answers(loops.count)
        for loop in loops {
            loop.execute { loop in
                guard let shard = loop.tenant as? Shard else { return }
                let queues = queuesMax > 0 ? shard.allGateways.map { $0.queueSamples(max: queuesMax) } : []
                answers.add(
                    LoopFigures(
                        loop: loop.number, samples: shard.samples, journal: shard.journalCounters, longestTick: loop.counters.longestTick,
                        queues: queues.flatMap(\.queues), queuesLeftOut: queues.reduce(0) { $0 + $1.leftOut }))
            }
        }
        return answers
    }

    private final class Answers: Sendable {
        private let state = Mutex([LoopFigures]())
        private let wanted: Int
        /// All are there, or the time is over.
        let enough = Once<Void>()

        init(_ wanted: Int) { self.wanted = wanted }

        var all: [LoopFigures] { state.withLock { $0 }.sorted { $0.loop < $1.loop } }

        func add(_ figures: LoopFigures) {
            let count = state.withLock { state in
                state.append(figures)
                return state.count
            }
            if count == wanted { enough.resume(returning: ()) }
        }
    }
}
