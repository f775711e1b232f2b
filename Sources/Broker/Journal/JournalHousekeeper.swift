import MartletBytes
import MartletFiles
import Synchronization

/// The one thread that prepares and discards segments and reads records for all streams, so that none of it delays a commit.
/// Reads go before the rest.
public final class JournalHousekeeper: Sendable {
    private enum Job {
        case prepare(UInt32, JournalInbox)
        case discard(UInt32)
    }
    private struct Read {
        var id: UInt64
        var segment: UInt32
        var offset: UInt32
        var count: Int
        var inbox: JournalInbox
    }
    private struct Jobs {
        var reads: [Read] = []
        var others: [Job] = []
        var isEnding = false
    }

    private let report: @Sendable (JournalReport) -> Void
    private let jobs = Mutex(Jobs())
    private let signal = Signal()
    private let thread = Mutex<WorkerThread?>(nil)

    public init(_ directory: JournalDirectory, run: UInt64, report: @escaping @Sendable (JournalReport) -> Void) throws(JournalError) {
        self.report = report
        do {
            var worker: WorkerThread? = try WorkerThread("journal-files") { [self] in work(in: directory, run: run) }
            thread.withLock { $0 = worker.take() }
        } catch { throw JournalError("\(error)") }
    }

    func prepare(_ segment: UInt32, for inbox: JournalInbox) { submit { $0.others.append(.prepare(segment, inbox)) } }

    func discard(_ segment: UInt32) { submit { $0.others.append(.discard(segment)) } }

    func read(_ id: UInt64, segment: UInt32, offset: UInt32, count: Int, for inbox: JournalInbox) {
        submit { $0.reads.append(Read(id: id, segment: segment, offset: offset, count: count, inbox: inbox)) }
    }

    /// Returns when what it is at is done; what waits is left undone. After all streams have finished. **Blocks.**
    public func finish() {
        guard let worker = thread.withLock({ $0.take() }) else { return }
        submit { $0.isEnding = true }
        worker.join()
    }

    private func submit(_ change: (inout sending Jobs) -> sending Void) {
        jobs.withLock(change)
        signal.raise()
    }

    // MARK: The thread

    private func work(in directory: JournalDirectory, run: UInt64) {
        var files = SegmentFiles(directory, run: run)
        while true {
            signal.wait()
            while true {
                let (reads, job, isEnding) = jobs.withLock { jobs in
                    let reads = jobs.reads
                    jobs.reads = []
                    return (reads, jobs.others.isEmpty ? nil : jobs.others.removeFirst(), jobs.isEnding)
                }
                if isEnding { return }
                for read in reads { perform(read, &files) }
                guard let job else {
                    if reads.isEmpty { break }
                    continue
                }
                perform(job, in: directory, run: run, &files)
            }
        }
    }

    private func perform(_ read: Read, _ files: inout SegmentFiles) {
        var bytes = ByteBuffer()
        do { try files.read(read.segment, offset: read.offset, count: read.count, into: &bytes) } catch {
            report(.warning("\(error)"))
            bytes.removeAll()
        }
        read.inbox.leave(.read(id: read.id, Parcel(bytes)))
    }

    private func perform(_ job: Job, in directory: JournalDirectory, run: UInt64, _ files: inout SegmentFiles) {
        switch job {
        case .prepare(let segment, let inbox):
            do {
                try directory.prepare(segment, run: run)
                inbox.leave(.prepared(segment))
            } catch {
                let failure = SegmentFiles.failure(.prepare, segment, error)
                inbox.leave(.failed(failure, Parcel(ByteBuffer())))
                if !failure.isNoSpace { report(.failure(JournalError("\(error)"))) }
            }
        case .discard(let segment):
            do { try files.discard(segment) } catch { report(.warning("\(error)")) }
        }
    }
}
