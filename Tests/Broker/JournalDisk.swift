import MartletBytes
import MartletJournal

/// A disk in memory that forgets at a crash what was not synced: any of its sectors, in any order.
///
/// Files are recycled as they are, with their old bytes; a discarded one may be back after a crash.
final class JournalDisk: JournalStore {
    struct File {
        /// What a reader sees; what is on the disk; which sectors of both differ.
        var cache: [UInt8]
        var disk: [UInt8]
        var dirty: Set<Int> = []
    }
    static let sectorBytes = 512
    var run: UInt64 = 0
    var files: [UInt32: File] = [:]
    private var spares: [(number: UInt32, file: File)] = []
    var quarantined: [Range<UInt32>] = []
    let segmentBytes: Int
    var random: JournalRandom
    /// Bytes that all files together may have.
    var capacity = Int.max
    /// The next syncs fail.
    var isSyncFailing = false
    /// So many effects, and begun runs, are done; the next ones fail.
    var stepsLeft = Int.max

    init(segmentBytes: Int, seed: UInt64) {
        self.segmentBytes = segmentBytes
        random = JournalRandom(seed)
    }

    // MARK: JournalStore

    func segments() -> [JournalFile] { files.map { JournalFile(segment: $0.key, byteCount: $0.value.cache.count) }.sorted { $0.segment < $1.segment } }

    func read(_ segment: UInt32, offset: UInt32, count: Int, into bytes: inout ByteBuffer) throws(JournalError) {
        guard let file = files[segment] else { throw JournalError("no such segment") }
        let start = min(Int(offset), file.cache.count), end = min(start + count, file.cache.count)
        bytes.append(file.cache.span.extracting(start..<end))
    }

    func quarantine(_ segment: UInt32, offset: UInt32, _ bytes: Span<UInt8>) { quarantined.append(offset..<offset + UInt32(bytes.count)) }

    func begin(run: UInt64) throws(JournalError) {
        guard goesOn() else { throw JournalError("the power is gone") }
        self.run = run
    }

    private func goesOn() -> Bool {
        if stepsLeft < .max { stepsLeft -= 1 }
        return stepsLeft >= 0
    }

    func perform(_ effect: consuming JournalEffect, run: UInt64) -> JournalCompletion? {
        guard goesOn() else { return .failed(JournalFailure(.write, segment: 0, code: 5, isNoSpace: false), bytes: ByteBuffer()) }
        switch consume effect {
        case .prepare(let segment): return prepare(segment, run)
        case .write(let segment, let offset, var bytes, let sync):
            let isWhole = self.write(segment, offset, &bytes, run)
            if !isWhole { return .failed(JournalFailure(.write, segment: segment, code: 28, isNoSpace: true), bytes: bytes) }
            return sync && !self.sync(segment) ? .failed(JournalFailure(.sync, segment: segment, code: 5, isNoSpace: false), bytes: ByteBuffer()) : .written
        case .sync(let segment):
            return sync(segment) ? .synced(segment) : .failed(JournalFailure(.sync, segment: segment, code: 5, isNoSpace: false), bytes: ByteBuffer())
        case .read(let id, let segment, let offset, let count):
            var bytes = ByteBuffer()
            try? read(segment, offset: offset, count: count, into: &bytes)
            return .read(id: id, bytes: bytes)
        case .discard(let segment):
            if let file = files.removeValue(forKey: segment) { spares.append((segment, file)) }
            return nil
        }
    }

    // MARK: The disk

    var byteCount: Int { files.values.reduce(0) { $0 + $1.cache.count } + spares.reduce(0) { $0 + $1.file.cache.count } }

    private func prepare(_ segment: UInt32, _ run: UInt64) -> JournalCompletion {
        var bytes = [UInt8](repeating: 0, count: segmentBytes), header = ByteBuffer()
        if let spare = spares.popLast() {
            bytes.replaceSubrange(0..<segmentBytes, with: spare.file.cache.prefix(segmentBytes))
        } else if byteCount + segmentBytes > capacity {
            return .failed(JournalFailure(.prepare, segment: segment, code: 28, isNoSpace: true), bytes: ByteBuffer())
        }
        JournalFormat.appendHeader(segment: segment, run: run, byteCount: UInt32(segmentBytes), to: &header)
        bytes.replaceSubrange(0..<header.count, with: header.span.array)
        files[segment] = File(cache: bytes, disk: bytes)
        return .prepared(segment)
    }

    /// False if there was no room for all of it.
    private func write(_ segment: UInt32, _ offset: UInt32, _ bytes: inout ByteBuffer, _ run: UInt64) -> Bool {
        JournalFormat.seal(&bytes, segment: segment, run: run, offset: offset)
        let start = Int(offset), grown = max(0, start + bytes.count - (files[segment]?.cache.count ?? 0)), room = byteCount + grown <= capacity
        let end = room ? start + bytes.count : min(start + bytes.count, max(start, files[segment]?.cache.count ?? 0))
        if let count = files[segment]?.cache.count, end > count { files[segment]?.cache += [UInt8](repeating: 0, count: end - count) }
        files[segment]?.cache.replaceSubrange(start..<end, with: bytes.span.extracting(..<(end - start)).array)
        for sector in start / Self.sectorBytes..<(end + Self.sectorBytes - 1) / Self.sectorBytes { files[segment]?.dirty.insert(sector) }
        return room
    }

    private func sync(_ segment: UInt32) -> Bool {
        if isSyncFailing {
            // As Linux has it: the cache keeps what it did not write, and no longer knows that it did not.
            files[segment]?.dirty = []
            return false
        }
        guard var file = files[segment] else { return true }
        file.disk = file.cache
        file.dirty = []
        files[segment] = file
        return true
    }

    /// The power goes: of what was not synced, each sector is on the disk or not.
    func crash() {
        for number in files.keys.sorted() {
            guard var file = files.removeValue(forKey: number) else { continue }
            let share = random.next(5)
            for sector in file.dirty.sorted() where random.next(4) < share {
                let range = sector * Self.sectorBytes..<min((sector + 1) * Self.sectorBytes, file.cache.count)
                if file.disk.count < range.upperBound { file.disk += [UInt8](repeating: 0, count: range.upperBound - file.disk.count) }
                file.disk.replaceSubrange(range, with: file.cache[range])
            }
            files[number] = File(cache: file.disk, disk: file.disk)
        }
        for spare in spares where random.next(2) == 0 && files[spare.number] == nil {
            files[spare.number] = File(cache: spare.file.disk, disk: spare.file.disk)
        }
        spares = []
    }
}

/// The same numbers for the same seed (SplitMix64).
struct JournalRandom {
    private var state: UInt64
    init(_ seed: UInt64) { state = seed }
    /// Below `bound`.
    mutating func next(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return Int((z ^ z >> 31) % UInt64(bound))
    }
}
