import MartletBytes
import MartletFiles
import Synchronization

/// What the threads want to be said, on the thread where it happens.
public enum JournalReport: Sendable, Equatable {
    /// Something went wrong that the journal goes on without.
    case warning(String)
    /// What was written may be lost, and nothing more will be acknowledged: log it and end the process.
    case failure(JournalError)
}

/// What a stream's thread has done since it began.
public struct JournalCounters: Sendable, Equatable {
    public var bytesWritten = 0
    public var writes = 0
    public var syncs = 0
    public var syncTime = Duration.zero
    public var syncTimeMax = Duration.zero
    /// Syncs by how long they took: up to each of `syncTimeBounds` and longer than the one before, and at last those above all.
    public var syncTimes = [UInt64](repeating: 0, count: syncTimeBounds.count + 1)

    public static let syncTimeBounds: [Duration] =
        [50, 100, 250, 500].map { .microseconds($0) } + [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000].map { .milliseconds($0) }

    public init() {}

    mutating func noteSync(_ time: Duration) {
        syncs += 1
        syncTime += time
        syncTimeMax = max(syncTimeMax, time)
        syncTimes[Self.syncTimeBounds.firstIndex { time <= $0 } ?? Self.syncTimeBounds.count] += 1
    }

    public mutating func add(_ other: JournalCounters) {
        bytesWritten += other.bytesWritten
        writes += other.writes
        syncs += other.syncs
        syncTime += other.syncTime
        syncTimeMax = max(syncTimeMax, other.syncTimeMax)
        for index in syncTimes.indices { syncTimes[index] += other.syncTimes[index] }
    }
}

/// The thread that writes one stream: takes writes and syncs from a loop, does them in order, and leaves completions. After a failure
/// that is final it does nothing more.
final class JournalThread: Sendable {
    private enum Job {
        case write(segment: UInt32, offset: UInt32, Parcel, isSynced: Bool)
        case sync(UInt32)
        case end
    }

    private let inbox: JournalInbox
    private let report: @Sendable (JournalReport) -> Void
    private let jobs = Mutex<[Job]>([])
    private let signal = Signal()
    private let counted = Mutex(JournalCounters())
    private let thread = Mutex<WorkerThread?>(nil)

    init(
        _ name: String, directory: JournalDirectory, run: UInt64, inbox: JournalInbox, report: @escaping @Sendable (JournalReport) -> Void
    ) throws(JournalError) {
        self.inbox = inbox
        self.report = report
        do {
            var worker: WorkerThread? = try WorkerThread(name) { [self] in work(in: directory, run: run) }
            thread.withLock { $0 = worker.take() }
        } catch { throw JournalError("\(error)") }
    }

    var counters: JournalCounters { counted.withLock { $0 } }

    func write(_ segment: UInt32, offset: UInt32, _ bytes: consuming ByteBuffer, isSynced: Bool) {
        submit(.write(segment: segment, offset: offset, Parcel(bytes), isSynced: isSynced))
    }

    func sync(_ segment: UInt32) { submit(.sync(segment)) }

    /// Returns when everything that was asked for is done and nothing is unsynced. **Blocks.**
    func finish() {
        guard let worker = thread.withLock({ $0.take() }) else { return }
        submit(.end)
        worker.join()
    }

    private func submit(_ job: Job) {
        jobs.withLock { $0.append(job) }
        signal.raise()
    }

    // MARK: The thread

    private func work(in directory: JournalDirectory, run: UInt64) {
        var files = SegmentFiles(directory, run: run)
        var taken: [Job] = []
        while true {
            signal.wait()
            jobs.withLock { swap(&$0, &taken) }
            for job in taken {
                switch job {
                case .write(let segment, let offset, let parcel, let isSynced):
                    guard write(&files, in: directory, segment, offset: offset, parcel.take(), isSynced: isSynced) else { return }
                case .sync(let segment):
                    guard sync(&files, segment) else { return }
                    inbox.leave(.synced(segment))
                case .end:
                    if let segment = files.unsynced { _ = sync(&files, segment) }
                    return
                }
            }
            taken.removeAll(keepingCapacity: true)
        }
    }

    /// False after a failure that is final.
    private func write(
        _ files: inout SegmentFiles, in directory: JournalDirectory, _ segment: UInt32, offset: UInt32, _ bytes: consuming ByteBuffer, isSynced: Bool
    ) -> Bool {
        let count = bytes.count
        do { try files.write(segment, offset: offset, &bytes) } catch { return fail(.write, segment, error, bytes) }
        counted.withLock {
            $0.bytesWritten += count
            $0.writes += 1
        }
        guard !isSynced || sync(&files, segment) else { return false }
        directory.noteWritten(segment, upTo: offset + UInt32(count))
        inbox.leave(.written(Parcel(bytes)))
        return true
    }

    private func sync(_ files: inout SegmentFiles, _ segment: UInt32) -> Bool {
        let start = ContinuousClock.now
        do { try files.sync(segment) } catch { return fail(.sync, segment, error, ByteBuffer()) }
        let time = ContinuousClock.now - start
        counted.withLock { $0.noteSync(time) }
        return true
    }

    private func fail(_ step: JournalFailure.Step, _ segment: UInt32, _ error: FileError, _ bytes: consuming ByteBuffer) -> Bool {
        let failure = SegmentFiles.failure(step, segment, error)
        inbox.leave(.failed(failure, Parcel(bytes)))
        if failure.isNoSpace { return true }
        report(.failure(JournalError("\(error)")))
        return false
    }
}
