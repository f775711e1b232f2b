/// What was set, from all sources, against a declared schema.
///
/// Precedence: command line > environment > file > default. Within one source the later wins; a list from a higher source
/// replaces the lower one's. Every source is checked whole, also what a higher one overrides: an unknown key or a wrong type
/// is an error that names the place and the nearest known key.
public struct Settings: Sendable {
    enum Source: Int, Comparable {
        case file, environment, commandLine
        static func < (a: Source, b: Source) -> Bool { a.rawValue < b.rawValue }
    }
    private struct Entry {
        var value: SettingsValue
        var source: Source
        var place: String
    }

    public let declarations: [SettingDeclaration]
    private var entries: [String: Entry] = [:]

    public init(_ declarations: [SettingDeclaration]) { self.declarations = declarations }

    // MARK: Sources

    public mutating func add(file text: String, named name: String) throws(SettingsMisuse) {
        let root = try YAML.parse(text, named: name)
        switch root.content {
        case .empty: return
        case .map(let entries): try add(entries, under: "", file: name)
        case .scalar, .list: throw SettingsMisuse("\(name):\(root.line): \(root.kind) stands where keys are expected, such as `loops: 2`")
        }
    }

    public mutating func add(filePath path: String) throws(SettingsMisuse) { try add(file: SettingsFile.read(path), named: path) }

    /// Takes `MARTLET_…` that name a key. One that nearly names a key is a slip and refused; others are strangers
    /// (a Kubernetes service called `martlet` sets `MARTLET_PORT`) and ignored.
    public mutating func add(environment: [String: String]) throws(SettingsMisuse) {
        for (name, text) in environment.sorted(by: { $0.key < $1.key }) {
            guard let folded = EnvironmentName.afterPrefix(name) else { continue }
            if let declaration = declarations.first(where: { $0.environmentName == folded }) {
                try add(Self.value(of: text, for: declaration), to: declaration, .environment, at: name)
            } else if let near = declarations.first(where: { Nearest.edits($0.environmentName, folded) == 1 }) {
                throw SettingsMisuse("\(name): names no setting; did you mean \"\(EnvironmentName.prefixed(near.name))\"?")
            }
        }
    }

    /// `KEY=VALUE` of `--set`.
    public mutating func add(assignment text: String) throws(SettingsMisuse) {
        guard let equals = text.firstIndex(of: "=") else { throw SettingsMisuse("--set \(text): expected KEY=VALUE") }
        let declaration = try declaration(named: String(text[..<equals]), at: "--set")
        let value = Self.value(of: String(text[text.index(after: equals)...]), for: declaration)
        try add(value, to: declaration, .commandLine, at: "--set \(declaration.name)")
    }

    /// The values of an option of its own (`--listen`), which all belong to one key.
    public mutating func add(option: String, _ texts: [String], for name: String) throws(SettingsMisuse) {
        guard let last = texts.last else { return }
        let declaration = try declaration(named: name, at: option)
        let value = declaration.isList ? SettingsValue(.list(texts.map { SettingsValue(.scalar($0)) })) : SettingsValue(.scalar(last))
        try add(value, to: declaration, .commandLine, at: option)
    }

    // MARK: Answers

    public func value<Value>(of key: SettingKey<Value>) throws(SettingsMisuse) -> Value {
        guard let entry = entries[key.name] else { return key.initial }
        do { return try key.form.read(entry.value) } catch { throw SettingsMisuse("\(entry.place): \(error)") }
    }

    /// Where a value came from, to begin a sentence about it (`martlet.yaml:7`, `--data`); the key's name if it is the default.
    public func place(of name: String) -> String { entries[name]?.place ?? name }

    // MARK: Merging

    private mutating func add(_ map: [SettingsValue.Entry], under section: String, file: String) throws(SettingsMisuse) {
        for entry in map {
            let name = section + entry.key
            let isSection = declarations.contains { $0.name.hasPrefix(name + ".") }
            switch entry.value.content {
            case .map(let inner) where isSection: try add(inner, under: name + ".", file: file)
            case .empty where isSection: continue
            case .scalar, .list, .map, .empty:
                if isSection { throw SettingsMisuse("\(file):\(entry.line): \(name): \(entry.value.kind) is not a section of keys") }
                let declaration = try declaration(named: name, at: "\(file):\(entry.line)")
                // A key without a value keeps its default, as a file whose lines were commented out does.
                guard entry.value.content != .empty else { continue }
                try add(entry.value, to: declaration, .file, at: "\(file):\(entry.line)")
            }
        }
    }

    private mutating func add(_ value: SettingsValue, to declaration: SettingDeclaration, _ source: Source, at place: String) throws(SettingsMisuse) {
        let place = source == .file ? "\(place): \(declaration.name)" : place
        do { try declaration.check(value) } catch { throw SettingsMisuse("\(place): \(error)") }
        if let earlier = entries[declaration.name], earlier.source > source { return }
        entries[declaration.name] = Entry(value: value, source: source, place: place)
    }

    private func declaration(named name: String, at place: String) throws(SettingsMisuse) -> SettingDeclaration {
        if let declaration = declarations.first(where: { $0.name == name }) { return declaration }
        throw SettingsMisuse("\(place): unknown key \"\(name)\"\(Nearest.suggestion(for: name, among: declarations.map(\.name)))")
    }

    private static func value(of text: String, for declaration: SettingDeclaration) -> SettingsValue {
        guard declaration.isList else { return SettingsValue(.scalar(text)) }
        return SettingsValue(.list(text.split(separator: ",").map { SettingsValue(.scalar(String($0))) }))
    }
}

/// `mqtt.packetSizeMax` as `MARTLET_MQTT_PACKETSIZEMAX`.
enum EnvironmentName {
    private static let prefix = "MARTLET_"

    static func prefixed(_ key: String) -> String { prefix + key.uppercased().split(separator: ".").joined(separator: "_") }

    /// Upper case without separators, so that `MARTLET_LOG_LEVEL` and `MARTLET_LOGLEVEL` are one.
    static func folded(_ key: String) -> String { key.uppercased().filter { $0 != "." && $0 != "_" && $0 != "-" } }

    static func afterPrefix(_ name: String) -> String? {
        name.uppercased().hasPrefix(prefix) ? folded(String(name.dropFirst(prefix.count))) : nil
    }
}
