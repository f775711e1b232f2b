import CLinux
public import MartletBytes

/// A program that this one has started, and what the system says of it. It dies with the thread that started it.
public struct ChildProcess: ~Copyable {
    public let id: Int32
    private let errors: Int32

    /// Starts the program at the path `arguments[0]`. Its stderr is read by `nextLine`, its stdout is ours. Answers nil where the system refuses.
    public init?(_ arguments: [String]) {
        var words = arguments.map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var pipe: Int32 = -1
        let process = cl_spawn(words, &pipe)
        guard process > 0 else { return nil }
        (id, errors) = (process, pipe)
    }

    /// The program that is running now.
    public static var ownPath: String { "/proc/self/exe" }

    /// The next line of its stderr; nil at the end, or when none has come by the deadline.
    public func nextLine(until deadline: Instant) -> String? {
        var line: [UInt8] = [], byte: UInt8 = 0
        while cl_wait_ready(errors, 0, max(0, deadline.nanoseconds - cl_monotonic_ns())) > 0, cl_read_pipe(errors, &byte, 1) == 1 {
            if byte == UInt8(ascii: "\n") { return String(decoding: line, as: UTF8.self) }
            line.append(byte)
        }
        return nil
    }

    /// SIGTERM, SIGKILL after `grace`, and its exit code (128 and the signal's number). **Blocks.**
    public consuming func end(grace: Duration) -> Int32 {
        let (id, errors) = (id, errors)
        discard self
        defer { cl_close(errors) }
        _ = cl_kill(id, 15)
        let latest = Instant(nanoseconds: cl_monotonic_ns()) + grace
        var status: Int32 = 0
        while cl_wait_child(id, 0, &status) == 0 {
            if cl_monotonic_ns() > latest.nanoseconds {
                _ = cl_kill(id, 9)
                _ = cl_wait_child(id, 1, &status)
                break
            }
            cl_sleep_ns(1_000_000)
        }
        return status
    }

    deinit {
        var status: Int32 = 0
        _ = cl_kill(id, 9)
        _ = cl_wait_child(id, 1, &status)
        cl_close(errors)
    }

    /// The processor time of all its threads so far, those that have ended included.
    public var processorTime: Duration { .nanoseconds(max(0, cl_process_cpu_ns(id))) }

    public var threadCount: Int { max(0, cl_list_numbers("/proc/\(id)/task", nil, 0)) }
    public var descriptorCount: Int { max(0, cl_list_numbers("/proc/\(id)/fd", nil, 0)) }

    /// Resident memory in bytes.
    public var residentSize: Int { 1024 * Self.number("VmRSS", in: Self.text("/proc/\(id)/status")) }

    /// Times that its threads gave the processor up, because they waited (voluntary) or were made to. Of the threads that live.
    public var contextSwitches: Int {
        var threads = [Int32](repeating: 0, count: 32_768)
        let count = min(threads.count, max(0, cl_list_numbers("/proc/\(id)/task", &threads, threads.count)))
        return threads.prefix(count).reduce(0) { sum, thread in
            let status = Self.text("/proc/\(id)/task/\(thread)/status")
            return sum + Self.number("\nvoluntary_ctxt_switches", in: status) + Self.number("nonvoluntary_ctxt_switches", in: status)
        }
    }

    private static func text(_ path: String) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 4096) { buffer, count in count = max(0, cl_read_small_file(path, buffer.baseAddress, buffer.count)) }
    }

    /// The first number behind a name of /proc's "name: number".
    private static func number(_ name: String, in text: [UInt8]) -> Int {
        let name = Array(name.utf8)
        guard let found = text.firstRange(of: name) else { return 0 }
        return text[found.upperBound...].drop { !(48...57).contains($0) }.prefix { (48...57).contains($0) }.reduce(0) { 10 * $0 + Int($1 - 48) }
    }
}
