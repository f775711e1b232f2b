/// What the connections of an echo bench have counted.
struct EchoBenchCounts: Sendable {
    var sent: UInt64 = 0
    var received: UInt64 = 0
    /// Given up: no answer came.
    var lost: UInt64 = 0
    var errors: UInt64 = 0
    /// The first reason, for the report.
    var failure: String?
    /// That was for want of the peer.
    var isUnreachable = false
    /// What TLS has agreed on with the first connection.
    var security: String?
    /// Since the start, also before the measuring.
    var sentInAll: UInt64 = 0
    var receivedInAll: UInt64 = 0
    var readyCount = 0
    /// HTTP: answers by the first digit of their status, and bytes of their content.
    var statuses: [6 of UInt64] = .init(repeating: 0)
    var bytes: UInt64 = 0
    var latency = LatencyHistogram()

    mutating func failed(_ reason: String, isUnreachable: Bool = false) {
        errors += 1
        if failure == nil { self.isUnreachable = isUnreachable }
        failure = failure ?? reason
    }

    mutating func add(_ other: EchoBenchCounts) {
        sent += other.sent
        received += other.received
        lost += other.lost
        errors += other.errors
        if failure == nil { isUnreachable = other.isUnreachable }
        failure = failure ?? other.failure
        security = security ?? other.security
        sentInAll += other.sentInAll
        receivedInAll += other.receivedInAll
        readyCount += other.readyCount
        for digit in statuses.indices { statuses[digit] += other.statuses[digit] }
        bytes += other.bytes
        latency.add(other.latency)
    }

    /// Counting begins anew.
    mutating func startMeasuring() {
        sent = 0
        received = 0
        statuses = .init(repeating: 0)
        bytes = 0
        latency = LatencyHistogram()
    }
}

/// What was measured: as a table, or as one JSON object.
struct EchoBenchReport: Sendable {
    private let options: EchoBenchOptions
    private let counts: EchoBenchCounts
    private let seconds: Double

    init(_ options: EchoBenchOptions, _ counts: EchoBenchCounts, seconds: Double) {
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
                "\"sent\":\(counts.sent)", "\"received\":\(counts.received)", "\"seconds\":\(BenchFigures.rounded(seconds))",
                "\"sent_per_s\":\(BenchFigures.rounded(sentPerSecond))", "\"recv_per_s\":\(BenchFigures.rounded(receivedPerSecond))",
            ] + BenchFigures.members(counts.latency) + (isHTTP ? httpMembers : ["\"lost\":\(counts.lost)"]) + ["\"errors\":\(counts.errors)"]
        return "{\(members.joined(separator: ","))}\n"
    }

    private var isHTTP: Bool { options.transport == "http" }

    private var httpMembers: [String] {
        let statuses = (1...5).map { "\"\($0)xx\":\(counts.statuses[$0])" }
        return ["\"bytes\":\(counts.bytes)", "\"statuses\":{\(statuses.joined(separator: ","))}"]
    }

    private var httpRow: (String, String) {
        let statuses = (1...5).filter { counts.statuses[$0] > 0 }.map { "\($0)xx \(BenchFigures.grouped(Double(counts.statuses[$0])))" }
        return ("answers", (statuses + ["\(BenchFigures.grouped(Double(counts.bytes))) bytes of content"]).joined(separator: ", "))
    }

    var table: String {
        var load = "\(options.connectionCount) connection\(options.connectionCount == 1 ? "" : "s"), \(options.depth) in flight on each, \(options.text)"
        if let rate = options.rate { load += ", \(BenchFigures.grouped(rate))/s" }
        let seconds = BenchFigures.rounded(seconds)
        var rows: [(String, String)] = [("load", load)]
        if let security = counts.security { rows.append(("security", security)) }
        rows.append(("sent", "\(BenchFigures.grouped(Double(counts.sent))) in \(seconds) s, \(BenchFigures.grouped(sentPerSecond))/s"))
        rows.append(("received", "\(BenchFigures.grouped(Double(counts.received))), \(BenchFigures.grouped(receivedPerSecond))/s"))
        if counts.latency.count > 0 { rows.append(("latency", BenchFigures.text(counts.latency))) }
        rows.append(isHTTP ? httpRow : ("lost", BenchFigures.grouped(Double(counts.lost))))
        rows.append(("errors", "\(counts.errors)" + (counts.failure.map { ", the first: \($0)" } ?? "")))
        return BenchFigures.table(rows)
    }
}
