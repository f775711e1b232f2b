/// The part of something that a client wants (RFC 9110 section 14).
enum HTTPRange: Equatable {
    /// All of it: nothing that is understood was asked for, or several parts.
    case whole
    /// Bytes.
    case part(Range<Int>)
    /// Nothing of it: 416.
    case unsatisfiable

    init(_ field: String, of size: Int) {
        self = .whole
        guard field.lowercased().hasPrefix("bytes=") else { return }
        let text = field.dropFirst(6).filter { $0 != " " && $0 != "\t" }
        guard !text.contains(","), let dash = text.firstIndex(of: "-") else { return }
        let first = text[..<dash], last = text[text.index(after: dash)...]
        guard (first + last).utf8.allSatisfy({ $0 &- 0x30 < 10 }), !(first.isEmpty && last.isEmpty) else { return }
        // A number that is too large stands behind every end.
        let start = Int(first) ?? .max, end = Int(last) ?? .max
        if first.isEmpty {
            self = end == 0 || size == 0 ? .unsatisfiable : .part(max(0, size - end)..<size)
        } else if !last.isEmpty, end < start {
            self = .whole
        } else {
            self = start >= size ? .unsatisfiable : .part(start..<min(size, end == .max ? size : end + 1))
        }
    }
}

/// What a client knows already, and under which conditions it wants something (RFC 9110 section 13).
enum HTTPConditions {
    enum Outcome: Equatable { case goOn, notModified, failed }

    /// `tag`: a strong entity tag with its quotes; `modified`: seconds since 1970. In the order of section 13.2.2.
    static func outcome(_ fields: HTTPFields, tag: String, modified: Int64) -> Outcome {
        if let known = fields["if-match"] {
            if !lists(known, tag, isStrong: true) { return .failed }
        } else if let time = fields.value("if-unmodified-since").flatMap({ HTTPDate.seconds($0) }), modified > time {
            return .failed
        }
        if let known = fields["if-none-match"] {
            if lists(known, tag, isStrong: false) { return .notModified }
        } else if let time = fields.value("if-modified-since").flatMap({ HTTPDate.seconds($0) }), modified <= time {
            return .notModified
        }
        return .goOn
    }

    /// Whether the part that Range names may be sent: what the client has of it is of this state.
    static func allowsRange(_ fields: HTTPFields, tag: String, modified: Int64) -> Bool {
        guard let known = fields.value("if-range") else { return true }
        if known.hasPrefix("\"") || known.hasPrefix("W/") { return known == tag }
        return HTTPDate.seconds(known) == modified
    }

    private static func lists(_ field: String, _ tag: String, isStrong: Bool) -> Bool {
        if field == "*" { return true }
        // A comma may stand within a tag.
        var rest = field[...]
        while let quote = rest.firstIndex(of: "\"") {
            let isWeak = rest[..<quote].hasSuffix("W/")
            guard let end = rest[rest.index(after: quote)...].firstIndex(of: "\"") else { return false }
            if rest[quote...end] == tag[...], !(isWeak && isStrong) { return true }
            rest = rest[rest.index(after: end)...]
        }
        return false
    }
}
