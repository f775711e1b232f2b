/// What a YAML text says, before anyone knows what it means: scalars, lists and maps, each with its line.
///
/// Invariant: keys of a map are unique and in the order of the file. Scalars are text; the schema says what they mean,
/// so `no` is never a Boolean by accident. Not here: anchors and aliases, which are refused (a small file could unfold into gigabytes).
public struct SettingsValue: Sendable, Equatable {
    public indirect enum Content: Sendable, Equatable {
        case empty
        case scalar(String)
        case list([SettingsValue])
        case map([Entry])
    }
    public struct Entry: Sendable, Equatable {
        public let key: String
        public let line: Int
        public let value: SettingsValue
    }

    public let content: Content
    /// From 1.
    public let line: Int

    public init(_ content: Content, line: Int = 1) {
        self.content = content
        self.line = line
    }

    /// What a sentence calls it.
    var kind: String {
        switch content {
        case .empty: "nothing"
        case .scalar(let text): "\"\(text)\""
        case .list: "a list"
        case .map: "a section"
        }
    }
}

/// Why a setting was refused: one sentence that starts with the place (`martlet.yaml:3`, `--set`, `MARTLET_LOOPS`).
public struct SettingsMisuse: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
