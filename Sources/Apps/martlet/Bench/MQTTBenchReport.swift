/// What was measured: as a table, or as one JSON object.
struct MQTTBenchReport: Sendable {
    private let options: MQTTBenchOptions
    private let counts: MQTTBenchCounts
    private let seconds: Double

    init(_ options: MQTTBenchOptions, _ counts: MQTTBenchCounts, seconds: Double) {
        self.options = options
        self.counts = counts
        self.seconds = max(seconds, 1e-9)
    }

    var errors: UInt64 { counts.errors }
    private var sentPerSecond: Double { Double(counts.sent) / seconds }
    private var receivedPerSecond: Double { Double(counts.received) / seconds }

    var json: String {
        let percentiles = [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1)].map { name, part in
            "\"\(name)\":\(counts.latency.microseconds(at: part).map { Self.rounded($0) } ?? "null")"
        }
        let members =
            [
                "\"sent\":\(counts.sent)", "\"received\":\(counts.received)", "\"acknowledged\":\(counts.acknowledged)", "\"seconds\":\(Self.rounded(seconds))",
                "\"sent_per_s\":\(Self.rounded(sentPerSecond))", "\"recv_per_s\":\(Self.rounded(receivedPerSecond))",
            ] + percentiles + ["\"errors\":\(counts.errors)"]
        return "{\(members.joined(separator: ","))}\n"
    }

    var table: String {
        let topics = "\(options.topicCount) topic\(options.topicCount == 1 ? "" : "s")"
        var load = "\(options.publisherCount) to \(options.subscriberCount), \(topics), QoS \(options.qos), \(options.payloadSize) bytes"
        if let rate = options.rate { load += ", \(Self.grouped(rate))/s" }
        if options.qos > 0 { load += ", window \(options.window)" }
        var rows: [(String, String)] = [
            ("load", load), ("sent", "\(Self.grouped(Double(counts.sent))) in \(Self.rounded(seconds)) s, \(Self.grouped(sentPerSecond))/s"),
        ]
        if options.qos > 0 { rows.append(("acknowledged", Self.grouped(Double(counts.acknowledged)))) }
        if options.subscriberCount > 0 { rows.append(("received", "\(Self.grouped(Double(counts.received))), \(Self.grouped(receivedPerSecond))/s")) }
        if counts.latency.count > 0 {
            let parts = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1)]
            rows.append(("latency", parts.map { "\($0) \(Self.rounded(counts.latency.microseconds(at: $1) ?? 0)) µs" }.joined(separator: ", ")))
        }
        rows.append(("errors", "\(counts.errors)" + (counts.failure.map { ", the first: \($0)" } ?? "")))
        return rows.map { name, text in name + String(repeating: " ", count: 14 - name.count) + text + "\n" }.joined()
    }

    /// To a tenth.
    private static func rounded(_ number: Double) -> String { "\((number * 10).rounded() / 10)" }

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
