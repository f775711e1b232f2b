import MartletBytes
import MartletCollections

/// What a journal holds: read from its segments when the server starts, or by an offline command.
///
/// One pass over the live segments finds which entries live; `forEachLive` is another over those that have any of the kind. In memory
/// are a few bits an entry, 24 bytes a record that compaction moved, and a segment of each stream.
/// Reading changes nothing; `open` and `compact` do.
public struct JournalRecovery: ~Copyable {
    let store: any JournalStore
    let files: [JournalFile]
    /// What was cut, is damaged or missing.
    public private(set) var findings: [JournalFinding] = []
    /// The greatest order of any record or block.
    public private(set) var lastOrder: UInt64 = 0
    public private(set) var statistics = JournalStatistics()
    /// The run that `open` and `compact` begin: greater than that of any segment there is. What a start leaves that does not come to its end
    /// belongs to a run that never began; if a later start took its number, too, the two would be one after a crash.
    public private(set) var nextRun: UInt64 = 1
    /// Live segments, by number.
    var scans: [UInt32: JournalScan] = [:]
    private var moved: [JournalMoved] = []
    private var checkpoints: [Int: JournalCheckpoint] = [:]
    /// What settled records say, by segment: most are read before the segment that they speak of.
    private var settled = JournalTable()
    /// The segment that is being read: memory that is touched anew for each costs more than reading it.
    private var segmentBytes = ByteBuffer()

    public init(_ store: any JournalStore) throws(JournalError) {
        self.store = store
        files = try store.segments()
        var segments: [UInt32: Header] = [:]
        nextRun = store.run + 1
        for file in files {
            let header = header(of: file)
            if let run = header.run { nextRun = max(nextRun, run + 1) }
            if header.run ?? store.run <= store.run { segments[file.segment] = header }
        }
        scanLastRun(segments)
        scanEarlierRuns(segments)
        finish()
    }

    private struct Header {
        var file: JournalFile
        /// `nil`: the header is damaged.
        var run: UInt64?
        var byteCount = 0
    }

    private func header(of file: JournalFile) -> Header {
        var bytes = ByteBuffer()
        JournalReading.read(store, file.segment, offset: 0, count: min(JournalFormat.headerBytes, file.byteCount), into: &bytes)
        let header = JournalFormat.header(in: bytes.span, of: file.segment)
        return Header(file: file, run: header?.run, byteCount: header?.byteCount ?? 0)
    }

    // MARK: Which segments live

    /// Segments of the run that ended: from the last of each stream to its first, because what follows a segment tells whether it was whole.
    private mutating func scanLastRun(_ segments: [UInt32: Header]) {
        for shard in 0..<JournalFormat.streamsMax {
            let numbers = segments.values.filter { JournalFormat.shard(of: $0.file.segment) == shard && $0.run ?? store.run == store.run }.map(\.file.segment)
            var isFollowed = false
            for number in numbers.sorted(by: >) {
                guard let header = segments[number] else { continue }
                let scan = scan(header, run: store.run, isFollowed: isFollowed, entriesKnown: nil)
                if header.run == nil, !scan.hasBlocks, isFollowed || !numbers.allSatisfy({ $0 <= number }) { continue }
                note(scan, header, isFollowed: isFollowed)
                isFollowed = isFollowed || scan.hasBlocks
                scans[number] = scan
            }
        }
        for (shard, checkpoint) in checkpoints {
            let numbers = scans.keys.filter { JournalFormat.shard(of: $0) == shard }
            for number in numbers where number < checkpoint.segment && checkpoint.listed[number] == nil {
                scans[number] = nil
                findings.removeAll { $0.segment == number }
            }
            var number = checkpoint.segment
            while let last = numbers.max(), number < last {
                if scans[number] == nil { findings.append(JournalFinding(.missingSegment, number)) }
                number += 1 << JournalFormat.streamBits
            }
        }
    }

