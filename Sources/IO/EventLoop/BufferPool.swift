import CLinux
import MartletBytes

/// Output buffers between two uses: lent at a connection's first write of a tick, taken back when its output has left, so that
/// an idle connection owns none. Bounded in number for each of two sizes; what is larger goes back to the allocator.
struct BufferPool: ~Copyable {
    private var small: [(base: UnsafeMutableRawPointer, capacity: Int)] = []
    private var large: [(base: UnsafeMutableRawPointer, capacity: Int)] = []
    private static let smallSize = 128 << 10, smallMax = 1024, largeSize = 4 << 20, largeMax = 8

    deinit {
        for buffer in small { free(buffer.base) }
        for buffer in large { free(buffer.base) }
    }

    mutating func lend(to buffer: inout ByteBuffer) {
        if let memory = small.popLast() ?? large.popLast() { buffer = ByteBuffer(adopting: memory.base, capacity: memory.capacity) }
    }

    mutating func takeBack(_ buffer: inout ByteBuffer) {
        guard let memory = buffer.surrender() else { return }
        if memory.capacity <= Self.smallSize, small.count < Self.smallMax {
            small.append(memory)
        } else if memory.capacity > Self.smallSize, memory.capacity <= Self.largeSize, large.count < Self.largeMax {
            large.append(memory)
        } else {
            free(memory.base)
        }
    }
}
