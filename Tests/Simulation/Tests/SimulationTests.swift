import MartletBytes
import MartletJournal
import MartletSimulation
import Testing

/// What follows from a seed, and seeds that must hold. One that failed: `make sim SEED=n`, with what happened: ARGS=--trace.
@Suite struct SimulationTests {
    @Test("the same seed is the same run, bit for bit", arguments: 0..<4 as Range<UInt64>) func repeats(seed: UInt64) {
        let first = Simulation(seed: seed), second = Simulation(seed: seed)
        _ = (first.run(), second.run())
        #expect(first.trace.hash == second.trace.hash)
        #expect(Simulation(seed: seed + 1).trace.hash != first.trace.hash)
    }

    @Test("connections break at any byte, and the disk is late", arguments: 0..<4 as Range<UInt64>) func network(part: UInt64) {
        for seed in part * 20..<(part + 1) * 20 { #expect(Simulation(seed: seed, crashes: false).run() == [], "make sim SEED=\(seed)") }
    }

    /// Of seeds 1, 6, 11 and 16 of each twenty: bits that change, syncs now and then, none, orderly stops.
    @Test("the process ends, the power goes, the disk is full, syncs fail: on one, two and four shards", arguments: 0..<6 as Range<UInt64>)
    func crashes(part: UInt64) {
        for seed in part * 6..<(part + 1) * 6 { #expect(Simulation(seed: seed).run() == [], "make sim SEED=\(seed)") }
    }

    /// Routes of two ages, clients that have forgotten what they had, journals in memory that keep nothing.
    @Test(
        "what failed once holds: clients, routes, journals in memory",
        arguments: [945, 1217, 1558, 1636, 2463, 2464, 2987, 3642, 5003, 5206, 6787, 7382, 7882, 20071] as [UInt64]) func found(seed: UInt64)
    {
        #expect(Simulation(seed: seed).run() == [], "make sim SEED=\(seed)")
    }

    /// In this order: what a queue's end on its way to the disk leaves, a last block with bits changed in its mark and elsewhere, a damaged header of
    /// a stream that is no more, a message that was refused before v5, once while effects are carried out, what a restart itself has ended.
    @Test("what failed once holds: restarts, damage", arguments: [3111, 8991, 2341, 12_401, 16_241, 15_841, 6939, 15_869, 12_039, 18_284] as [UInt64])
    func failedOnce(seed: UInt64) { #expect(Simulation(seed: seed).run() == [], "make sim SEED=\(seed)") }

    @Test("of bits that change some cost something, and recovery says so") func rot() {
        let isDamaged = stride(from: 1, to: 200, by: 20).map { (seed: UInt64) in
            let simulation = Simulation(seed: seed)
            #expect(simulation.run() == [], "make sim SEED=\(seed)")
            return simulation.trace.isDamaged
        }
        #expect(isDamaged.contains(true) && isDamaged.contains(false))
    }
}

@Suite struct SimulatedDiskTests {
    private static let segment: UInt32 = 1 << 6

    private static func made() -> SimulatedDisk {
        let disk = SimulatedDisk(seed: 1, segmentBytes: 8192)
        _ = disk.perform(.prepare(segment: segment), run: 1)
        return disk
    }

    /// A write of bytes with this value at 1024, as a block of that length would be.
    private static func write(_ value: UInt8, _ disk: SimulatedDisk, isSynced: Bool) {
        var bytes = ByteBuffer()
        bytes.append(0 as UInt32)
        bytes.append(UInt32(4096 - 28))
        for _ in 0..<4096 - 8 { bytes.append(value) }
        _ = disk.perform(.write(segment: segment, offset: 1024, bytes: bytes, sync: isSynced), run: 1)
    }

    private static func sectors(of disk: SimulatedDisk, with value: UInt8) -> Int {
        var bytes = ByteBuffer()
        #expect(throws: Never.self) { try disk.read(segment, offset: 1024, count: 4096, into: &bytes) }
        return (0..<8).count { bytes.span[$0 * 512 + 100] == value }
    }

    @Test("what was synced survives a loss of power, what was written the end of the process") func synced() {
        let disk = Self.made()
        Self.write(7, disk, isSynced: true)
        disk.losePower()
        #expect(Self.sectors(of: disk, with: 7) == 8)
        Self.write(9, disk, isSynced: false)
        #expect(Self.sectors(of: disk, with: 9) == 8)
    }

    @Test("what was not synced may be there in part") func torn() {
        var seen: Set<Int> = []
        let disk = Self.made()
        for value in 1..<100 as Range<UInt8> {
            Self.write(value, disk, isSynced: false)
            disk.losePower()
            seen.insert(Self.sectors(of: disk, with: value))
        }
        #expect(seen.contains(0) && seen.contains(8) && seen.count > 4)
    }

    @Test("a full disk takes what lies in a file that is there, and no more") func full() {
        let disk = Self.made()
        disk.isFull = true
        Self.write(3, disk, isSynced: true)
        #expect(Self.sectors(of: disk, with: 3) == 8)
        guard case .failed(let failure, _)? = disk.perform(.prepare(segment: 2 << 6), run: 1) else {
            Issue.record("there was room")
            return
        }
        #expect(failure.isNoSpace)
    }
}
