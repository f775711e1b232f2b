import Testing

/// The repository against its own rules.
@Suite struct TidyTests {
    private let tree = SourceTree.repository
    private var layers: LayerRules { LayerRules(package: tree.file("Package.swift")?.text ?? "") }
    private var sources: [SourceTree.File] { tree.swiftFiles(in: "Sources") }
    private var tests: [SourceTree.File] { tree.swiftFiles(in: "Tests") }

    @Test func `the tree was found`() {
        #expect(sources.count > 10)
        #expect(layers.modules.contains { $0.name == "MartletBytes" && $0.folder == "Base/Bytes" })
        #expect(layers.modules.contains { $0.name == "martlet" && $0.folder == "Apps/martlet" })
    }

    @Test func `a layer imports only the layers above it`() {
        #expect(sources.flatMap { layers.violations(in: $0.path, $0.text) } == [])
    }

    @Test func `a module is its folder`() {
        #expect(layers.misnamed() == [])
        #expect(layers.modules.filter { !tree.paths.contains("Sources/\($0.folder)") } == [])
    }

    @Test func `files and functions are short`() {
        #expect((sources + tests).flatMap { WordRules.tooLong($0.path, $0.text) } == [])
    }

    @Test func `no exception for a long function outlives it`() {
        let long = Set(
            sources.flatMap { file in
                SwiftCode(file.text).functions.filter { $0.lineCount > WordRules.functionLineCountMax }.map { "\(file.path) \($0.name)" }
            })
        #expect(Set(WordRules.longFunctions.keys).subtracting(long) == [])
    }

    @Test func `names say something`() { #expect(sources.flatMap { WordRules.badNames($0.path, $0.text) } == []) }

    @Test func `nothing traps, prints or promises what the compiler cannot check`() {
        #expect(sources.flatMap { WordRules.badWords($0.path, $0.text) } == [])
    }

    @Test func `no reminders are left`() {
        let read = tree.files.filter { ($0.path.hasPrefix("Sources/") || $0.path.hasPrefix("Tests/")) && !$0.path.hasPrefix("Tests/Tidy/") }
        #expect(read.flatMap { WordRules.reminders($0.path, $0.text) } == [])
    }

    @Test func `links in the documents lead somewhere`() {
        let documents = tree.files.filter { $0.path.hasSuffix(".md") }
        #expect(documents.flatMap { WordRules.deadLinks($0.path, $0.text, paths: tree.paths) } == [])
    }

    @Test func `a clone needs nothing beside it`() {
        #expect(tree.files.flatMap { WordRules.outsideReferences($0.path, $0.text) } == [])
    }
}
