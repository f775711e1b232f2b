import Glibc
import MartletSockets

/// The plot of `martlet bench models`: four panels over the number of clients, both axes logarithmic, as SVG without a script.
///
/// It has no background: text and lines follow the reader's light or dark scheme. The models differ in colour and in mark.
struct ModelsPlot {
    private let cells: [ModelsBenchCell]
    private let models: [ServerModel]
    private let clientCounts: [Int]
    private let options: ModelsBenchOptions

    private static let width = 972.0, height = 700.0
    private static let panelWidth = 392.0, panelHeight = 218.0

    init(_ cells: [ModelsBenchCell], _ options: ModelsBenchOptions) {
        self.cells = cells
        self.options = options
        models = ServerModel.allCases.filter { model in cells.contains { $0.model == model } }
        clientCounts = Set(cells.map(\.clientCount)).sorted()
    }

    var svg: String {
        let panels: [Panel] = [
            Panel(title: "Requests a second", unit: .count) { $0.requests > 0 ? $0.requestsPerSecond : nil },
            Panel(title: "Latency, 99th percentile", unit: .microseconds) { $0.p99 },
            Panel(title: "Processor time of the server, for each request", unit: .microseconds) { $0.processorMicrosecondsPerRequest },
            Panel(title: "Resident memory of the server", unit: .mebibytes) { $0.residentSize > 0 ? $0.residentMiB : nil },
        ]
        var text = """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Int(Self.width)) \(Int(Self.height))" font-family="system-ui, sans-serif" font-size="13">
            <title>Four I/O models compared: requests a second, latency, processor time and memory against clients</title>
            <style>
            text { fill: #3d444d } .quiet { fill: #6e7781 } .grid { stroke: #8b949e; stroke-opacity: .28 } .axis { stroke: #8b949e }
            .blocking { stroke: #cf5f0a; fill: #cf5f0a } .polling { stroke: #a8479f; fill: #a8479f } .threads { stroke: #1f77c9; fill: #1f77c9 }
            .loop { stroke: #1a8f5a; fill: #1a8f5a } polyline { fill: none !important; stroke-width: 2.2; stroke-linejoin: round }
            @media (prefers-color-scheme: dark) { text { fill: #d1d7de } .quiet { fill: #9aa4af }
            .blocking { stroke: #f08c3d; fill: #f08c3d } .polling { stroke: #d583cd; fill: #d583cd } .threads { stroke: #5aa9f2; fill: #5aa9f2 }
            .loop { stroke: #3fc48a; fill: #3fc48a } }
            </style>

            """
        text += legend
        for (index, panel) in panels.enumerated() {
            text += draw(panel, left: 76 + Double(index % 2) * (Self.panelWidth + 88), top: 92 + Double(index / 2) * (Self.panelHeight + 78))
        }
        let talking =
            clientCounts.last ?? 0 > options.busyMax
            ? "\(options.busyMax) of the clients talk (all, where there are fewer), the others are connected and silent: each"
            : "Every client"
        let note = "\(talking) sends \(options.size) bytes and waits for the echo."
        for (line, words) in [note, "Blocking answers one client; the others wait. All axes are logarithmic."].enumerated() {
            text += "<text class=\"quiet\" x=\"76\" y=\"\(Int(Self.height) - 30 + 18 * line)\" font-size=\"12\">\(words)</text>\n"
        }
        return text + "</svg>\n"
    }

    private var legend: String {
        let names: [ServerModel: String] = [
            .blocking: "blocking, one client after another", .polling: "polling", .threads: "a thread for each client", .loop: "event loop",
        ]
        var x = 76.0, text = ""
        for model in models {
            let name = names[model] ?? model.rawValue
            text += "<polyline class=\"\(model.rawValue)\" points=\"\(x),32 \(x + 30),32\"/>\(mark(model, x + 15, 32))"
            text += "<text x=\"\(x + 38)\" y=\"36.5\">\(name)</text>\n"
            x += 38 + 6.6 * Double(name.count) + 24
        }
        return text
    }

    // MARK: A panel

    private struct Panel {
        enum Unit { case count, microseconds, mebibytes }
        let title: String
        let unit: Unit
        /// nil: not measured.
        let value: (ModelsBenchCell) -> Double?
    }

