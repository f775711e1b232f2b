import MartletBytes

/// A deadline in the heap; it counts only while its slot still has that generation.
struct Timer: Comparable {
    var at: Instant
    var slot: UInt32
    var generation: UInt32
    static func < (a: Timer, b: Timer) -> Bool { a.at < b.at }
}
