import CLinux
import Glibc

/// The two places outside the command line that settings come from, read without Foundation.
public enum SettingsFile {
    /// More than this is not a configuration but a mistake (`--config /dev/zero`).
    private static let sizeMax = 1 << 20

    public static func read(_ path: String) throws(SettingsMisuse) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw refusal(path, errno) }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: sizeMax + 1)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes { Glibc.read(file, $0.baseAddress?.advanced(by: count), $0.count - count) }
            guard got >= 0 else { throw refusal(path, errno) }
            if got == 0 { break }
            count += got
        }
        guard count <= sizeMax else { throw SettingsMisuse("\(path): larger than \(ByteSize.text(sizeMax)), which no configuration is") }
        guard let text = String(validating: bytes[..<count], as: UTF8.self) else { throw SettingsMisuse("\(path): not UTF-8") }
        return text
    }

    private static func refusal(_ path: String, _ error: Int32) -> SettingsMisuse {
        SettingsMisuse("\(path): cannot be read: \(String(cString: cl_error_text(error)))")
    }
}

/// The environment of this process, as it is now.
public enum ProcessEnvironment {
    public static var variables: [String: String] {
        var variables: [String: String] = [:]
        var index: Int32 = 0
        while let entry = cl_environment(index) {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "=") { variables[String(text[..<equals])] = String(text[text.index(after: equals)...]) }
            index += 1
        }
        return variables
    }
}
