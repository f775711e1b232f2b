import Testing

/// Each rule can fail: a small bad sample, and the good one beside it.
@Suite struct RuleTests {
    private let layers = LayerRules(
        package: """
            func module(_ name: String, in folder: String) -> Target { .target(name: "Martlet\\(name)", path: "Sources/\\(folder)") }
            .target(name: "CLinux", path: "Sources/C/CLinux"),
            module("Bytes", in: "Base/Bytes", needs: ["CLinux"]),
            module("Net", in: "IO/Net"),
            module("MQTTProtocol", in: "Protocols/MQTT"),
            module("Driver", in: "Libraries/Driver"),
            module("MQTT", in: "Libraries/MQTT"),
            module("Core", in: "Broker/Core"),
            module("Journal", in: "Broker/Journal"),
            module("Shard", in: "Broker/Shard"),
            module("MQTTGateway", in: "Broker/Gateways/MQTT"),
            module("Server", in: "Broker/Server"),
            .executableTarget(name: "martlet", path: "Sources/Apps/martlet"),
            """)

    @Test func `modules are read from the package`() {
        #expect(layers.modules.count == 12)
        #expect(layers.modules.first == .init(name: "CLinux", folder: "C/CLinux"))
        #expect(layers.misnamed() == [])
        #expect(LayerRules(package: #"module("Codec", in: "Protocols/MQTT")"#).misnamed().count == 1)
    }

    @Test(arguments: [
        ("Base/Bytes", "MartletNet"), ("IO/Net", "MartletMQTTProtocol"), ("Protocols/MQTT", "MartletNet"), ("Protocols/MQTT", "Glibc"),
        ("Protocols/MQTT", "Synchronization"), ("Protocols/MQTT", "MartletDriver"), ("Libraries/Driver", "MartletMQTT"), ("Libraries/MQTT", "MartletCore"),
        ("Broker/Core", "CLinux"), ("Broker/Core", "MartletNet"), ("Broker/Core", "MartletMQTTProtocol"), ("Broker/Journal", "MartletCore"),
        ("Broker/Shard", "MartletMQTTProtocol"), ("Broker/Shard", "MartletMQTTGateway"), ("Broker/Gateways/MQTT", "MartletServer"),
        ("Broker/Gateways/MQTT", "MartletMQTT"), ("Broker/Server", "martlet"), ("Apps/martlet", "Foundation"), ("Base/Bytes", "FoundationEssentials"),
    ])
    func `a forbidden import is found`(folder: String, module: String) {
        for line in ["import \(module)", "public import \(module)", "@testable import \(module)", "import struct \(module).Thing"] {
            #expect(layers.violations(in: "Sources/\(folder)/X.swift", "// why\n\(line)\n").map { $0.hasPrefix("Sources/\(folder)/X.swift:2: ") } == [true])
        }
    }

    @Test(arguments: [
        ("Base/Bytes", "CLinux"), ("IO/Net", "MartletBytes"), ("Protocols/MQTT", "MartletBytes"), ("Libraries/Driver", "MartletNet"),
        ("Libraries/MQTT", "MartletDriver"), ("Broker/Core", "MartletBytes"), ("Broker/Core", "Synchronization"), ("Broker/Journal", "MartletNet"),
        ("Broker/Shard", "MartletCore"), ("Broker/Gateways/MQTT", "MartletShard"), ("Broker/Gateways/MQTT", "MartletMQTTProtocol"),
        ("Broker/Server", "MartletMQTTGateway"), ("Apps/martlet", "MartletServer"), ("Apps/martlet", "Glibc"),
    ])
    func `an allowed import is not`(folder: String, module: String) {
        #expect(layers.violations(in: "Sources/\(folder)/X.swift", "import \(module) // import Foundation\nlet s = \"\"\"\n import Foundation\n\"\"\"\n") == [])
    }

    @Test func `a file outside of all modules is found`() { #expect(layers.violations(in: "Sources/Other/X.swift", "").count == 1) }

    @Test func `long files and functions are found`() {
        #expect(WordRules.tooLong("A.swift", String(repeating: "//\n", count: 500)) == [])
        #expect(WordRules.tooLong("A.swift", String(repeating: "//\n", count: 501)) == ["A.swift: 501 lines, at most 500"])
        let body = { (count: Int) in
            "struct S {\n    init(_ a: Int = { 1 }()) where A == B {\n" + String(repeating: "        a()\n", count: count) + "    }\n}\n"
        }
        #expect(WordRules.tooLong("A.swift", body(68)) == [])
        #expect(WordRules.tooLong("A.swift", body(69)) == ["A.swift:2: init has 71 lines, at most 70"])
    }

    @Test func `functions are measured, with and without a body`() {
        let code = SwiftCode(
            """
            protocol P {
                func a() -> Int
                func b(_ f: () -> Void)
                var c: Int { get }
                init(d: Int)
            }
            extension P {
                func e<T>(_ text: String = "}{", _ f: () -> Void = { /* } */ }) -> [T]
                where T: P {
                    func nested() { self.init(d: 1) }
                    let x = "\\(f("}"))"
                }
                subscript(i: Int) -> Int { i }
                deinit {
                }
            }
            """)
        #expect(
            code.functions == [
                .init(name: "e", line: 8, lineCount: 5), .init(name: "nested", line: 10, lineCount: 1), .init(name: "subscript", line: 13, lineCount: 1),
                .init(name: "deinit", line: 14, lineCount: 2),
            ])
    }

