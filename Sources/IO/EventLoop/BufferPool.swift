import CLinux
import MartletBytes

/// Output buffers between two uses: lent at a connection's first write of a tick, taken back when its output has left, so that
/// an idle connection owns none. Bounded in bytes, half of them for small buffers; what is over goes back to the allocator.
struct BufferPool: ~Copyable {
    private struct Shelf {
        var buffers: [(base: UnsafeMutableRawPointer, capacity: Int)] = []
        var bytes = 0
    }
    private var small = Shelf(), large = Shelf()
    private static let smallSize = 128 << 10, shelfBytesMax = 4 << 20

    deinit {
        for buffer in small.buffers { free(buffer.base) }
        for buffer in large.buffers { free(buffer.base) }
    }

    mutating func lend(to buffer: inout ByteBuffer) {
        if !Self.take(from: &small, &buffer) { _ = Self.take(from: &large, &buffer) }
    }

    private static func take(from shelf: inout Shelf, _ buffer: inout ByteBuffer) -> Bool {
        guard let memory = shelf.buffers.popLast() else { return false }
        shelf.bytes -= memory.capacity
        buffer = ByteBuffer(adopting: memory.base, capacity: memory.capacity)
        return true
    }

    mutating func takeBack(_ buffer: inout ByteBuffer) {
        guard let memory = buffer.surrender() else { return }
        if memory.capacity <= Self.smallSize { Self.put(memory, on: &small) } else { Self.put(memory, on: &large) }
    }

    private static func put(_ memory: (base: UnsafeMutableRawPointer, capacity: Int), on shelf: inout Shelf) {
        guard shelf.bytes + memory.capacity <= shelfBytesMax else { return free(memory.base) }
        shelf.buffers.append(memory)
        shelf.bytes += memory.capacity
    }
}
