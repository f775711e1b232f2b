/// Metrics as Prometheus reads them: its text format 0.0.4. `begin` a metric, then its samples.
///
/// Invariant: the text is well-formed whatever labels hold. Not here: where numbers come from, and that a name is begun once.
public struct MetricsText: Sendable {
    /// What is sent.
    public private(set) var bytes: [UInt8] = []
    private var name: [UInt8] = []
    private var labels: [[UInt8]] = []

    /// Content-Type.
    public static let contentType: StaticString = "text/plain; version=0.0.4; charset=utf-8"

    public init() {}

    /// Says what a metric is. Names of metrics and labels are the program's, and taken as they are.
    public mutating func begin(_ name: String, _ kind: MetricKind, _ meaning: String, labels: [String] = []) {
        self.name = Array(name.utf8)
        self.labels = labels.map { Array($0.utf8) }
        append("# HELP ", name, " ")
        appendEscaped(meaning, quotes: false)
        append("\n# TYPE ", name, " ", kind.rawValue, "\n")
    }

    /// A number of the metric that was begun; `values`: of its labels, in their order.
    public mutating func sample(_ value: UInt64, _ values: String...) {
        appendName("", values, nil)
        append(" ", String(value), "\n")
    }

    public mutating func sample(fraction value: Double, _ values: String...) {
        appendName("", values, nil)
        append(" ", Self.text(value), "\n")
    }

    /// A histogram's numbers. `bounds`: in its unit, growing; `counts`: how many were at most as large as each bound but larger than the one before, and at
    /// last those above all.
    public mutating func histogram(bounds: [Double], counts: [UInt64], sum: Double, _ values: String...) {
        var total: UInt64 = 0
        for (index, count) in counts.enumerated() {
            total += count
            appendName("_bucket", values, index < bounds.count ? Self.text(bounds[index]) : "+Inf")
            append(" ", String(total), "\n")
        }
        appendName("_sum", values, nil)
        append(" ", Self.text(sum), "\n")
        appendName("_count", values, nil)
        append(" ", String(total), "\n")
    }

    private mutating func append(_ texts: String...) { for text in texts { bytes += text.utf8 } }

    private mutating func appendName(_ suffix: String, _ values: [String], _ bound: String?) {
        precondition(values.count == labels.count, "a value for each label")
        bytes += name
        bytes += suffix.utf8
        guard !values.isEmpty || bound != nil else { return }
        var mark = "{"
        for (label, value) in zip(labels, values) {
            append(mark)
            bytes += label
            append("=\"")
            appendEscaped(value, quotes: true)
            append("\"")
            mark = ","
        }
        if let bound { append(mark, "le=\"", bound, "\"") }
        append("}")
    }

    private mutating func appendEscaped(_ text: String, quotes: Bool) {
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append("\\\\")
            case UInt8(ascii: "\n"): append("\\n")
            case UInt8(ascii: "\"") where quotes: append("\\\"")
            default: bytes.append(byte)
            }
        }
    }

    /// As Go reads it, without a fraction where there is none.
    private static func text(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        let text = "\(value)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }
}

/// What a metric's numbers do.
public enum MetricKind: String, Sendable {
    /// They grow, but for a restart; the name ends in `_total`.
    case counter
    /// They go up and down.
    case gauge
    /// How often something took how long.
    case histogram
}
