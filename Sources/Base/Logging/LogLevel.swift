/// How much a line matters; swift-log's levels, as far as a server needs them.
public enum LogLevel: String, CaseIterable, Comparable, Sendable {
    case trace, debug, info, warning, error

    /// What a line shows: five letters at most, so that messages stand under each other.
    var mark: String { self == .warning ? "warn" : rawValue }

    private var weight: Int {
        switch self {
        case .trace: 0
        case .debug: 1
        case .info: 2
        case .warning: 3
        case .error: 4
        }
    }

    public static func < (a: LogLevel, b: LogLevel) -> Bool { a.weight < b.weight }
}
