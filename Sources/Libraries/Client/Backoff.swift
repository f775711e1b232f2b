/// Waits between attempts to connect.
public enum Backoff {
    /// Before attempt number `attempt`, 1 for the first: `least`, doubled with each, at most `most`. `jitter`, 0...1, is the part that
    /// `chance`, 0..<1, may take off.
    public static func delay(before attempt: Int, from least: Duration, to most: Duration, jitter: Double, chance: Double) -> Duration {
        let doubled = least * (1 << Int64(min(max(attempt, 1) - 1, 30)))
        return min(doubled, most) * (1 - min(max(jitter, 0), 1) * chance)
    }
}
