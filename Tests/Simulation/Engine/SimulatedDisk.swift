package import MartletBytes
package import MartletJournal

/// A disk in memory that keeps what it promised and nothing else: what was written and not synced survives the end of the process, but
/// of a loss of power any part of it, sector by sector; a name that was changed may be the old one again; a sync that failed has lost what
/// it was for.
package final class SimulatedDisk: JournalStore {
    private struct Write {
        var offset: Int
        var bytes: [UInt8]
    }
    private struct File {
        /// What reading shows, and what is on the disk.
        var seen: [UInt8]
        var durable: [UInt8]
        /// Written since the last sync, in order.
        var pending: [Write] = []
    }

    static let sectorBytes = 512
    private static let sparesMax = 2
    package let options: JournalOptions
    private var random: SeededRandom
    private var files: [UInt32: File] = [:]
    private var spares: [(segment: UInt32, file: File)] = []
    /// Names that were taken away since the directory was last synced.
    private var unnamed: [(segment: UInt32, file: File)] = []
    package private(set) var run: UInt64 = 0
    /// Nothing new finds room.
    package var isFull = false
    /// So many of compaction's reads in a thousand give a byte that is not what was written.
    package var rotPerMille = 0
    /// One step of a stream takes up to this long, now and then ten times that.
    package var latencyMax = Duration.milliseconds(2)
    /// So many steps of a start are done, then the power goes.
    package var stepsLeft: Int?
    package private(set) var quarantinedBytes = 0

    package init(seed: UInt64, segmentBytes: Int, sync: JournalSync = .always) {
        random = SeededRandom(seed)
        options = JournalOptions(segmentBytes: segmentBytes, sync: sync)
    }

    private var segmentBytes: Int { options.segmentBytes }
    func nextSeed() -> UInt64 { random.next() }

    package var byteCount: Int { files.values.reduce(0) { $0 + $1.seen.count } }
    package var segmentCount: Int { files.count }

    // MARK: What recovery reads

    package func segments() -> [JournalFile] { files.keys.sorted().map { JournalFile(segment: $0, byteCount: files[$0]?.seen.count ?? 0) } }

    package func read(_ segment: UInt32, offset: UInt32, count: Int, into bytes: inout ByteBuffer) throws(JournalError) {
        guard let file = files[segment] else { throw JournalError("segment \(segment) is not there") }
        let start = min(Int(offset), file.seen.count), end = min(start + count, file.seen.count)
        bytes.append(file.seen.span.extracting(start..<end))
    }

    package func quarantine(_ segment: UInt32, offset: UInt32, _ bytes: Span<UInt8>) { quarantinedBytes += bytes.count }

    package func begin(run: UInt64) throws(JournalError) {
        guard goesOn() else { throw JournalError("the power is gone") }
        self.run = run
        unnamed = []
    }

    package func perform(_ effect: consuming JournalEffect, run: UInt64) -> JournalCompletion? {
        guard goesOn() else { return .failed(JournalFailure(.write, segment: 0, code: 5, isNoSpace: false), bytes: ByteBuffer()) }
        switch consume effect {
        case .prepare(let segment): return prepare(segment, run: run)
        case .write(let segment, let offset, var bytes, let isSynced):
            JournalFormat.seal(&bytes, segment: segment, run: run, offset: offset)
            guard write(segment, offset: Int(offset), bytes.span.array) else { return .failed(Self.noSpace(.write, segment), bytes: bytes) }
            if isSynced { sync(segment) }
            return .written
        case .sync(let segment):
            sync(segment)
            return .synced(segment)
        case .read(let id, let segment, let offset, let count):
            var bytes = ByteBuffer()
            try? read(segment, offset: offset, count: count, into: &bytes)
            if rotPerMille > 0, id == 0, !bytes.isEmpty, Int.random(in: 0..<1000, using: &random) < rotPerMille { flip(&bytes) }
            return .read(id: id, bytes: bytes)
        case .discard(let segment):
            discard(segment)
            return nil
        }
    }

    private func goesOn() -> Bool {
        guard let left = stepsLeft else { return true }
        stepsLeft = left - 1
        return left > 0
    }

    static func noSpace(_ step: JournalFailure.Step, _ segment: UInt32) -> JournalFailure {
        JournalFailure(step, segment: segment, code: 28, isNoSpace: true)
    }

    // MARK: Effects

    private func image(of segment: UInt32, run: UInt64) -> [UInt8] {
        var header = ByteBuffer(), image = spares.last?.file.seen ?? []
        image = Array(image.prefix(segmentBytes)) + Array(repeating: 0, count: max(0, segmentBytes - image.count))
        JournalFormat.appendHeader(segment: segment, run: run, byteCount: UInt32(segmentBytes), to: &header)
        image.replaceSubrange(0..<header.count, with: header.span.array)
        return image
    }

    func prepare(_ segment: UInt32, run: UInt64) -> JournalCompletion {
        if isFull, spares.isEmpty { return .failed(Self.noSpace(.prepare, segment), bytes: ByteBuffer()) }
        let image = image(of: segment, run: run)
        let spare = spares.popLast()
        // The directory is synced: names that went are gone.
        unnamed.removeAll { $0.segment != spare?.segment }
        unnamed = []
        files[segment] = File(seen: image, durable: image)
        return .prepared(segment)
    }

    /// A crash interrupts it: a file has its name when it is whole on disk, or has none.
    func interruptPreparation(of segment: UInt32, run: UInt64) {
        guard Bool.random(using: &random), !isFull else { return }
        let image = image(of: segment, run: run)
        _ = spares.popLast()
        files[segment] = File(seen: image, durable: image)
    }

    /// False: no room.
    func write(_ segment: UInt32, offset: Int, _ bytes: [UInt8]) -> Bool {
        guard var file = files.removeValue(forKey: segment) else { return false }
        defer { files[segment] = file }
        if isFull, offset + bytes.count > file.seen.count { return false }
        file.pending.append(Write(offset: offset, bytes: bytes))
        Self.put(bytes, at: offset, in: &file.seen)
        return true
    }

    func sync(_ segment: UInt32) {
        guard var file = files.removeValue(forKey: segment) else { return }
        for write in file.pending { Self.put(write.bytes, at: write.offset, in: &file.durable) }
        file.pending = []
        files[segment] = file
    }

    /// The system says that what was written could not be: some of it is on the disk, and the rest never will be, although reading shows it.
    func failSync(_ segment: UInt32) {
        guard var file = files.removeValue(forKey: segment) else { return }
        for write in file.pending { tear(write, in: &file.durable, chance: 50) }
        file.pending = []
        files[segment] = file
    }

    func discard(_ segment: UInt32) {
        guard let file = files.removeValue(forKey: segment) else { return }
        unnamed.append((segment, file))
        if spares.count < Self.sparesMax { spares.append((segment, file)) }
    }

    private static func put(_ bytes: [UInt8], at offset: Int, in file: inout [UInt8]) {
        if file.count < offset + bytes.count { file += Array(repeating: 0, count: offset + bytes.count - file.count) }
        file.replaceSubrange(offset..<offset + bytes.count, with: bytes)
    }

    // MARK: The power goes

    /// Of what was not synced any part is there, in any order.
    package func losePower() {
        let chance = [0, 50, 90, 100].randomElement(using: &random)!
        for segment in files.keys.sorted() {
            guard var file = files.removeValue(forKey: segment) else { continue }
            for write in file.pending { tear(write, in: &file.durable, chance: chance) }
            file.pending = []
            file.seen = file.durable
            files[segment] = file
        }
        for (segment, file) in unnamed where Bool.random(using: &random) {
            // A spare that has its old name again is no spare.
            spares.removeAll { $0.segment == segment }
            files[segment] = File(seen: file.durable, durable: file.durable)
        }
        unnamed = []
    }

    /// Each sector of a write arrives with this chance in a hundred; a sector may arrive in part.
    private func tear(_ write: Write, in file: inout [UInt8], chance: Int) {
        var start = write.offset
        let end = write.offset + write.bytes.count
        while start < end {
            var next = min(end, (start / Self.sectorBytes + 1) * Self.sectorBytes)
            let sectorEnd = next
            defer { start = sectorEnd }
            guard Int.random(in: 0..<100, using: &random) < chance else { continue }
            if Int.random(in: 0..<20, using: &random) == 0 { next = Int.random(in: start..<next, using: &random) }
            Self.put(Array(write.bytes[start - write.offset..<next - write.offset]), at: start, in: &file)
        }
    }

    /// One bit of some file is not what was written: which. Of a file that is long only in zeros it is one of its beginning.
    func rot() -> (segment: UInt32, offset: Int)? {
        guard let segment = files.keys.sorted().randomElement(using: &random), var file = files.removeValue(forKey: segment) else { return nil }
        defer { files[segment] = file }
        let used = (file.seen.lastIndex { $0 != 0 } ?? -1) + 1
        guard used > 0, file.durable.count >= used else { return nil }
        let place = Int.random(in: 0..<used, using: &random), bit: UInt8 = 1 << UInt8.random(in: 0..<8, using: &random)
        file.durable[place] ^= bit
        file.seen[place] ^= bit
        return (segment, place)
    }

    private func flip(_ bytes: inout ByteBuffer) {
        var flipped = bytes.span.array
        flipped[Int.random(in: 0..<flipped.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        bytes.removeAll()
        bytes.append(flipped.span)
    }

    /// Where the block lies that has this byte: as far as the lengths of those before it lead there.
    func block(around offset: Int, in segment: UInt32) -> Range<Int> {
        guard let bytes = files[segment]?.seen else { return 0..<0 }
        var start = JournalFormat.headerBytes
        while start + JournalFormat.blockHeaderBytes <= bytes.count {
            let end = (start + JournalFormat.blockHeaderBytes + Int(bytes.span.uint32(at: start + 4)) + 7) & ~7
            if offset < end { return start..<end }
            start = end
        }
        return JournalFormat.headerBytes..<bytes.count
    }

    /// Everything that one stream has written.
    func syncStream(of segment: UInt32) { for other in files.keys where other & 63 == segment & 63 { sync(other) } }
}
