import Glibc
public import MartletFiles

/// An empty directory below TMPDIR, or /tmp; removed with all that is in it.
public final class TemporaryDirectory {
    public let path: String

    public init() throws(FileError) {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var name = Array("\(parent)/martlet-test-XXXXXX".utf8CString)
        guard mkdtemp(&name) != nil else { throw FileError(.make, parent, errno: errno) }
        path = String(decoding: name.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { remove(path) }

    private func remove(_ path: String) {
        for name in (try? Directory.list(path)) ?? [] { remove("\(path)/\(name)") }
        _ = Glibc.remove(path)
    }
}
