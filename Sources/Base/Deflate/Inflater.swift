import CZlib
public import MartletBytes

/// Decompresses a stream piece by piece (zlib), up to a limit that its user sets: a few compressed bytes can stand for very many.
public struct Inflater: ~Copyable {
    public enum Failure: Error, Sendable, Equatable {
        /// The bytes are not of the format, or their checksum is wrong.
        case malformed
        /// More would have come out than was allowed.
        case tooLong
    }

    private let stream: UnsafeMutablePointer<z_stream>
    /// The stream's end was seen.
    public private(set) var isFinished = false

    /// Nil if there is no memory.
    public init?(_ format: DeflateFormat) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard cz_begin_inflate(stream, format.window) == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Decompresses `bytes` and appends what comes out, at most `limit` bytes. What follows the stream's end is not looked at.
    public mutating func append(_ bytes: Span<UInt8>, limit: Int, into output: inout ByteBuffer) throws(Failure) {
        let failure = bytes.withUnsafeBufferPointer { source -> Failure? in
            stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
            stream.pointee.avail_in = UInt32(source.count)
            defer { stream.pointee.next_in = nil }
            var left = limit
            while !isFinished {
                // One byte more than is allowed tells an exact fit from too much.
                let room = min(left + 1, 65536)
                stream.pointee.next_out = output.reserve(room).assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_out = UInt32(room)
                let result = inflate(stream, Z_NO_FLUSH), made = room - Int(stream.pointee.avail_out)
                guard made <= left else { return .tooLong }
                output.commit(made)
                left -= made
                if result == Z_STREAM_END { isFinished = true } else if result != Z_OK, result != Z_BUF_ERROR { return .malformed }
                if stream.pointee.avail_out > 0 { break }
            }
            return nil
        }
        if let failure { throw failure }
    }
}
