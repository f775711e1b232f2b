public import MartletBytes

/// What each connection of a loop will be sent, by slot: a table that never moves, of its own, since a delivery touches little else.
/// Whoever writes to many connections keeps it, to reach them without the loop. The loop's thread alone; `willWrite` first.
public struct OutputTable {
    @usableFromInline let base: UnsafeMutablePointer<ByteBuffer>

    init(base: UnsafeMutablePointer<ByteBuffer>) { self.base = base }

    @inlinable public subscript(slot: UInt32) -> ByteBuffer {
        @inline(__always) unsafeAddress { UnsafePointer(base + Int(slot)) }
        @inline(__always) nonmutating unsafeMutableAddress { base + Int(slot) }
    }
}
