import CZlib
public import MartletBytes

/// Compresses a stream piece by piece (zlib). About 256 KiB of memory unless told to make do with less: to be kept and `reset` rather than made again.
///
/// Not here: which format a peer understands, and whether compressing is worth it.
public struct Deflater: ~Copyable {
    /// What has to be out after a piece.
    public enum Flush: Sendable {
        /// Whatever zlib thinks fit.
        case none
        /// Everything, so that the other side can read all up to here.
        case sync
        /// The stream's end: nothing may follow but `reset`.
        case finish
    }

    private let stream: UnsafeMutablePointer<z_stream>

    /// `level`: 1 fast to 9 small. `windowBits`, 9 to 15: the exponent of how far back repetitions are looked for, at
    /// 4 bytes of memory for each (128 KiB at 15). `memoryLevel`, 1 to 9: the exponent of the tables' size (128 KiB at 8). Nil if there is no memory, or for other numbers.
    public init?(_ format: DeflateFormat, level: Int = 6, windowBits: Int = 15, memoryLevel: Int = 8) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard cz_begin_deflate(stream, Int32(level), format.window(windowBits), Int32(memoryLevel)) == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// Begins another stream of the same kind.
    public mutating func reset() { deflateReset(stream) }

    /// Compresses `bytes` and appends what comes out.
    public mutating func append(_ bytes: Span<UInt8>, _ flush: Flush, into output: inout ByteBuffer) {
        bytes.withUnsafeBufferPointer { source in
            stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
            stream.pointee.avail_in = UInt32(source.count)
            let mode = flush == .none ? Z_NO_FLUSH : flush == .sync ? Z_SYNC_FLUSH : Z_FINISH
            while true {
                let room = 4096 + source.count / 2
                stream.pointee.next_out = output.reserve(room).assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_out = UInt32(room)
                let result = deflate(stream, mode)
                output.commit(room - Int(stream.pointee.avail_out))
                // With room left there is nothing more to come.
                if stream.pointee.avail_out > 0 || result == Z_STREAM_END { break }
            }
            stream.pointee.next_in = nil
        }
    }
}
