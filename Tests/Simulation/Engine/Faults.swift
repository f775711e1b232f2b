import MartletJournal

/// What goes wrong in a run beside broken connections, and what stops in order. One seed in five has more of it than crashes, full disks
/// and syncs that fail.
struct Faults {
    /// Bytes of the disk change.
    var isRotten = false
    var sync = JournalSync.always
    /// The server is stopped now and then, and started again.
    var hasStops = false
    /// Clients use queues that go with their last consumer.
    var hasAutoDelete = false

    init() {}

    init(seed: UInt64) {
        guard seed % 5 == 1 else { return }
        hasAutoDelete = true
        switch seed / 5 % 4 {
        case 0: isRotten = true
        case 1: sync = .interval(.milliseconds(100))
        case 2: sync = .never
        default: break
        }
        hasStops = !isRotten
    }

    /// What was written and not synced is acknowledged: it survives the end of the process alone.
    var promisesPower: Bool { sync == .always }
}
