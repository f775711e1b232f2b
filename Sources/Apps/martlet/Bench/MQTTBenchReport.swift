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
        let members =
            [
                "\"sent\":\(counts.sent)", "\"received\":\(counts.received)", "\"acknowledged\":\(counts.acknowledged)",
                "\"seconds\":\(BenchFigures.rounded(seconds))",
                "\"sent_per_s\":\(BenchFigures.rounded(sentPerSecond))", "\"recv_per_s\":\(BenchFigures.rounded(receivedPerSecond))",
            ] + BenchFigures.members(counts.latency) + ["\"errors\":\(counts.errors)"]
        return "{\(members.joined(separator: ","))}\n"
    }

    var table: String {
        let topics = "\(options.topicCount) topic\(options.topicCount == 1 ? "" : "s")"
        var load = "\(options.publisherCount) to \(options.subscriberCount), \(topics), QoS \(options.qos), \(options.payloadSize) bytes"
        if let rate = options.rate { load += ", \(BenchFigures.grouped(rate))/s" }
        if options.qos > 0 { load += ", window \(options.window)" }
        var rows: [(String, String)] = [
            ("load", load),
            ("sent", "\(BenchFigures.grouped(Double(counts.sent))) in \(BenchFigures.rounded(seconds)) s, \(BenchFigures.grouped(sentPerSecond))/s"),
        ]
        if options.qos > 0 { rows.append(("acknowledged", BenchFigures.grouped(Double(counts.acknowledged)))) }
        if options.subscriberCount > 0 {
            rows.append(("received", "\(BenchFigures.grouped(Double(counts.received))), \(BenchFigures.grouped(receivedPerSecond))/s"))
        }
        if counts.latency.count > 0 { rows.append(("latency", BenchFigures.text(counts.latency))) }
        rows.append(("errors", "\(counts.errors)" + (counts.failure.map { ", the first: \($0)" } ?? "")))
        return BenchFigures.table(rows)
    }
}