    /// Of earlier runs live those segments that a checkpoint of the last run lists; where there is none, all that it might have listed.
    private mutating func scanEarlierRuns(_ segments: [UInt32: Header]) {
        let shards = checkpoints.values.map(\.shards).max() ?? 0
        let withoutCheckpoint = store.run == 0 ? [] : (0..<max(1, shards)).filter { checkpoints[$0] == nil }
        for shard in withoutCheckpoint { findings.append(JournalFinding(.missingCheckpoint, UInt32(shard))) }
        var live: [UInt32: JournalCheckpoint.Listed] = [:]
        for checkpoint in checkpoints.values { live.merge(checkpoint.listed) { one, _ in one } }
        for (number, listed) in live {
            if let scan = scans[number], scan.hasBlocks || segments[number]?.run != nil { continue }
            // A damaged header does not say that it is of an earlier run; the checkpoint does.
            if scans.removeValue(forKey: number) != nil { findings.removeAll { $0.segment == number } }
            guard var header = segments[number] else {
                findings.append(JournalFinding(.missingSegment, number))
                continue
            }
            if header.run == nil { findings.append(JournalFinding(.damagedHeader, number, 0..<UInt32(JournalFormat.headerBytes))) }
            header.run = listed.run
            let scan = scan(header, run: listed.run, isFollowed: false, entriesKnown: listed.entries)
            note(scan, header, isFollowed: false)
            if scan.segment.entries < listed.entries {
                findings.append(JournalFinding(.lostEnd, number, scan.segment.end..<max(scan.segment.end, UInt32(header.file.byteCount))))
            }
            scans[number] = scan
        }
        for checkpoint in checkpoints.values { checkpoint.forEachListed { number, words in scans[number]?.segment.adopt(settled: words) } }
        for header in segments.values where scans[header.file.segment] == nil && live[header.file.segment] == nil {
            guard let run = header.run, run < store.run, withoutCheckpoint.contains(JournalFormat.owner(of: header.file.segment, shards: max(1, shards)))
            else { continue }
            let scan = scan(header, run: run, isFollowed: false, entriesKnown: nil)
            note(scan, header, isFollowed: false)
            scans[header.file.segment] = scan
        }
    }

    // MARK: What is in them

    private mutating func scan(_ header: Header, run: UInt64, isFollowed: Bool, entriesKnown: UInt32?) -> JournalScan {
        var bytes = ByteBuffer()
        swap(&bytes, &segmentBytes)
        defer { swap(&bytes, &segmentBytes) }
        bytes.removeAll()
        let number = header.file.segment, shard = JournalFormat.shard(of: number), isLastRun = run == store.run
        JournalReading.read(store, number, offset: 0, count: header.file.byteCount, into: &bytes)
        return JournalScan(bytes.span, of: number, run: run, isFollowed: isFollowed, entriesKnown: entriesKnown) { records, block, segment in
            var entries: UInt32 = 0, messages = 0, definitions = 0
            JournalFormat.forEachRecord(in: records) { kind, start, end in
                switch JournalRecordKind(rawValue: kind) {
                case .message, .definition:
                    guard let entry = JournalEntry(records, from: start, to: end) else { return }
                    entries += entry.count
                    if kind == JournalRecordKind.message.rawValue { messages += end - start } else { definitions += end - start }
                    lastOrder = max(lastOrder, entry.order)
                    if block.order == 0 {
                        moved.append(
                            JournalMoved(order: entry.order, segment: number, offset: UInt32(block.records.lowerBound + start), length: UInt32(end - start)))
                    }
                case .settled where end - start == 13:
                    let named = records.uint32(at: start + 5), ordinal = records.uint32(at: start + 9)
                    if settled.update(named, { $0.mark(ordinal) }) == nil {
                        settled.insert(JournalSegment(named, run: 0))
                        _ = settled.update(named) { $0.mark(ordinal) }
                    }
                case .checkpoint where isLastRun:
                    statistics.checkpointBytes += end - start
                    let last = checkpoints[shard]
                    if last == nil || (number, UInt32(block.start)) > (last?.segment ?? 0, last?.offset ?? 0) {
                        checkpoints[shard] = JournalCheckpoint(records.extracting(start + 5..<end), segment: number, offset: UInt32(block.start))
                    }
                default: break
                }
            }
            lastOrder = max(lastOrder, block.order)
            segment.entries += entries
            segment.entryBytes += messages + definitions
            segment.definitionBytes += definitions
        }
    }

