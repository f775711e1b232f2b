import MartletSettings

/// `--help`: usage, options, examples. Plain text of at most 120 columns, the same on a terminal and in a pipe.
enum Help {
    static func text(of commands: [Command]) -> String {
        let rows = commands.map { ("martlet \($0.name)", $0.summary) }
        return "usage: martlet COMMAND [OPTION]…\n\n\(table(rows))\n  martlet COMMAND --help   options and examples\n  martlet --version        what this is\n"
    }

    static func text(of command: Command) -> String {
        let rows = command.options.map { option in
            (option.names.joined(separator: ", ") + (option.value.map { " \($0)" } ?? "") + (option.repeats ? " …" : ""), option.about)
        }
        let examples = command.examples.map { "  # \($0.about)\n  \($0.line)\n" }.joined()
        let footnote = command.footnote()
        return
            "usage: martlet \(command.name)\(command.words.map { " \($0)" } ?? "") [OPTION]…\n\n\(command.summary)\n\noptions (… may be repeated):\n\(table(rows + [("--help", "this")]))"
            + (footnote.isEmpty ? "" : "\n\(footnote)") + "\nexamples:\n\(examples)"
    }

    /// Two columns, indented; a left side that is too wide has its row alone.
    static func table(_ rows: [(left: String, right: String)]) -> String {
        let width = rows.map(\.left.count).filter { $0 <= 36 }.max() ?? 0
        return rows.map { left, right in
            let gap = left.count > width ? "\n" + String(repeating: " ", count: width + 4) : String(repeating: " ", count: width - left.count + 2)
            return "  \(left)\(gap)\(right)\n"
        }.joined()
    }
}
