import Glibc
import MartletFiles
import MartletJournal
import Synchronization

/// A data directory that this process has closed before. Another test may be starting a process just now, which has our descriptors, and
/// with them the lock, until it becomes another program.
func reopenedDirectory(_ path: String, isMade: Bool = true) throws -> JournalDirectory {
    let end = ContinuousClock.now + .seconds(10)
    while true {
        do { return try JournalDirectory(path, isMade: isMade) } catch {
            guard error.description.contains("in use by process \(getpid())"), ContinuousClock.now < end else { throw error }
            usleep(1_000)
        }
    }
}

/// What journals' threads have said, and how often they woke their loops.
final class JournalEar: Sendable {
    private let heard = Mutex<[JournalReport]>([])
    private let wakes = Atomic<Int>(0)

    var reports: [JournalReport] { heard.withLock { $0 } }
    var wakeCount: Int { wakes.load(ordering: .relaxed) }

    func report(_ report: JournalReport) { heard.withLock { $0.append(report) } }
    func wake() { wakes.add(1, ordering: .relaxed) }
}
