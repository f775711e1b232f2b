/// What one loop of a bench of messages has counted.
struct BenchCounts: Sendable {
    var sent: UInt64 = 0
    var acknowledged: UInt64 = 0
    var received: UInt64 = 0
    var errors: UInt64 = 0
    /// The first reason, for the report.
    var failure: String?
    /// That was for want of the server.
    var isUnreachable = false
    var readyCount = 0
    /// On the way to being ready: more of them is progress.
    var stepCount = 0
    var latency = LatencyHistogram()

    mutating func failed(_ reason: String, count: UInt64 = 1, isUnreachable: Bool = false) {
        errors += count
        if failure == nil { self.isUnreachable = isUnreachable }
        failure = failure ?? reason
    }

    mutating func add(_ other: BenchCounts) {
        sent += other.sent
        acknowledged += other.acknowledged
        received += other.received
        errors += other.errors
        if failure == nil { isUnreachable = other.isUnreachable }
        failure = failure ?? other.failure
        readyCount += other.readyCount
        stepCount += other.stepCount
        latency.add(other.latency)
    }
}

/// What a bench of messages has measured: as a table, or as one JSON object.
struct BenchReport: Sendable {
    private let load: BenchLoad
    /// The row of the table that says what was asked for.
    private let text: String
    private let counts: BenchCounts
    private let seconds: Double

    init(_ load: BenchLoad, _ text: String, _ counts: BenchCounts, seconds: Double) {
        self.load = load
        self.text = text
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
        var rows: [(String, String)] = [
            ("load", text),
            ("sent", "\(BenchFigures.grouped(Double(counts.sent))) in \(BenchFigures.rounded(seconds)) s, \(BenchFigures.grouped(sentPerSecond))/s"),
        ]
        if load.isAnswered { rows.append(("acknowledged", BenchFigures.grouped(Double(counts.acknowledged)))) }
        if load.receiverCount > 0 {
            rows.append(("received", "\(BenchFigures.grouped(Double(counts.received))), \(BenchFigures.grouped(receivedPerSecond))/s"))
        }
        if counts.latency.count > 0 { rows.append(("latency", BenchFigures.text(counts.latency))) }
        rows.append(("errors", "\(counts.errors)" + (counts.failure.map { ", the first: \($0)" } ?? "")))
        return BenchFigures.table(rows)
    }
}
