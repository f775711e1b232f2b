/// A moment on the monotonic clock, in nanoseconds since an arbitrary start: 8 bytes, read once a tick.
///
/// Invariant: comparable only with instants of the same clock (one loop, or one simulation).
/// Not here: wall-clock time (`WallTime`), and reading a clock, which is IO's.
public struct Instant: Comparable, Hashable, Sendable, BitwiseCopyable {
    public var nanoseconds: Int64

    @inlinable public init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    /// Later than every other instant: "no deadline".
    @inlinable public static var never: Instant { Instant(nanoseconds: .max) }

    @inlinable public static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }

    /// Saturates at `never`, so that a far deadline never wraps into the past.
    @inlinable public static func + (a: Instant, b: Duration) -> Instant {
        let (seconds, attoseconds) = b.components
        let (scaled, over) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, overSum) = a.nanoseconds.addingReportingOverflow(scaled &+ attoseconds / 1_000_000_000)
        return over || overSum ? .never : Instant(nanoseconds: sum)
    }

    @inlinable public static func - (a: Instant, b: Instant) -> Duration { .nanoseconds(a.nanoseconds &- b.nanoseconds) }

    /// The same moment, `seconds` later; for the hot path, without `Duration`'s 128-bit arithmetic.
    @inlinable public func advanced(bySeconds seconds: Int) -> Instant {
        self == .never ? .never : Instant(nanoseconds: nanoseconds &+ Int64(seconds) &* 1_000_000_000)
    }
}

/// A moment on the wall clock, in milliseconds since 1970: what survives a restart (expiry).
public struct WallTime: Comparable, Hashable, Sendable, BitwiseCopyable {
    public var milliseconds: Int64

    @inlinable public init(milliseconds: Int64) { self.milliseconds = milliseconds }
    @inlinable public static var never: WallTime { WallTime(milliseconds: .max) }
    @inlinable public func advanced(bySeconds seconds: Int) -> WallTime { WallTime(milliseconds: milliseconds &+ Int64(seconds) &* 1000) }
    @inlinable public static func < (a: WallTime, b: WallTime) -> Bool { a.milliseconds < b.milliseconds }
}
