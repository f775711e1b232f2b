import CLinux
import Glibc

/// What this process takes of the machine, as of now.
public struct ProcessUse: Sendable {
    /// Of all processors, in user code and in the kernel.
    public let processorTime: Duration
    /// Memory that is there, and addresses that are taken.
    public let residentBytes: Int, virtualBytes: Int

    public init() {
        processorTime = .nanoseconds(cl_process_cpu_ns(getpid()))
        var count = 0
        let text = [UInt8](unsafeUninitializedCapacity: 256) { buffer, initialized in
            count = cl_read_small_file("/proc/self/statm", buffer.baseAddress, buffer.count)
            initialized = max(0, count)
        }
        let pages = String(decoding: text, as: UTF8.self).split(separator: " ").prefix(2).compactMap { Int($0) }
        (virtualBytes, residentBytes) = pages.count == 2 ? (pages[0] * Int(getpagesize()), pages[1] * Int(getpagesize())) : (0, 0)
    }
}
