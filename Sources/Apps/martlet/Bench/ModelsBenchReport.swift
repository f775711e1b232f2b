import MartletSockets

/// What was measured: as a table, or as one JSON object.
struct ModelsBenchReport {
    private let options: ModelsBenchOptions
    private let cells: [ModelsBenchCell]

    init(_ options: ModelsBenchOptions, _ cells: [ModelsBenchCell]) {
        self.options = options
        self.cells = cells
    }

    var table: String {
        let head = [
            "clients", "model", "talking", "served", "requests/s", "p50", "p99", "CPU/request", "idle CPU", "threads", "memory", "switches/s", "descriptors",
        ]
        var rows = [head], last = 0
        for cell in cells {
            if last != 0, cell.clientCount != last { rows.append([]) }
            rows.append([
                BenchFigures.grouped(Double(cell.clientCount)), cell.model.rawValue, BenchFigures.grouped(Double(cell.busyCount)),
                BenchFigures.grouped(Double(cell.served)),
                BenchFigures.grouped(cell.requestsPerSecond), Self.time(cell.p50), Self.time(cell.p99), Self.time(cell.processorMicrosecondsPerRequest),
                "\(Int((100 * cell.idleProcessorShare).rounded())) %", BenchFigures.grouped(Double(cell.threadCount)),
                "\(BenchFigures.rounded(cell.residentMiB)) MiB", BenchFigures.grouped(cell.contextSwitchesPerSecond),
                BenchFigures.grouped(Double(cell.descriptorCount)),
            ])
            last = cell.clientCount
        }
        let widths = head.indices.map { column in rows.filter { !$0.isEmpty }.map { $0[column].count }.max() ?? 0 }
        let lines = rows.map { row in
            row.enumerated().map { column, text in
                let gap = String(repeating: " ", count: widths[column] - text.count)
                return column == 1 ? text + gap : gap + text
            }.joined(separator: "  ") + "\n"
        }
        let remarks = cells.compactMap { cell in
            cell.remark.map { "\(cell.model.rawValue), \(BenchFigures.grouped(Double(cell.clientCount))) clients: \($0)\n" }
        }
        return lines.joined() + (remarks.isEmpty ? "" : "\n") + remarks.joined()
    }

    /// Microseconds in a unit that fits.
    private static func time(_ microseconds: Double?) -> String {
        guard let microseconds else { return "-" }
        if microseconds < 1_000 { return "\(BenchFigures.rounded(microseconds)) µs" }
        if microseconds < 1_000_000 { return "\(BenchFigures.rounded(microseconds / 1_000)) ms" }
        return "\(BenchFigures.rounded(microseconds / 1_000_000)) s"
    }

    var json: String {
        let items = cells.map { cell in
            let members = [
                "\"model\":\"\(cell.model.rawValue)\"", "\"clients\":\(cell.clientCount)", "\"talking\":\(cell.busyCount)", "\"connected\":\(cell.connected)",
                "\"served\":\(cell.served)",
                "\"requests\":\(cell.requests)", "\"seconds\":\(cell.seconds)", "\"requests_per_s\":\(BenchFigures.rounded(cell.requestsPerSecond))",
                "\"p50_us\":\(Self.number(cell.p50))", "\"p99_us\":\(Self.number(cell.p99))",
                "\"cpu_us_per_request\":\(Self.number(cell.processorMicrosecondsPerRequest))",
                "\"idle_cpu_share\":\((cell.idleProcessorShare * 1_000).rounded() / 1_000)", "\"threads\":\(cell.threadCount)",
                "\"rss_bytes\":\(cell.residentSize)", "\"context_switches_per_s\":\(BenchFigures.rounded(cell.contextSwitchesPerSecond))",
                "\"descriptors\":\(cell.descriptorCount)", "\"remark\":\(cell.remark.map { "\"\(Self.escaped($0))\"" } ?? "null")",
            ]
            return "{\(members.joined(separator: ","))}"
        }
        return "{\"size\":\(options.size),\"duration_s\":\(options.seconds),\"cells\":[\(items.joined(separator: ",\n"))]}\n"
    }

    private static func number(_ number: Double?) -> String { number.map { "\(($0 * 100).rounded() / 100)" } ?? "null" }

    private static func escaped(_ text: String) -> String {
        text.flatMap { $0 == "\"" || $0 == "\\" ? ["\\", $0] : $0.isNewline ? [" "] : [$0] }.map(String.init).joined()
    }
}