    private func draw(_ panel: Panel, left: Double, top: Double) -> String {
        let values = cells.compactMap(panel.value)
        let scale = Scale(values)
        let bottom = top + Self.panelHeight, right = left + Self.panelWidth
        let firstCount = log10(Double(clientCounts.first ?? 1)), lastCount = log10(Double(clientCounts.last ?? 1))
        func x(_ count: Int) -> Double {
            lastCount > firstCount ? left + 14 + (log10(Double(count)) - firstCount) / (lastCount - firstCount) * (Self.panelWidth - 28) : (left + right) / 2
        }
        func y(_ value: Double) -> Double { bottom - scale.part(value) * Self.panelHeight }
        var text = "<text x=\"\(left)\" y=\"\(top - 14)\" font-weight=\"600\">\(panel.title)</text>\n"
        for tick in scale.ticks {
            text += "<line class=\"grid\" x1=\"\(left)\" x2=\"\(right)\" y1=\"\(Self.short(y(tick)))\" y2=\"\(Self.short(y(tick)))\"/>"
            text +=
                "<text class=\"quiet\" x=\"\(left - 8)\" y=\"\(Self.short(y(tick) + 4))\" text-anchor=\"end\" font-size=\"12\">\(Self.label(tick, panel.unit))</text>\n"
        }
        text += "<line class=\"axis\" x1=\"\(left)\" x2=\"\(right)\" y1=\"\(bottom)\" y2=\"\(bottom)\"/>\n"
        for count in clientCounts {
            let place = Self.short(x(count))
            text += "<line class=\"axis\" x1=\"\(place)\" x2=\"\(place)\" y1=\"\(bottom)\" y2=\"\(bottom + 5)\"/>"
            text +=
                "<text class=\"quiet\" x=\"\(place)\" y=\"\(bottom + 20)\" text-anchor=\"middle\" font-size=\"12\">\(BenchFigures.grouped(Double(count)))</text>\n"
        }
        text += "<text class=\"quiet\" x=\"\(right)\" y=\"\(bottom + 36)\" text-anchor=\"end\" font-size=\"12\">clients</text>\n"
        for model in models {
            let points = cells.filter { $0.model == model }.sorted { $0.clientCount < $1.clientCount }.compactMap { cell in
                panel.value(cell).map { (x: x(cell.clientCount), y: y($0)) }
            }
            text += "<polyline class=\"\(model.rawValue)\" points=\"\(points.map { "\(Self.short($0.x)),\(Self.short($0.y))" }.joined(separator: " "))\"/>"
            text += points.map { mark(model, $0.x, $0.y) }.joined() + "\n"
        }
        return text
    }

    /// A shape of its own for each model.
    private func mark(_ model: ServerModel, _ x: Double, _ y: Double) -> String {
        let (x, y) = (Self.short(x), Self.short(y))
        let shape =
            switch model {
            case .blocking: "<rect x=\"-4\" y=\"-4\" width=\"8\" height=\"8\"/>"
            case .polling: "<path d=\"M0-5.4 5 4-5 4z\"/>"
            case .threads: "<path d=\"M0-5.6 5.6 0 0 5.6-5.6 0z\"/>"
            case .loop: "<circle r=\"4.4\"/>"
            }
        return "<g class=\"\(model.rawValue)\" transform=\"translate(\(x) \(y))\">\(shape)</g>"
    }

    private static func short(_ number: Double) -> String { "\((number * 10).rounded() / 10)" }

    private static func label(_ value: Double, _ unit: Panel.Unit) -> String {
        func plain(_ value: Double) -> String { value == value.rounded() ? "\(Int(value))" : "\(value)" }
        switch unit {
        case .count: return value >= 1e6 ? "\(plain(value / 1e6)) M" : value >= 1e3 ? "\(plain(value / 1e3)) k" : plain(value)
        case .microseconds: return value >= 1e6 ? "\(plain(value / 1e6)) s" : value >= 1e3 ? "\(plain(value / 1e3)) ms" : "\(plain(value)) µs"
        case .mebibytes: return value >= 1024 ? "\(plain(value / 1000)) GB" : "\(plain(value)) MiB"
        }
    }

    /// A logarithmic axis from one of 1, 2, 5, 10, … to another, around the values.
    private struct Scale {
        let ticks: [Double]
        private let low: Double, high: Double

        init(_ values: [Double]) {
            let least = values.min() ?? 1, most = values.max() ?? 10
            let steps = (-4...9).flatMap { power in [1.0, 2, 5].map { $0 * pow(10, Double(power)) } }
            let first = steps.last { $0 <= least } ?? steps[0], last = steps.first { $0 >= most && $0 > first } ?? steps[steps.count - 1]
            (low, high) = (log10(first), log10(last))
            let between = steps.filter { $0 >= first && $0 <= last }
            // Over more than two decades their beginnings are enough.
            ticks = last / first > 200 ? between.filter { log10($0).rounded() == log10($0) } : between
        }

        /// 0 at the bottom, 1 at the top.
        func part(_ value: Double) -> Double { (log10(value) - low) / (high - low) }
    }
}
