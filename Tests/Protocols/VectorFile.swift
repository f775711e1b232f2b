import Foundation

/// One paragraph of a `.vec` file: a name and its `key: value` lines. The form is told in `Tests/Vectors/<protocol>/README.md`.
struct TestVector: CustomStringConvertible, Sendable {
    var file: String
    var name: String
    var on = ""
    var input: [UInt8] = []
    var events: [String] = []
    var output: [UInt8] = []
    var violation: String?
    var encodes = false
    var ends = false

    var description: String { "\(file): \(name)" }

    /// All vectors of `Tests/Vectors/<folder>`.
    static func all(in folder: String, from file: String = #filePath) throws -> [TestVector] {
        let root = URL(filePath: file).deletingLastPathComponent().deletingLastPathComponent().appending(path: "Vectors/\(folder)")
        let files = try FileManager.default.contentsOfDirectory(at: root, includingPropertiesForKeys: nil).filter { $0.pathExtension == "vec" }
        return try files.sorted { $0.path < $1.path }.flatMap { url in
            try parse(String(contentsOf: url, encoding: .utf8), file: url.lastPathComponent)
        }
    }

    struct Unreadable: Error { var line: String }

    private static func parse(_ text: String, file: String) throws -> [TestVector] {
        var vectors: [TestVector] = []
        for line in text.split(separator: "\n").map(String.init) where !line.hasPrefix("#") {
            if line.hasPrefix("== ") {
                vectors.append(TestVector(file: file, name: String(line.dropFirst(3))))
                continue
            }
            guard var vector = vectors.popLast() else { throw Unreadable(line: line) }
            let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
            switch (parts[0], parts.count) {
            case ("on", 2): vector.on = parts[1]
            case ("in", 2): vector.input = try bytes(parts[1])
            case ("out", 2): vector.output = try bytes(parts[1])
            case ("event", 2): vector.events.append(parts[1])
            case ("violation", 2): vector.violation = parts[1]
            case ("encodes", 1): vector.encodes = true
            case ("ends", 1): vector.ends = true
            default: throw Unreadable(line: line)
            }
            vectors.append(vector)
        }
        return vectors
    }

    /// Hexadecimal digits and quoted text; blanks and bars are for the eye.
    static func bytes(_ text: String) throws -> [UInt8] {
        var result: [UInt8] = []
        for (index, part) in text.split(separator: "\"", omittingEmptySubsequences: false).enumerated() {
            if index % 2 == 1 {
                result += Array(part.utf8)
                continue
            }
            let digits = part.filter { $0 != " " && $0 != "|" }.compactMap(\.hexDigitValue)
            guard digits.count % 2 == 0 else { throw Unreadable(line: text) }
            for at in stride(from: 0, to: digits.count, by: 2) { result.append(UInt8(digits[at] << 4 | digits[at + 1])) }
        }
        return result
    }
}

func hex(_ bytes: [UInt8]) -> String { bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
