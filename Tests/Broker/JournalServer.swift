import Glibc
import MartletBytes
import MartletFiles
import MartletJournal

/// A journal on disk with one stream, and a load of numbered messages.
final class JournalServer {
    let ear = JournalEar()
    let streams: JournalStreams
    var journal: ThreadedJournal { streams.journals[0] }
    private(set) var ticket: UInt64 = 0
    private let signal = Signal()
    private var records = ByteBuffer()
    private var number: UInt64 = 0
    private var order: UInt64

    init(_ path: String, sync: JournalSync = .always) throws {
        let ear = ear
        let signal = signal
        let directory = try reopenedDirectory(path)
        let recovery = try JournalRecovery(directory)
        order = recovery.lastOrder >> 24
        streams = try JournalStreams(
            opening: recovery, in: directory, shards: 1, options: JournalOptions(segmentBytes: 64 << 10, sync: sync),
            wake: { _ in
                {
                    ear.wake()
                    signal.raise()
                }
            }, report: { ear.report($0) })
    }

    var now: Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// A block of messages, the first of which are settled at once. A message's payload is its number and 92 bytes.
    func append(_ count: Int, settling settled: Int) {
        let name = journal.cursor
        order += 1
        for index in 0..<count {
            records.append(UInt32(17 + 100))
            records.append(16 as UInt8)
            records.append(name.ordinal + UInt32(index))
            records.append(1 as UInt32)
            records.append(order << 24 + UInt64(index))
            records.append(number)
            for _ in 0..<92 { records.append(7 as UInt8) }
            number += 1
        }
        for index in 0..<settled {
            records.append(9 as UInt32)
            records.append(1 as UInt8)
            records.append(name.segment)
            records.append(name.ordinal + UInt32(index))
        }
        ticket += UInt64(count + settled)
        journal.append(&records, upTo: ticket, order: order << 24, at: now)
    }

    /// `append`, and until it is on disk.
    func commit(_ count: Int, settling settled: Int) throws {
        append(count, settling: settled)
        if !wait(until: ticket, atMost: .seconds(20)) { throw JournalError("not on disk after 20 s") }
    }

    func wait(until ticket: UInt64, atMost time: Duration) -> Bool {
        let end = ContinuousClock.now + time
        while journal.completed(at: now) < ticket {
            if ContinuousClock.now > end { return false }
            waitForWake()
        }
        return true
    }

    /// For 20 ms at most.
    func waitForWake() { _ = signal.wait(atMost: .milliseconds(20)) }
}
