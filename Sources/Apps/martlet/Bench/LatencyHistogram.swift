/// Latencies in buckets that grow with them: each within 1.6 % of what it counts, from nanoseconds to hours, in 30 KiB.
struct LatencyHistogram: Sendable {
    private static let steps = 64
    private var buckets = [UInt64](repeating: 0, count: 59 * 64)
    private(set) var count: UInt64 = 0

    /// Without memory: nothing can be added.
    static let none = LatencyHistogram(buckets: [])

    init() {}
    private init(buckets: [UInt64]) { self.buckets = buckets }

    mutating func add(nanoseconds: Int64) {
        let value = UInt64(max(0, nanoseconds))
        buckets[Self.index(value)] &+= 1
        count &+= 1
    }

    mutating func add(_ other: LatencyHistogram) {
        for index in buckets.indices { buckets[index] &+= other.buckets[index] }
        count &+= other.count
    }

    /// `part` 0...1; `nil` when nothing was counted.
    func microseconds(at part: Double) -> Double? {
        guard count > 0 else { return nil }
        let rank = min(count, max(1, UInt64((part * Double(count)).rounded(.up))))
        var seen: UInt64 = 0
        for index in buckets.indices {
            seen &+= buckets[index]
            if seen >= rank { return Double(Self.middle(index)) / 1_000 }
        }
        return nil
    }

    private static func index(_ value: UInt64) -> Int {
        guard value >= UInt64(steps) else { return Int(value) }
        let shift = 58 - value.leadingZeroBitCount - 1
        return (shift + 1) * steps + Int(value >> UInt64(shift)) - steps
    }

    private static func middle(_ index: Int) -> UInt64 {
        guard index >= steps else { return UInt64(index) }
        let shift = UInt64(index / steps - 1)
        return (UInt64(index % steps + steps) << shift) + (1 << shift) / 2
    }
}
