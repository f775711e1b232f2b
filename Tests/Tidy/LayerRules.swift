/// The layer law, read from `Package.swift` and every `import`.
struct LayerRules {
    struct Module: Equatable {
        let name: String
        /// Below `Sources/`.
        let folder: String
    }

    let modules: [Module]

    /// Who may import whom, by folder; the first row that fits counts. A row's own folder is always allowed.
    static let table: [(folder: String, mayImport: [String])] = [
        ("C", []),
        ("Base", ["C"]),
        ("IO", ["C", "Base"]),
        ("Protocols", ["C", "Base"]),
        ("Libraries/Driver", ["C", "Base", "IO", "Protocols"]),
        ("Libraries", ["C", "Base", "IO", "Protocols"]),
        ("Broker/Core", ["Base"]),
        ("Broker/Journal", ["Base", "IO"]),
        ("Broker/Shard", ["Base", "IO", "Libraries/Driver", "Broker/Core", "Broker/Journal"]),
        ("Broker/Gateways", ["Base", "IO", "Protocols", "Libraries/Driver", "Broker/Core", "Broker/Shard"]),
        ("Broker/Server", ["C", "Base", "IO", "Protocols", "Libraries", "Broker"]),
        ("Apps", ["C", "Base", "IO", "Protocols", "Libraries", "Broker"]),
    ]

    /// Modules of the toolchain that a folder does without: Foundation costs 3 MB resident, protocols and Core are without I/O,
    /// protocols without locks.
    static let closedModules: [(folder: String, modules: [String])] = [
        ("Protocols", ["Glibc", "Synchronization", "Dispatch"]),
        ("Broker/Core", ["Glibc", "Dispatch"]),
    ]

    init(package: String) {
        modules = Self.declarations(package).compactMap { line in
            if let name = Self.quoted(in: line, after: "module(\""), let folder = Self.quoted(in: line, after: "in: \"") {
                return Module(name: "Martlet" + name, folder: folder)
            }
            let isTarget = [".target(", ".systemLibrary(", ".executableTarget("].contains { line.contains($0) }
            guard isTarget, let name = Self.quoted(in: line, after: "name: \""), let path = Self.quoted(in: line, after: "path: \"Sources/") else { return nil }
            return Module(name: name, folder: path)
        }
    }

    /// Each target from where it begins to where the next does, on one line: however it was formatted.
    private static func declarations(_ package: String) -> [Substring] {
        var declarations = [""]
        for line in package.split(separator: "\n") {
            let text = line.drop { $0 == " " }
            if ["module(", ".target(", ".systemLibrary(", ".executableTarget("].contains(where: { text.hasPrefix($0) }) { declarations.append("") }
            declarations[declarations.count - 1] += (declarations[declarations.count - 1].hasSuffix("(") ? "" : " ") + text
        }
        return declarations.map { Substring($0) }
    }

    func module(of path: String) -> Module? { modules.first { path.hasPrefix("Sources/\($0.folder)/") } }

    /// What a file imports against the law.
    func violations(in path: String, _ source: String) -> [String] {
        guard let module = module(of: path) else { return ["\(path): in no module of Package.swift"] }
        guard let row = Self.table.first(where: { Self.isFolder(module.folder, within: $0.folder) }) else {
            return ["\(path): \(module.folder) is no layer"]
        }
        return SwiftCode(source).imports.compactMap { name, line in
            if name.hasPrefix("Foundation") { return "\(path):\(line): imports \(name); nothing here does" }
            if let closed = Self.closedModules.first(where: { Self.isFolder(module.folder, within: $0.folder) }), closed.modules.contains(name) {
                return "\(path):\(line): \(closed.folder) does without \(name)"
            }
            guard let imported = modules.first(where: { $0.name == name }) else { return nil }
            let isAllowed = ([row.folder] + row.mayImport).contains { Self.isFolder(imported.folder, within: $0) }
            return isAllowed ? nil : "\(path):\(line): \(module.folder) must not import \(imported.folder)"
        }
    }

    /// A module is named by its folder: `Sources/Protocols/MQTT` is `MartletMQTTProtocol`.
    func misnamed() -> [String] {
        modules.compactMap { module in
            let parts = module.folder.split(separator: "/")
            guard let last = parts.last, parts.first != "C", parts.first != "Apps" else { return nil }
            let role = module.folder.hasPrefix("Protocols/") ? "Protocol" : module.folder.hasPrefix("Broker/Gateways/") ? "Gateway" : ""
            return module.name == "Martlet\(last)\(role)" ? nil : "Sources/\(module.folder) should be Martlet\(last)\(role), not \(module.name)"
        }
    }

    private static func isFolder(_ folder: String, within parent: String) -> Bool { folder == parent || folder.hasPrefix(parent + "/") }

    /// The rest of the string literal that starts with `opening`; `nil` where it holds an interpolation.
    private static func quoted(in line: Substring, after opening: String) -> String? {
        guard let range = line.firstRange(of: opening), let end = line[range.upperBound...].firstIndex(of: "\"") else { return nil }
        let text = line[range.upperBound..<end]
        return text.contains("\\") ? nil : String(text)
    }
}
