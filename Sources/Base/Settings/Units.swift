/// Sizes and durations as people write them. Both refuse what does not fit into 63 bits.
public enum ByteSize {
    private static let units: [(name: String, bytes: Int)] = [
        ("GiB", 1 << 30), ("GB", 1_000_000_000), ("MiB", 1 << 20), ("MB", 1_000_000), ("KiB", 1 << 10), ("KB", 1000), ("kB", 1000), ("B", 1), ("", 1),
    ]

    public static func parse(_ text: String) -> Int? {
        guard let (number, unit) = split(text), let bytes = units.first(where: { $0.name == unit })?.bytes else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: bytes)
        return overflow ? nil : product
    }

    /// The largest unit that divides it.
    public static func text(_ bytes: Int) -> String {
        guard bytes != 0 else { return "0B" }
        let unit = units.first { ["GiB", "MiB", "KiB"].contains($0.name) && bytes.isMultiple(of: $0.bytes) } ?? ("B", 1)
        return "\(bytes / unit.bytes)\(unit.name)"
    }
}

/// A whole number with `d`, `h`, `m`, `s` or `ms`.
public enum DurationText {
    private static let units: [(name: String, milliseconds: Int)] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)]

    public static func parse(_ text: String) -> Duration? {
        guard let (number, unit) = split(text), let factor = units.first(where: { $0.name == unit })?.milliseconds else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : .milliseconds(product)
    }

    /// The largest unit that divides it.
    public static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = Int(seconds) * 1000 + Int(attoseconds / 1_000_000_000_000_000)
        guard milliseconds != 0 else { return "0s" }
        let unit = units.first { milliseconds.isMultiple(of: $0.milliseconds) } ?? ("ms", 1)
        return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }
}

private func split(_ text: String) -> (number: Int, unit: String)? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let number = Int(digits) else { return nil }
    var unit = text.dropFirst(digits.count)
    if unit.first == " " { unit = unit.dropFirst() }
    return (number, String(unit))
}
