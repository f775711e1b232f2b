import CLinux
import MartletLogging

/// How every bench says its figures.
enum BenchFigures {
    private static let parts = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1)]

    /// `"p50_us":…` to `"max_us":…`; null where nothing was counted.
    static func members(_ latency: LatencyHistogram) -> [String] {
        parts.map { name, part in
            "\"\(name.filter { $0 != "." })_us\":\(latency.microseconds(at: part).map { rounded($0) } ?? "null")"
        }
    }

    static func text(_ latency: LatencyHistogram) -> String {
        parts.map { "\($0) \(rounded(latency.microseconds(at: $1) ?? 0)) µs" }.joined(separator: ", ")
    }

    static func table(_ rows: [(name: String, text: String)]) -> String {
        rows.map { name, text in name + String(repeating: " ", count: 14 - name.count) + text + "\n" }.joined()
    }

    /// To a tenth.
    static func rounded(_ number: Double) -> String { "\((number * 10).rounded() / 10)" }

    /// Whole, with commas.
    static func grouped(_ number: Double) -> String {
        let digits = Array(String(Int64(number.rounded())))
        var text = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text.append(",") }
            text.append(digit)
        }
        return text
    }
}

/// One line on a terminal's stderr, written anew each second.
struct BenchProgress {
    private let isShown: Bool
    private var last: (at: Int64, sent: UInt64, received: UInt64)

    init(isQuiet: Bool) {
        isShown = !isQuiet && StandardStream.error.isTerminal
        last = (cl_monotonic_ns(), 0, 0)
    }

    /// The counts so far. Nothing is written within 0.9 s of the last line.
    mutating func show(sent: UInt64, received: UInt64, errors: UInt64) {
        let now = cl_monotonic_ns()
        guard isShown, now - last.at >= 900_000_000 else { return }
        let seconds = Double(now - last.at) / 1e9
        let rates = [sent &- last.sent, received &- last.received].map { BenchFigures.grouped(Double($0) / seconds) }
        StandardStream.error.write("\r\u{1B}[K" + "sent \(rates[0])/s  received \(rates[1])/s  errors \(errors)")
        last = (now, sent, received)
    }

    func end() { if isShown { StandardStream.error.write("\r\u{1B}[K") } }
}