    private mutating func note(_ scan: JournalScan, _ header: Header, isFollowed: Bool) {
        let number = scan.segment.number, end = scan.segment.end
        if header.run == nil {
            findings.append(JournalFinding(.damagedHeader, number, 0..<UInt32(JournalFormat.headerBytes)))
        } else if header.file.byteCount < header.byteCount {
            findings.append(JournalFinding(.cutShort, number, UInt32(header.file.byteCount)..<UInt32(header.byteCount)))
        }
        for stretch in scan.damage { findings.append(JournalFinding(.damagedStretch, number, stretch)) }
        if isFollowed, !scan.isClosed {
            findings.append(JournalFinding(.lostEnd, number, end..<max(end, UInt32(header.file.byteCount))))
        } else if scan.isTorn, scan.segment.run == store.run {
            findings.append(JournalFinding(.tornTail, number, end..<end))
        }
    }

    private mutating func finish() {
        segmentBytes.release()
        for number in settled.numbers {
            if let known = settled.segment(number) { scans[number]?.segment.adopt(known) }
        }
        settled = JournalTable()
        for number in scans.keys { scans[number]?.segment.forgetUnwritten() }
        findings.sort { ($0.segment, $0.bytes.lowerBound) < ($1.segment, $1.bytes.lowerBound) }
        moved.removeAll { scans[$0.segment] == nil }
        moved.sort { $0.order < $1.order }
        for scan in scans.values {
            statistics.segments += 1
            statistics.entries += Int(scan.segment.entries)
            statistics.settledEntries += Int(scan.segment.settledCount)
            statistics.messageBytes += scan.segment.entryBytes - scan.segment.definitionBytes
            statistics.definitionBytes += scan.segment.definitionBytes
        }
    }

    // MARK: What lives

    /// Ends an entry that nobody wants.
    public mutating func settle(segment: UInt32, ordinal: UInt32) {
        if scans[segment]?.segment.settle(ordinal) == true { statistics.settledEntries += 1 }
    }

    /// Shows every record of a kind, `.message` or `.definition`, that has a live entry, by order.
    public func forEachLive(_ kind: JournalRecordKind, _ body: (borrowing JournalLiveRecord) -> Void) {
        let kind = kind.rawValue
        var streams = Slab<JournalStreamCursor>(), younger = JournalMovedCursor(moved, scans, kind: kind, store)
        for shard in 0..<JournalFormat.streamsMax {
            let stream = scans.values.filter { JournalFormat.shard(of: $0.segment.number) == shard && $0.segment.mayHaveLive(kind) }
            if stream.isEmpty { continue }
            let number = streams.insert(JournalStreamCursor(stream.sorted { $0.segment.number < $1.segment.number }, kind: kind, store))
            streams[number].advance()
        }
        younger.advance()
        while true {
            var least = younger.order, first: UInt32 = 0
            for number in 1..<streams.end where streams[number].order < least {
                least = streams[number].order
                first = number
            }
            if least == .max { return }
            if first == 0 {
                younger.show(body)
                younger.advance()
            } else {
                streams[first].show(body)
                streams[first].advance()
            }
        }
    }
}

/// What a journal's live segments hold.
public struct JournalStatistics: Equatable, Sendable {
    public internal(set) var segments = 0
    public internal(set) var entries = 0
    public internal(set) var settledEntries = 0
    /// Of records, live or not.
    public internal(set) var messageBytes = 0
    public internal(set) var definitionBytes = 0
    public internal(set) var checkpointBytes = 0
    public var liveEntries: Int { entries - settledEntries }
}
