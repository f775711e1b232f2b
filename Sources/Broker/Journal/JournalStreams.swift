public import MartletBytes

/// All streams of a server's journal, one a loop, and the thread that they share.
public final class JournalStreams {
    /// By the loop's number. Each is its loop's alone from the start on.
    public private(set) var journals: [ThreadedJournal] = []
    public let housekeeper: JournalHousekeeper
    private let directory: JournalDirectory

    /// Begins the next run of what was recovered from `directory`. `wake`: what wakes each loop, called on the threads when its journal has
    /// something new to say; `report`: called on them when something went wrong.
    public init(
        opening recovery: consuming JournalRecovery, in directory: JournalDirectory, shards: Int, options: JournalOptions,
        wake: (_ shard: Int) -> @Sendable () -> Void, report: @escaping @Sendable (JournalReport) -> Void
    ) throws(JournalError) {
        self.directory = directory
        directory.use(options)
        let run = recovery.nextRun
        housekeeper = try JournalHousekeeper(directory, run: run, report: report)
        var opened: [ThreadedJournal] = []
        var failure: JournalError?
        do throws(JournalError) {
            try recovery.open(shards: shards, options: options) { machine in
                do throws(JournalError) {
                    let shard = opened.count
                    opened.append(try ThreadedJournal(machine, shard: shard, run: run, in: directory, housekeeper, wake: wake(shard), report: report))
                } catch { failure = error }
            }
        } catch { failure = error }
        journals = opened
        if let failure {
            _ = finish(at: Instant(nanoseconds: 0), within: .zero)
            throw failure
        }
    }

    /// What was done with files.
    public var files: JournalDirectory.Counters { directory.counters }

    /// Writes and syncs everything that was appended, and ends all threads. Once the loops have ended. **Blocks**, at most for about
    /// `time`: false if not everything could be written by then.
    public func finish(at now: Instant, within time: Duration) -> Bool {
        var isWhole = true
        for journal in journals { isWhole = journal.finish(at: now, within: time) && isWhole }
        housekeeper.finish()
        return isWhole
    }
}
