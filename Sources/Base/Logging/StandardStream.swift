import CLinux

/// stdout (data) or stderr (progress and diagnostics), unbuffered: one call, one `write`.
///
/// Blocks while the reader is slow. When it is gone, `write` says so, and a command that feeds a pipe can end.
public enum StandardStream: Int32, Sendable {
    case output = 1
    case error = 2

    @discardableResult
    public func write(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { cl_write_all(rawValue, $0.baseAddress, $0.count) == 0 }
    }

    @discardableResult
    public func write(_ bytes: Span<UInt8>) -> Bool {
        bytes.withUnsafeBufferPointer { cl_write_all(rawValue, $0.baseAddress, $0.count) == 0 }
    }

    /// Once, and only if nobody has to be waited for. A pipe takes up to 4 KiB whole or not at all.
    public func writeNow(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { cl_write_now(rawValue, $0.baseAddress, $0.count) == $0.count }
    }

    public var isTerminal: Bool { cl_is_terminal(rawValue) == 1 }
}
