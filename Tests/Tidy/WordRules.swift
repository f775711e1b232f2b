/// Sizes, names, words and links: each rule is a function from a file to its violations, so that a bad sample can show that it fails.
enum WordRules {
    static let fileLineCountMax = 500
    static let functionLineCountMax = 70

    /// Functions that may be longer, each with its reason: `"path func": "why"`.
    static let longFunctions: [String: String] = [:]

    static func tooLong(_ path: String, _ source: String) -> [String] {
        let lineCount = source.split(separator: "\n", omittingEmptySubsequences: false).count - (source.hasSuffix("\n") ? 1 : 0)
        let file = lineCount > fileLineCountMax ? ["\(path): \(lineCount) lines, at most \(fileLineCountMax)"] : []
        let long = SwiftCode(source).functions.filter { $0.lineCount > functionLineCountMax && longFunctions["\(path) \($0.name)"] == nil }
        return file + long.map { "\(path):\($0.line): \($0.name) has \($0.lineCount) lines, at most \(functionLineCountMax)" }
    }

    // MARK: Names

    static let bannedNameParts: Set<String> = [
        "Manager", "Helper", "Helpers", "Util", "Utils", "Utility", "Utilities", "Common", "Impl", "Info", "Legacy", "New", "Data",
    ]

    /// Types and files; `Data` also, because data is what everything is. `Base` only as a suffix.
    static func badNames(_ path: String, _ source: String) -> [String] {
        let words = SwiftCode(source).words
        let declarators: Set<String> = ["struct", "class", "enum", "actor", "protocol", "typealias"]
        let declared = words.indices.dropLast().compactMap { index in
            declarators.contains(words[index].text) && words[index + 1].text.first?.isUppercase == true ? words[index + 1] : nil
        }
        let fileName = path.split(separator: "/").last.map { String($0.prefix { $0 != "." }) } ?? ""
        return (declared.map { ($0.text, $0.line) } + [(fileName, 1)]).compactMap { name, line in
            let parts = camelParts(name)
            guard let bad = parts.first(where: bannedNameParts.contains) ?? (parts.last == "Base" && parts.count > 1 ? "Base" : nil) else { return nil }
            return "\(path):\(line): \(name): \"\(bad)\" says nothing"
        }
    }

    /// `MQTTSessionInfo` as `MQTT`, `Session`, `Info`.
    static func camelParts(_ name: String) -> [String] {
        var parts: [String] = []
        let characters = Array(name)
        for (index, character) in characters.enumerated() {
            let startsWord =
                character.isUppercase
                && (index == 0 || !characters[index - 1].isUppercase || (index + 1 < characters.count && characters[index + 1].isLowercase))
            if startsWord || parts.isEmpty { parts.append("") }
            parts[parts.count - 1].append(character)
        }
        return parts
    }

    // MARK: Words

    static func badWords(_ path: String, _ source: String) -> [String] {
        let inside = { (folders: [String]) in folders.contains { path.hasPrefix("Sources/\($0)/") } }
        let code = SwiftCode(source)
        var found: [String] = []
        for (index, line) in code.lines.enumerated() {
            let place = "\(path):\(index + 1)"
            if line.contains("try!") { found.append("\(place): try!") }
            if hasCall("fatalError", line) { found.append("\(place): fatalError") }
            if hasCall("print", line), !inside(["Apps"]) { found.append("\(place): print in a library") }
            if line.contains("@unchecked Sendable") || line.contains("nonisolated(unsafe)"), !inside(["IO"]) {
                found.append("\(place): an unchecked promise to the compiler outside IO")
            }
        }
        if !inside(["C", "Base", "IO"]) {
            let unsafe = code.words.filter { $0.text == "unsafe" || $0.text.contains("Unsafe") }
            found += unsafe.map { "\(path):\($0.line): \($0.text) outside C, Base and IO" }
        }
        return found
    }

    /// `name(` that is not a part of a longer name or another type's method.
    private static func hasCall(_ name: String, _ line: Substring) -> Bool {
        var rest = line
        while let range = rest.firstRange(of: name + "(") {
            let before = range.lowerBound == line.startIndex ? " " : line[line.index(before: range.lowerBound)]
            if !(before.isLetter || before.isNumber || before == "_" || before == ".") { return true }
            rest = rest[range.upperBound...]
        }
        return false
    }

    /// Notes to oneself belong into an issue; in comments too.
    static func reminders(_ path: String, _ text: String) -> [String] {
        text.split(separator: "\n", omittingEmptySubsequences: false).enumerated().compactMap { index, line in
            let words = line.split { !($0.isLetter || $0.isNumber || $0 == "_") }
            return words.first { ["TODO", "FIXME", "XXX"].contains($0) }.map { "\(path):\(index + 1): \($0)" }
        }
    }

    // MARK: Links

    /// A clone has no neighbours: nothing names a place outside the repository's own tree.
    static func outsideReferences(_ path: String, _ text: String) -> [String] {
        text.contains("../" + "shared") ? ["\(path): refers to a folder beside the repository"] : []
    }

    /// Relative links of Markdown, outside of code, that lead nowhere. `paths` are all files and folders of the tree.
    static func deadLinks(_ path: String, _ text: String, paths: Set<String>) -> [String] {
        var isFenced = false
        var dead: [String] = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            if line.drop(while: { $0 == " " }).hasPrefix("```") { isFenced.toggle() }
            if isFenced { continue }
            // Odd pieces between backticks are code.
            let prose = line.split(separator: "`", omittingEmptySubsequences: false).enumerated().map {
                $0.offset.isMultiple(of: 2) ? String($0.element) : "code"
            }.joined()
            for target in targets(in: prose) where !exists(target, from: path, paths) {
                dead.append("\(path):\(index + 1): \(target) does not exist")
            }
        }
        return dead
    }

    private static func targets(in prose: String) -> [String] {
        prose.split(separator: "](", omittingEmptySubsequences: false).dropFirst().compactMap { piece in
            let target = piece.prefix { $0 != ")" && $0 != " " && $0 != "#" }
            return target.isEmpty || target.contains("://") || target.hasPrefix("mailto:") ? nil : String(target)
        }
    }

    private static func exists(_ target: String, from path: String, _ paths: Set<String>) -> Bool {
        var parts = target.hasPrefix("/") ? [] : path.split(separator: "/").dropLast().map(String.init)
        for part in target.split(separator: "/") where part != "." {
            if part == ".." {
                if parts.popLast() == nil { return false }
            } else {
                parts.append(String(part))
            }
        }
        return parts.isEmpty || paths.contains(parts.joined(separator: "/"))
    }
}
