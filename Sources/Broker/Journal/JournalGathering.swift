import MartletBytes

/// When the next write begins: at once, or a little later, so that fewer commits carry more. A commit takes the processor as long as dozens of
/// messages do, whatever it carries.
///
/// What nobody awaits goes with what somebody does, or after `idleTime`. What is awaited waits for more, `time` at the longest, where that was
/// tried and pays: more came, and about as much in a second as without. It pays nothing where clients await their acknowledgement before they say
/// more, or where much comes anyway.
struct JournalGathering: BitwiseCopyable {
    /// What came in a stretch of commits.
    private struct Flow: BitwiseCopyable {
        var perSecond: Double
        var perCommit: Double

        func isWorth(more plain: Flow) -> Bool { perCommit >= 1.5 * plain.perCommit && perSecond >= 0.6 * plain.perSecond }
    }

    static let idleTime = Duration.milliseconds(5)
    /// So many entries wait for no more.
    static let entriesMax = 16
    private static let trialCommits = 4
    private static let commitsBetweenTrials = 32...4096

    private let time: Duration
    /// Whether what is awaited waits for more; in a trial of a few commits, the other way than before it.
    private(set) var gathers = false
    private var isTrial = false
    private var gathered = Flow(perSecond: 0, perCommit: 0)
    private var plain = Flow(perSecond: 0, perCommit: 0)

    // The stretch.
    private var since = Instant(nanoseconds: 0)
    private var commitCount = 0
    private var entryCount = 0
    /// Commits from the last trial to the next.
    private var length = commitsBetweenTrials.lowerBound

    // What waits.
    private var entries = 0
    private var isAwaited = false
    private(set) var isDue = false
    /// When it is due, if it is not yet.
    private(set) var due = Instant.never

    /// `time`: how long what is awaited may wait for more; zero: not at all.
    init(_ time: Duration) { self.time = time }

    /// A block waits.
    mutating func append(entries count: Int, isAwaited: Bool, at now: Instant) {
        if time > .zero, commitCount >= (isTrial ? Self.trialCommits : length) { turn(at: now) }
        entries += count
        if isAwaited {
            self.isAwaited = true
            if gathers, entries < Self.entriesMax { due = min(due, now + time) } else { isDue = true }
        } else if due == .never {
            due = now + Self.idleTime
        }
    }

    /// What waits has to go.
    mutating func hurry() { isDue = true }

    mutating func wake(at now: Instant) { if due <= now { isDue = true } }

    /// It is on its way.
    mutating func taken() {
        if isAwaited {
            commitCount += 1
            entryCount += entries
        }
        (entries, isAwaited, isDue, due) = (0, false, false, .never)
    }

    /// A stretch ends: the other way is tried, or the better one chosen.
    private mutating func turn(at now: Instant) {
        let seconds = max(1e-9, (now - since) / .seconds(1))
        let flow = Flow(perSecond: Double(entryCount) / seconds, perCommit: Double(entryCount) / Double(commitCount))
        if gathers { gathered = flow } else { plain = flow }
        if isTrial {
            let isBetter = gathered.isWorth(more: plain), isNew = isBetter == gathers
            length = isNew ? Self.commitsBetweenTrials.lowerBound : min(length * 2, Self.commitsBetweenTrials.upperBound)
            gathers = isBetter
            isTrial = false
        } else if gathers || flow.perCommit < Double(Self.entriesMax) / 2 {
            gathers.toggle()
            isTrial = true
        }
        (since, commitCount, entryCount) = (now, 0, 0)
    }
}
