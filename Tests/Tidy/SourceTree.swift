import Glibc

/// The repository's files as the rules see them: path below the root, text, lines. Build products and virtual environments are not its files.
struct SourceTree {
    struct File {
        let path: String
        let text: String
        var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }
        var name: String { path.split(separator: "/").last.map(String.init) ?? path }
    }

    let root: String
    let files: [File]
    /// Every path, also of folders and of what is not text: what a link may point to.
    let paths: Set<String>

    static let repository = SourceTree(root: #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined())

    init(root: String) {
        self.root = root
        var files: [File] = []
        var paths: Set<String> = []
        var folders = [""]
        while let folder = folders.popLast() {
            for (name, isFolder) in Self.entries(of: "\(root)/\(folder)") where ![".git", ".build", ".venv", "__pycache__", ".pytest_cache"].contains(name) {
                let path = folder.isEmpty ? name : "\(folder)/\(name)"
                paths.insert(path)
                if isFolder {
                    folders.append(path)
                } else if let text = Self.text(of: "\(root)/\(path)") {
                    files.append(File(path: path, text: text))
                }
            }
        }
        self.files = files.sorted { $0.path < $1.path }
        self.paths = paths
    }

    func file(_ path: String) -> File? { files.first { $0.path == path } }
    func swiftFiles(in folder: String) -> [File] { files.filter { $0.path.hasPrefix(folder + "/") && $0.path.hasSuffix(".swift") } }

    private static func entries(of folder: String) -> [(name: String, isFolder: Bool)] {
        guard let stream = opendir(folder) else { return [] }
        defer { closedir(stream) }
        var entries: [(String, Bool)] = []
        while let entry = readdir(stream) {
            let isFolder = Int(entry.pointee.d_type) == Int(DT_DIR)
            let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != "." && name != ".." { entries.append((name, isFolder)) }
        }
        return entries
    }

    private static func text(of path: String) -> String? {
        guard let file = fopen(path, "rb") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while bytes.count < 4 << 20 {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { break }
            bytes += chunk[..<count]
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
