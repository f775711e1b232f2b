import MartletBytes
import MartletFiles
import Synchronization

/// What the threads leave for a journal's loop: completions. One wake-up for all that is left until the loop looks.
final class JournalInbox: Sendable {
    enum Letter: Sendable {
        case prepared(UInt32)
        /// The memory comes back with it.
        case written(Parcel)
        case synced(UInt32)
        case read(id: UInt64, Parcel)
        case failed(JournalFailure, Parcel)
    }

    private let letters = Mutex<[Letter]>([])
    private let hasLetters = Atomic<Bool>(false)
    private let signal = Signal()
    private let wake: @Sendable () -> Void

    init(wake: @escaping @Sendable () -> Void) { self.wake = wake }

    func leave(_ letter: Letter) {
        letters.withLock { $0.append(letter) }
        if hasLetters.exchange(true, ordering: .acquiringAndReleasing) { return }
        signal.raise()
        wake()
    }

    /// Swaps what was left with an emptied array; false, without a lock, when there is nothing.
    func empty(into taken: inout [Letter]) -> Bool {
        guard hasLetters.exchange(false, ordering: .acquiringAndReleasing) else { return false }
        letters.withLock { swap(&$0, &taken) }
        return true
    }

    /// For the owner of the loop, once that has ended. **Blocks.**
    func wait(atMost time: Duration) { _ = signal.wait(atMost: time) }
}
