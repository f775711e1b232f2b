import CLinux
import Glibc

/// A moment in the time zone of the process, for output that people format themselves.
public struct LocalTime: Sendable {
    /// Since 1970.
    public let seconds: Int
    public let nanoseconds: Int

    public init(wallNanoseconds: Int64) {
        seconds = Int(wallNanoseconds / 1_000_000_000)
        nanoseconds = Int(wallNanoseconds % 1_000_000_000)
    }

    public static var now: LocalTime { LocalTime(wallNanoseconds: cl_wall_ns()) }

    /// As strftime(3) formats it; empty if that makes more than 255 bytes.
    public func text(_ format: String) -> String {
        var time = time_t(seconds)
        var parts = tm()
        localtime_r(&time, &parts)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { buffer in
            let count = strftime(buffer.baseAddress!, buffer.count, format, &parts)
            return String(decoding: UnsafeRawBufferPointer(start: buffer.baseAddress!, count: count), as: UTF8.self)
        }
    }
}
