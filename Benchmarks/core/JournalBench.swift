import Glibc
import MartletBytes
import MartletFiles
import MartletJournal

/// A stream of the journal on a real disk, without a core: each commit takes messages in and deletes those of the one before, and the next
/// commit begins when it is on disk. In turns with it, a quarter of a second each, the least that a log can do: the same bytes written
/// into a file that is there, and synced, on one thread. `bench-core journal [directory]`.
struct JournalBench {
    private let path: String

    init(below directory: String) { path = "\(directory)/martlet-journal-bench-\(getpid())" }

    func measure() {
        for (bodyBytes, count) in [(100, 1), (100, 100), (100, 1_000), (1_024, 1_000)] {
            do { try measure(bodyBytes: bodyBytes, a: count) } catch { print("journal: \(error)") }
            remove()
        }
    }

    private func measure(bodyBytes: Int, a count: Int) throws {
        let directory = try JournalDirectory(path)
        let signal = Signal()
        var options = JournalOptions()
        options.gatherTime = .zero
        let streams = try JournalStreams(
            opening: try JournalRecovery(directory), in: directory, shards: 1, options: options, wake: { _ in { signal.raise() } },
            report: { print("journal: \($0)") })
        let journal = streams.journals[0]
        let load = JournalLoad(journal, bodyBytes: bodyBytes)
        let bare = try BareLog(path + "/bare", 28 + count * (21 + bodyBytes + 13))
        // The first files are made before the clocks run: a server's are recycled from then on.
        let warm = Turn.time(CLOCK_MONOTONIC) + 2
        while Turn.time(CLOCK_MONOTONIC) < warm, streams.files.recycled < 4 { load.commit(count, signal) }
        let made = streams.files.prepared - streams.files.recycled
        var (ours, least) = (Turn(), Turn())
        for _ in 0..<16 {
            ours.take { load.commit(count, signal) }
            try least.take { try bare.commit() }
        }
        print("\(bodyBytes) B, \(count) a commit: journal \(ours.text(count)), bare log \(least.text(count)),", terminator: " ")
        let ratio = (ours.elapsed / Double(ours.commits)) / (least.elapsed / Double(least.commits))
        let counters = journal.counters
        print(
            "\(Turn.rounded(ratio))x the time;", "longest sync \(Int(counters.syncTimeMax / .microseconds(1))) us,",
            "segments \(streams.files.prepared), made anew while measured \(streams.files.prepared - streams.files.recycled - made)")
        _ = streams.finish(at: Instant(nanoseconds: 0), within: .seconds(10))
    }

    private func remove() {
        for name in (try? Directory.list(path)) ?? [] { try? Directory.remove("\(path)/\(name)") }
        rmdir(path)
    }
}

/// Commits, and what they took.
private struct Turn {
    var commits = 0
    var elapsed = 0.0
    /// Of all threads, and of the one that calls.
    var processor = 0.0
    var caller = 0.0

    mutating func take(_ commit: () throws -> Void) rethrows {
        let start = Self.time(CLOCK_MONOTONIC), all = Self.time(CLOCK_PROCESS_CPUTIME_ID), mine = Self.time(CLOCK_THREAD_CPUTIME_ID)
        var now = start
        while now < start + 0.25 {
            try commit()
            commits += 1
            now = Self.time(CLOCK_MONOTONIC)
        }
        elapsed += now - start
        processor += Self.time(CLOCK_PROCESS_CPUTIME_ID) - all
        caller += Self.time(CLOCK_THREAD_CPUTIME_ID) - mine
    }

    func text(_ count: Int) -> String {
        let messages = Double(commits * count)
        return "\(Int(messages / elapsed)) messages/s, \(Int(elapsed / Double(commits) * 1e6)) us a commit, \(Self.rounded(processor / messages * 1e6)) us of "
            + "processor a message (\(Self.rounded(caller / messages * 1e6)) by the caller)"
    }

    static func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }

    static func time(_ clock: Int32) -> Double {
        var time = timespec()
        clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}

private final class BareLog {
    private let file: File
    private var offset = 0
    private let bytes: [UInt8]
    private let size = 16 << 20

    init(_ path: String, _ count: Int) throws {
        file = try File(path, .making)
        try file.writeZeros(size, at: 0)
        try file.sync()
        bytes = [UInt8](repeating: 7, count: (count + 7) & ~7)
    }

    func commit() throws {
        let bytes = bytes
        if offset + bytes.count > size { offset = 0 }
        try file.write(bytes.span, at: offset)
        try file.syncData()
        offset += bytes.count
    }
}

/// Messages in, and out again one commit later.
private final class JournalLoad {
    private let journal: ThreadedJournal
    private var records = ByteBuffer()
    private var last: JournalCursor?
    private let payload: [UInt8]
    private var order: UInt64 = 1 << 24
    private var ticket: UInt64 = 0

    init(_ journal: ThreadedJournal, bodyBytes: Int) {
        self.journal = journal
        payload = [UInt8](repeating: 7, count: bodyBytes)
    }

    /// Waits until it is on disk.
    func commit(_ count: Int, _ signal: Signal) {
        let name = journal.cursor
        for index in 0..<count {
            records.append(UInt32(17 + payload.count))
            records.append(16 as UInt8)
            records.append(name.ordinal + UInt32(index))
            records.append(1 as UInt32)
            records.append(order + UInt64(index))
            payload.withUnsafeBytes { records.append($0.baseAddress!, count: $0.count) }
        }
        if let last {
            for index in 0..<count {
                records.append(9 as UInt32)
                records.append(1 as UInt8)
                records.append(last.segment)
                records.append(last.ordinal + UInt32(index))
            }
        }
        last = name
        ticket += UInt64(2 * count)
        let now = Instant(nanoseconds: 0)
        journal.append(&records, upTo: ticket, order: order, at: now)
        order += 1 << 24
        while journal.completed(at: now) < ticket { signal.wait() }
    }
}
