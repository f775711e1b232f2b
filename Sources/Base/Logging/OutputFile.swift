import CLinux

/// A file that is written whole, over what was there. Not on an event loop.
public enum OutputFile {
    public static func write(_ text: String, to path: String) throws(OutputFailure) {
        var text = text
        let error = text.withUTF8 { cl_write_file(path, $0.baseAddress, $0.count) }
        guard error == 0 else { throw OutputFailure(path: path, errno: error) }
    }
}

/// A file that could not be written.
public struct OutputFailure: Error, Sendable, CustomStringConvertible {
    let path: String
    let errno: Int32
    public var description: String { "cannot write \(path): \(String(cString: cl_error_text(errno)).lowercased())" }
}
