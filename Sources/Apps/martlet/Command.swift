import MartletSettings

/// One command: its words after `martlet`, its options, its help, and what runs it.
struct Command: Sendable {
    struct Option: Sendable {
        /// As typed, the short one first: `-t`, `--topic`. `Arguments` knows it by any of them.
        let names: [String]
        /// What the help calls its value; `nil` is a flag.
        let value: String?
        let repeats: Bool
        let about: String
        /// How many words it takes, by the first of them.
        var wordCount: @Sendable ([String]) -> Int = { _ in 1 }

        static func flag(_ names: String..., about: String) -> Option { Option(names: names, value: nil, repeats: false, about: about) }
        static func one(_ names: String..., value: String, about: String) -> Option { Option(names: names, value: value, repeats: false, about: about) }
        /// Takes several words each time; `Arguments.groups` gives them.
        static func group(_ names: String..., value: String, about: String, wordCount: @escaping @Sendable ([String]) -> Int) -> Option {
            Option(names: names, value: value, repeats: true, about: about, wordCount: wordCount)
        }
        static func many(_ names: String..., value: String, about: String) -> Option { Option(names: names, value: value, repeats: true, about: about) }
    }

    let path: [String]
    let summary: String
    /// What the help calls the words that may stand among the options; `nil`: none may.
    var words: String?
    let options: [Option]
    let examples: [(line: String, about: String)]
    /// More help, after the options.
    var footnote: @Sendable () -> String = { "" }
    let run: @Sendable (Arguments) throws(CommandFailure) -> Int32

    var name: String { path.joined(separator: " ") }

    func option(_ name: String) -> Option? { options.first { $0.names.contains(name) } }
}

/// What was typed, against a command's options. The last wins where an option does not repeat.
struct Arguments: Equatable {
    /// By the option's first name; a flag's values are empty strings.
    private var values: [String: [String]] = [:]
    private var grouped: [String: [[String]]] = [:]
    /// What is neither an option nor its value.
    private(set) var words: [String] = []
    private let firstNames: [String: String]
    /// `--help` stood where an option may stand.
    private(set) var wantsHelp = false

    /// A value is the word after its option, whatever it looks like (`-m -5`), or what follows `=`. Words stand for themselves, where the command takes any.
    init(_ words: some Sequence<String>, for command: Command) throws(CommandFailure) {
        firstNames = Dictionary(command.options.flatMap { option in option.names.map { ($0, option.names[0]) } }, uniquingKeysWith: { $1 })
        var words = words.makeIterator()
        while let word = words.next() {
            if word == "--help" {
                wantsHelp = true
                return
            }
            guard word.hasPrefix("-"), word.count > 1 else {
                if command.words != nil {
                    self.words.append(word)
                    continue
                }
                throw .usage("\(command.name): unexpected \"\(word)\"; see `martlet \(command.name) --help`")
            }
            var name = word
            var inline: String?
            if word.hasPrefix("--"), let equals = word.firstIndex(of: "=") {
                name = String(word[..<equals])
                inline = String(word[word.index(after: equals)...])
            }
            guard let option = command.option(name) else {
                let known = command.options.flatMap(\.names).filter { $0.hasPrefix("--") }
                let nearest = name.hasPrefix("--") ? Nearest.suggestion(for: name, among: known) : ""
                throw .usage("\(command.name): unknown option \"\(name)\"\(nearest.isEmpty ? "; see `martlet \(command.name) --help`" : nearest)")
            }
            if let expected = option.value {
                guard let value = inline ?? words.next() else { throw .usage("\(command.name): \(name) needs a value: \(name) \(expected)") }
                values[option.names[0], default: []].append(value)
                var group = [value]
                while group.count < option.wordCount(group) {
                    guard let word = words.next() else { throw .usage("\(command.name): \(name) needs more words: \(name) \(expected)") }
                    group.append(word)
                }
                grouped[option.names[0], default: []].append(group)
            } else {
                guard inline == nil else { throw .usage("\(command.name): \(name) takes no value") }
                values[option.names[0]] = [""]
            }
        }
    }

    func texts(_ name: String) -> [String] { firstNames[name].flatMap { values[$0] } ?? [] }
    func groups(_ name: String) -> [[String]] { firstNames[name].flatMap { grouped[$0] } ?? [] }
    func text(_ name: String) -> String? { texts(name).last }
    func has(_ name: String) -> Bool { !texts(name).isEmpty }

    func integer(_ name: String, in range: ClosedRange<Int>) throws(CommandFailure) -> Int? {
        guard let text = text(name) else { return nil }
        guard let number = Int(text), range.contains(number) else {
            throw .usage("\(name) \(text): not a whole number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }
}

/// What the words after `martlet` ask for.
enum Invocation {
    case help(String)
    case run(Command, Arguments)

    init(_ words: [String], commands: [Command]) throws(CommandFailure) {
        let path = Array(words.prefix { !$0.hasPrefix("-") })
        let rest = words.dropFirst(path.count)
        if rest.first == "--version", path.isEmpty {
            self = .help("martlet \(Martlet.version)\n")
        } else if let command = commands.first(where: { path.starts(with: $0.path) }) {
            let arguments = try Arguments(words.dropFirst(command.path.count), for: command)
            self = arguments.wantsHelp ? .help(Help.text(of: command)) : .run(command, arguments)
        } else {
            let group = commands.filter { $0.path.starts(with: path) }
            if path == ["help"] || (rest.first == "--help" && !group.isEmpty) {
                self = .help(Help.text(of: group.isEmpty ? commands : group))
            } else {
                throw Self.failure(path: path, unknown: rest.first, group: group, commands: commands)
            }
        }
    }

    private static func failure(path: [String], unknown: String?, group: [Command], commands: [Command]) -> CommandFailure {
        let known = commands.map(\.name)
        if !group.isEmpty {
            let sentence = unknown.map { "unknown option \"\($0)\"" } ?? "a command is missing"
            return .usage("\(sentence); one of: \(group.map(\.name).joined(separator: ", ")); see `martlet --help`")
        }
        let typed = path.joined(separator: " ")
        let nearest = Nearest.suggestion(for: typed, among: known)
        return .usage("unknown command \"\(typed)\"\(nearest.isEmpty ? "; one of: \(known.joined(separator: ", "))" : nearest)")
    }
}
