import Testing

@testable import MartletNet

private let gibibyte = 1 << 30

/// Of a machine with 16 GiB and these files.
private func bytes(_ files: [String: String]) -> Int {
    let machine = ["/proc/meminfo": "MemTotal:       16777216 kB\nMemFree:         1 kB\n"]
    return MachineMemory.bytes(reading: { (machine.merging(files) { $1 })[$0] })
}

@Suite struct MachineMemoryTests {
    @Test func `without a control group it is the machine's`() {
        #expect(bytes([:]) == 16 * gibibyte)
        #expect(bytes(["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "max\n"]) == 16 * gibibyte)
        #expect(MachineMemory.bytes(reading: { _ in nil }) == 0)
    }

    @Test func `the lowest limit of the group and those above counts`() {
        let files = [
            "/proc/self/cgroup": "0::/system.slice/martlet.service\n", "/sys/fs/cgroup/system.slice/memory.max": "2147483648\n",
            "/sys/fs/cgroup/system.slice/martlet.service/memory.max": "4294967296\n",
        ]
        #expect(bytes(files) == 2 * gibibyte)
    }

    @Test func `the first version's groups count, also where a container cannot see its path`() {
        let groups = "9:name=systemd:/\n4:cpu,memory:/docker/7f\n0::/\n"
        #expect(bytes(["/proc/self/cgroup": groups, "/sys/fs/cgroup/memory/docker/7f/memory.limit_in_bytes": "1073741824\n"]) == gibibyte)
        #expect(bytes(["/proc/self/cgroup": groups, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "3221225472\n"]) == 3 * gibibyte)
        #expect(bytes(["/proc/self/cgroup": groups, "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"]) == 16 * gibibyte)
    }

    @Test func `this machine has some`() { #expect(MachineMemory.bytes > 64 << 20) }
}
