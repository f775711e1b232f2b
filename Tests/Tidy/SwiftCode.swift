/// Swift without its comments and its strings' contents, each replaced by blanks: lines and columns stay.
///
/// What stands in an interpolation is code and stays. Not known: regex literals, which this repository does not use.
struct SwiftCode {
    let text: String
    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }

    init(_ source: String) {
        var scanner = Scanner(bytes: Array(source.utf8))
        scanner.code(until: nil)
        text = String(decoding: scanner.bytes, as: UTF8.self)
    }

    private struct Scanner {
        var bytes: [UInt8]
        var at = 0

        func has(_ text: StaticString, at index: Int) -> Bool {
            let count = text.utf8CodeUnitCount
            return index + count <= bytes.count && (0..<count).allSatisfy { bytes[index + $0] == text.utf8Start[$0] }
        }

        mutating func blank(_ count: Int) {
            for _ in 0..<min(count, bytes.count - at) {
                if bytes[at] != UInt8(ascii: "\n") { bytes[at] = UInt8(ascii: " ") }
                at += 1
            }
        }

        /// To the end of the text, or past the parenthesis that closes an interpolation.
        mutating func code(until close: UInt8?) {
            var depth = 0
            while at < bytes.count {
                if has("//", at: at) {
                    while at < bytes.count, bytes[at] != UInt8(ascii: "\n") { blank(1) }
                } else if has("/*", at: at) {
                    comment()
                } else if bytes[at] == UInt8(ascii: "\"") || bytes[at] == UInt8(ascii: "#") {
                    stringOrHash()
                } else {
                    if bytes[at] == UInt8(ascii: "(") { depth += 1 }
                    if bytes[at] == UInt8(ascii: ")") {
                        if depth == 0, close != nil {
                            at += 1
                            return
                        }
                        depth -= 1
                    }
                    at += 1
                }
            }
        }

        mutating func comment() {
            var depth = 0
            repeat {
                if has("/*", at: at) {
                    depth += 1
                    blank(2)
                } else if has("*/", at: at) {
                    depth -= 1
                    blank(2)
                } else {
                    blank(1)
                }
            } while depth > 0 && at < bytes.count
        }

        mutating func stringOrHash() {
            var hashes = 0
            while at + hashes < bytes.count, bytes[at + hashes] == UInt8(ascii: "#") { hashes += 1 }
            guard at + hashes < bytes.count, bytes[at + hashes] == UInt8(ascii: "\"") else {
                at += max(1, hashes)
                return
            }
            let isLong = has("\"\"\"", at: at + hashes)
            let quotes = isLong ? 3 : 1
            at += hashes + quotes
            while at < bytes.count {
                if bytes[at] == UInt8(ascii: "\\"), hashesFollow(at + 1, hashes) {
                    blank(1 + hashes)
                    if at < bytes.count, bytes[at] == UInt8(ascii: "(") {
                        at += 1
                        code(until: UInt8(ascii: ")"))
                    } else {
                        blank(1)
                    }
                } else if isLong ? has("\"\"\"", at: at) : bytes[at] == UInt8(ascii: "\""), hashesFollow(at + quotes, hashes) {
                    at += quotes + hashes
                    return
                } else if !isLong, bytes[at] == UInt8(ascii: "\n") {
                    return
                } else {
                    blank(1)
                }
            }
        }

        func hashesFollow(_ index: Int, _ count: Int) -> Bool {
            index + count <= bytes.count && bytes[index..<index + count].allSatisfy { $0 == UInt8(ascii: "#") }
        }
    }
}

extension SwiftCode {
    struct Function: Equatable {
        let name: String
        /// From 1.
        let line: Int
        let lineCount: Int
    }

    /// Functions, initializers, deinitializers and subscripts with a body, nested ones included.
    var functions: [Function] {
        let words = self.words
        var functions: [Function] = []
        for (index, word) in words.enumerated() where Self.openers.contains(word.text) && isDeclaration(index, words) {
            guard let body = bodyEnd(after: index, words) else { continue }
            let name = word.text == "func" && index + 1 < words.count ? words[index + 1].text : word.text
            functions.append(Function(name: name, line: word.line, lineCount: body - word.line + 1))
        }
        return functions
    }

    /// The imported modules and their lines.
    var imports: [(module: String, line: Int)] {
        lines.enumerated().compactMap { index, line in
            let words = line.split { $0 == " " || $0 == "\t" || $0 == ";" }
            let rest = words.drop { $0.hasPrefix("@") || ["public", "internal", "package", "private", "fileprivate"].contains($0) }
            guard rest.first == "import" else { return nil }
            let kinds: Set<Substring> = ["struct", "class", "enum", "protocol", "func", "var", "let", "typealias", "actor"]
            return rest.dropFirst().first { !kinds.contains($0) }.map { (String($0.prefix { $0 != "." }), index + 1) }
        }
    }

    struct Word {
        let text: String
        let line: Int
    }

    /// Identifiers and keywords as words, every other character alone.
    var words: [Word] {
        var words: [Word] = []
        var word = ""
        for (index, line) in lines.enumerated() {
            for character in line {
                if character.isLetter || character.isNumber || character == "_" {
                    word.append(character)
                    continue
                }
                if !word.isEmpty { words.append(Word(text: word, line: index + 1)) }
                word = ""
                if character != " " && character != "\t" { words.append(Word(text: String(character), line: index + 1)) }
            }
            if !word.isEmpty { words.append(Word(text: word, line: index + 1)) }
            word = ""
        }
        return words
    }

    private static let openers: Set<String> = ["func", "init", "deinit", "subscript"]
    /// What begins another declaration: a protocol's requirement has ended without a body.
    private static let declarators: Set<String> = [
        "func", "init", "deinit", "subscript", "var", "let", "case", "struct", "class", "enum", "associatedtype", "}",
    ]

    /// Not `self.init(…)`, `.init(…)` or `foo(init: …)`.
    private func isDeclaration(_ index: Int, _ words: [Word]) -> Bool {
        let before = index > 0 ? words[index - 1].text : ""
        return words[index].text == "func" || ![".", "(", ",", "&"].contains(before)
    }

    /// The line of the brace that ends the body; `nil` without a body.
    private func bodyEnd(after start: Int, _ words: [Word]) -> Int? {
        var index = start + 1, nesting = 0
        while index < words.count, !(nesting == 0 && words[index].text == "{") {
            let text = words[index].text
            if nesting == 0, index > start + 1, Self.declarators.contains(text) { return nil }
            if text == "(" || text == "[" { nesting += 1 }
            if text == ")" || text == "]" { nesting -= 1 }
            if nesting < 0 { return nil }
            index += 1
        }
        var depth = 0
        while index < words.count {
            if words[index].text == "{" { depth += 1 }
            if words[index].text == "}" { depth -= 1 }
            if depth == 0 { return words[index].line }
            index += 1
        }
        return nil
    }
}
