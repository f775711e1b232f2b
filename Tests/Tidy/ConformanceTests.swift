import Testing

/// The list of normative statements against the tree: it is whole, and every test that it names is there.
@Suite struct ConformanceTests {
    private let tree = SourceTree.repository
    private static let path = "Documentation/conformance/mqtt.md"

    /// The last number of each section of Appendix B, and what is left out below it.
    private static let statements: [String: [(section: String, last: Int, missing: Set<Int>)]] = [
        "MQTT 3.1.1": [
            ("1.5.3", 3, []), ("2.2.2", 2, []), ("2.3.1", 7, []), ("3.1.0", 2, []), ("3.1.2", 24, []), ("3.1.3", 11, []), ("3.1.4", 5, []), ("3.2.0", 1, []),
            ("3.2.2", 6, []), ("3.3.1", 12, []), ("3.3.2", 3, []), ("3.3.4", 1, []), ("3.3.5", 2, []), ("3.6.1", 1, []), ("3.8.1", 1, []), ("3.8.3", 4, []),
            ("3.8.4", 6, []), ("3.9.3", 2, []), ("3.10.1", 1, []), ("3.10.3", 2, []), ("3.10.4", 6, []), ("3.12.4", 1, []), ("3.14.1", 1, []),
            ("3.14.4", 3, []), ("4.1.0", 2, []), ("4.3.1", 1, []), ("4.3.2", 2, []), ("4.3.3", 2, []), ("4.4.0", 1, []), ("4.5.0", 2, []), ("4.6.0", 6, []),
            ("4.7.1", 3, []), ("4.7.2", 1, []), ("4.7.3", 4, []), ("4.8.0", 2, []), ("6.0.0", 4, []), ("7.0.0", 2, []), ("7.1.1", 1, []), ("7.1.2", 1, []),
        ],
        "MQTT 5.0": [
            ("1.5.4", 3, []), ("1.5.5", 1, []), ("1.5.7", 1, []), ("2.1.3", 1, []), ("2.2.1", 6, [1]), ("2.2.2", 1, []), ("3.1.0", 2, []), ("3.1.2", 30, []),
            ("3.1.3", 12, []), ("3.1.4", 6, []), ("3.2.0", 2, []), ("3.2.2", 22, []), ("3.3.1", 13, []), ("3.3.2", 20, []), ("3.3.4", 10, []),
            ("3.4.2", 3, []), ("3.5.2", 3, []), ("3.6.1", 1, []), ("3.6.2", 3, []), ("3.7.2", 3, []), ("3.8.1", 1, []), ("3.8.3", 5, []), ("3.8.4", 8, []),
            ("3.9.2", 2, []), ("3.9.3", 2, []), ("3.10.1", 1, []), ("3.10.3", 2, []), ("3.10.4", 6, []), ("3.11.2", 2, []), ("3.11.3", 2, []),
            ("3.12.4", 1, []), ("3.14.0", 1, []), ("3.14.1", 1, []), ("3.14.2", 4, []), ("3.14.4", 3, []), ("3.15.1", 1, []), ("3.15.2", 3, []),
            ("4.1.0", 2, []), ("4.2", 1, []), ("4.3.1", 1, []), ("4.3.2", 5, []), ("4.3.3", 13, []), ("4.4.0", 2, []), ("4.5.0", 2, []), ("4.6.0", 6, []),
            ("4.7.0", 1, []), ("4.7.1", 2, []), ("4.7.2", 1, []), ("4.7.3", 4, []), ("4.8.2", 6, []), ("4.9.0", 3, []), ("4.12.0", 7, []), ("4.12.1", 2, []),
            ("4.13.1", 1, []), ("4.13.2", 1, []), ("6.0.0", 4, []),
        ],
    ]

    private struct Row {
        let specification: String
        let number: String
        let evidence: String
    }

    private var rows: [Row] {
        var specification = ""
        return (tree.file(Self.path)?.lines ?? []).compactMap { line in
            if line.hasPrefix("## ") { specification = String(line.dropFirst(3)) }
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).map { $0.split(separator: " ").joined(separator: " ") }
            guard cells.count == 6, cells[1].first?.isNumber == true else { return nil }
            return Row(specification: specification, number: cells[1], evidence: cells[4])
        }
    }

    @Test(arguments: ["MQTT 3.1.1", "MQTT 5.0"])
    func `every statement has one row`(_ specification: String) {
        let expected = (Self.statements[specification] ?? []).flatMap { group in
            (1...group.last).filter { !group.missing.contains($0) }.map { "\(group.section)-\($0)" }
        }
        #expect(rows.filter { $0.specification == specification }.map(\.number) == expected)
    }

    @Test func `every row has its tests, which exist, or the reason why there is none`() {
        var wrong: [String] = []
        for row in rows where !row.evidence.hasPrefix("none: ") {
            let named = row.evidence.split(separator: "`", omittingEmptySubsequences: false).enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
            if named.isEmpty { wrong.append("\(row.specification) \(row.number): nothing named") }
            for name in named where !exists(name) { wrong.append("\(row.specification) \(row.number): \(name)") }
        }
        #expect(wrong == [])
    }

    /// `file::test` below Tests: a function of a .py, a title of a .vec, a part of a title of a .swift.
    private func exists(_ name: Substring) -> Bool {
        guard let separator = name.firstRange(of: "::"), let file = tree.file("Tests/" + name[..<separator.lowerBound]) else { return false }
        let title = name[separator.upperBound...]
        if file.path.hasSuffix(".py") { return file.text.contains("\ndef \(title)(") }
        if file.path.hasSuffix(".vec") { return file.text.contains("\n== \(title)\n") }
        return file.lines.contains { ($0.contains("@Test(\"") || $0.contains("func `")) && $0.contains(title) }
    }
}
