import CLinux

/// How much memory there is for this process.
public enum MachineMemory {
    /// Bytes: the machine's, or the limit of the control group that the process is in, where that is lower. Zero if the system does not say.
    public static let bytes = bytes { path in
        var count = 0
        let text = [UInt8](unsafeUninitializedCapacity: 4096) { buffer, initialized in
            count = cl_read_small_file(path, buffer.baseAddress, buffer.count)
            initialized = max(0, count)
        }
        return count < 0 ? nil : String(decoding: text, as: UTF8.self)
    }

    /// `read`: the text of a file of `/proc` or `/sys`, nil if it is not there.
    static func bytes(reading read: (String) -> String?) -> Int {
        let total = (read("/proc/meminfo") ?? "").split(separator: "\n").first { $0.hasPrefix("MemTotal:") }
        let machine = (total?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
        let limits = (read("/proc/self/cgroup") ?? "").split(separator: "\n").flatMap { line -> [Int] in
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { return [] }
            if fields[1].isEmpty { return Self.limits("/sys/fs/cgroup", String(fields[2]), "memory.max", read) }
            return fields[1].split(separator: ",").contains("memory")
                ? Self.limits("/sys/fs/cgroup/memory", String(fields[2]), "memory.limit_in_bytes", read) : []
        }
        return ((machine > 0 ? [machine] : []) + limits).min() ?? 0
    }

    /// Of the group and of those that it is in. In a container the path may be another's; its own limits stand at the root.
    private static func limits(_ root: String, _ path: String, _ file: String, _ read: (String) -> String?) -> [Int] {
        var limits: [Int] = [], names = path.split(separator: "/")
        while true {
            let folder = names.map { "/" + $0 }.joined()
            // `max` is no number: no limit.
            if let text = read("\(root)\(folder)/\(file)"), let limit = Int(text.prefix { $0.isNumber }) { limits.append(limit) }
            if names.popLast() == nil { return limits }
        }
    }
}
