import CLinux
import MartletBytes
import Synchronization

/// What other threads leave for a loop: bytes for its tenant, calls, and jobs of Swift tasks. One wake-up for all that is left
/// while the loop is busy.
final class Mailbox: Sendable {
    /// Memory that changes its owner: safe because the sender gave it away (`ByteBuffer.surrender`) and the loop is the only reader.
    struct Letter: @unchecked Sendable {
        let sender: Int
        let base: UnsafeMutableRawPointer
        let offset: Int
        let count: Int
        let capacity: Int
    }
    struct Contents: Sendable {
        var letters: [Letter] = []
        var calls: [@Sendable (EventLoop) -> Void] = []
        var jobs: [LoopJob] = []
    }

    private let contents = Mutex(Contents())
    private let hasMail = Atomic<Bool>(false)
    /// Bytes of letters left and not yet read.
    let letterBytes = Atomic<Int>(0)

    /// True if the loop must be woken: nobody did since it last emptied the box.
    func leave(_ change: (inout Contents) -> Void) -> Bool {
        contents.withLock { change(&$0) }
        return !hasMail.exchange(true, ordering: .acquiringAndReleasing)
    }

    /// Swaps the contents with an emptied one; false, without a lock, when there is nothing.
    func empty(into mail: inout Contents) -> Bool {
        guard hasMail.exchange(false, ordering: .acquiringAndReleasing) else { return false }
        contents.withLock { swap(&$0, &mail) }
        return true
    }
}
