import MartletJournal
import Synchronization

/// How far the server has come: what `/health/ready` goes by.
final class ServerPhase: Sendable {
    enum Phase: Sendable { case starting, serving, stopping }

    private let state = Mutex((phase: Phase.starting, directory: JournalDirectory?.none))

    var now: Phase { state.withLock { $0.phase } }
    /// Where the journal lies, once it is open.
    var directory: JournalDirectory? { state.withLock { $0.directory } }

    func beginServing(_ directory: JournalDirectory?) { state.withLock { $0 = (.serving, directory) } }
    func beginStopping() { state.withLock { $0.phase = .stopping } }
}