    @Test func `comments and strings are no code, interpolations are`() {
        #expect(SwiftCode("a // try!\nb /* x /* y */ z */ c").text == "a        \nb                   c")
        #expect(SwiftCode(##"x = "a\"b" + #"c"d\n"# + "\(try! f("q"))""##).text == ##"x = "    " + #"     "# + " (try! f(" "))""##)
        #expect(SwiftCode("\"\"\"\nTODO \"quoted\"\n\"\"\"; y").text == "\"\"\"\n             \n\"\"\"; y")
        #expect(SwiftCode("#if os(Linux)\n#endif").text == "#if os(Linux)\n#endif")
    }

    @Test func `names that say nothing are found`() {
        for name in ["SessionManager", "StringUtils", "HelperThing", "UserData", "ConnectionInfo", "QueueImpl", "CommonLimits", "NewQueue", "MachineBase"] {
            #expect(WordRules.badNames("Sources/A.swift", "public final class \(name)<T> {}").count == 1, "\(name)")
            #expect(WordRules.badNames("Sources/\(name).swift", "").count == 1, "\(name)")
        }
        #expect(
            WordRules.badNames("Sources/Base/Database.swift", "struct Information {}\n// struct UserData\nstruct Newline { class func Manager() {} }") == [])
        #expect(WordRules.camelParts("MQTTSessionInfo") == ["MQTT", "Session", "Info"])
    }

    @Test(arguments: [
        ("Sources/Base/A.swift", "let x = try! f()"), ("Sources/Apps/martlet/A.swift", "fatalError(\"x\")"), ("Sources/Base/A.swift", "  print(x)"),
        ("Sources/Broker/Core/A.swift", "final class A: @unchecked Sendable {}"), ("Sources/Base/A.swift", "nonisolated(unsafe) var x = 1"),
        ("Sources/Libraries/MQTT/A.swift", "let p: UnsafePointer<Int>"), ("Sources/Protocols/MQTT/A.swift", "return unsafe p.pointee"),
        ("Sources/Apps/martlet/A.swift", "bytes.withUnsafeBytes { $0 }"),
    ])
    func `banned words are found`(path: String, source: String) { #expect(WordRules.badWords(path, source).count >= 1) }

    @Test(arguments: [
        ("Sources/Base/A.swift", "// try! print( fatalError(\nlet s = \"print(\"; blueprint(1); a.print(2); try? f()"),
        ("Sources/Apps/martlet/A.swift", "print(x)"),
        ("Sources/IO/Net/A.swift", "final class A: @unchecked Sendable { nonisolated(unsafe) var p: UnsafePointer<Int> }"),
        ("Sources/Base/A.swift", "bytes.withUnsafeBytes { $0 }"),
    ])
    func `other words are not`(path: String, source: String) { #expect(WordRules.badWords(path, source) == []) }

    @Test func `reminders are found, in comments too`() {
        #expect(WordRules.reminders("A", "a\n// TODO: x\n/* FIXME */ XXX") == ["A:2: TODO", "A:3: FIXME"])
        #expect(WordRules.reminders("A", "TODOS todo XXXL mkstemp(\"aXXXXXX\")") == [])
    }

    @Test func `dead links are found`() {
        let paths: Set<String> = ["README.md", "Documentation", "Documentation/a.md", "Sources"]
        let text =
            "[a](Documentation/a.md#top) [b](https://x.org) [c](#here) [d](../README.md) [e](missing.md)\n```\n[f](nowhere.md)\n```\n`[g](nowhere.md)` [h](gone.md \"title\")"
        #expect(WordRules.deadLinks("README.md", text, paths: paths).map { $0.split(separator: " ")[1] } == ["../README.md", "missing.md", "gone.md"])
        #expect(WordRules.deadLinks("Documentation/a.md", "[d](../README.md) ![i](./a.md) [s](../Sources/)", paths: paths) == [])
    }

    @Test func `a reference to a place beside the repository is found`() {
        #expect(WordRules.outsideReferences("A", "see ../" + "shared/DESIGN.md").count == 1)
        #expect(WordRules.outsideReferences("A", "a shared/ folder").isEmpty)
    }
}
