import MartletLogging

/// What the commands of `martlet ctl` print.
enum CtlOutput {
    static func write(_ value: JSONValue) {
        var output: [UInt8] = []
        value.append(to: &output)
        output.append(UInt8(ascii: "\n"))
        StandardStream.output.write(output.span)
    }

    /// Columns as wide as they need to be, the first to the left and the others to the right.
    static func table(_ rows: [[String]]) -> String {
        var widths: [Int] = []
        for row in rows {
            for (column, text) in row.enumerated() {
                if column == widths.count { widths.append(0) }
                widths[column] = max(widths[column], text.count)
            }
        }
        return rows.map { row in
            row.enumerated().map { column, text in
                let blanks = String(repeating: " ", count: widths[column] - text.count)
                return column == 0 ? text + (row.count > 1 ? blanks : "") : blanks + text
            }.joined(separator: "  ") + "\n"
        }.joined()
    }

    /// "512 B", "1.5 KiB", "12.0 GiB".
    static func size(_ bytes: Int) -> String {
        if bytes < 1024 { return "\(bytes) B" }
        var tenths = bytes * 10 / 1024, units = ["KiB", "MiB", "GiB"][...]
        while tenths >= 10_240, units.count > 1 {
            tenths /= 1024
            units.removeFirst()
        }
        return "\(tenths / 10).\(tenths % 10) \(units.first ?? "")"
    }

    /// "1,234,567".
    static func count(_ number: Int) -> String {
        let digits = String(number)
        return digits.enumerated().map { ($0.offset > 0 && (digits.count - $0.offset).isMultiple(of: 3) ? "," : "") + String($0.element) }.joined()
    }
}

/// How far something is that takes long: a line on stderr that is written over, on a terminal alone.
final class CtlProgress {
    private let name: String
    private let isShown = StandardStream.error.isTerminal
    private var next = ContinuousClock.now + .milliseconds(500)
    private var isDrawn = false

    init(_ name: String) { self.name = name }

    func show(_ done: Int, of all: Int) {
        guard isShown, ContinuousClock.now >= next else { return }
        next = ContinuousClock.now + .milliseconds(200)
        isDrawn = true
        StandardStream.error.write("\r\(name): \(CtlOutput.size(done)) of \(CtlOutput.size(all)), \(all > 0 ? done * 100 / all : 100) %\u{1B}[K")
    }

    func end() {
        if isDrawn { StandardStream.error.write("\r\u{1B}[K") }
        isDrawn = false
    }
}
