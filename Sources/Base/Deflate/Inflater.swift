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

    /// `windowBits`, 8 to 15: at least the compressor's. Nil if there is no memory, or for other numbers.
    public init?(_ format: DeflateFormat, windowBits: Int = 15) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard cz_begin_inflate(stream, format.window(windowBits)) == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Between two blocks: nothing was begun that is not whole.
    public var isBetweenBlocks: Bool { cz_is_between_blocks(stream) != 0 }

    /// Begins another stream of the same kind.
    public mutating func reset() {
        inflateReset(stream)
        isFinished = false
    }

    /// Begins another stream that may repeat what this one held: after the end of a raw one that others follow.
    public mutating func goOn() {
        cz_reset_inflate_keep(stream)
        isFinished = false
    }

    /// Decompresses `bytes` and appends what comes out, at most `limit` bytes. What follows the stream's end is not looked at: answers how many were.
    @discardableResult
    public mutating func append(_ bytes: Span<UInt8>, limit: Int, into output: inout ByteBuffer) throws(Failure) -> Int {
        let failure = bytes.withUnsafeBufferPointer { source -> Failure? in
            stream.pointee.next_in = UnsafeMutablePointer(mutating: source.baseAddress)
            stream.pointee.avail_in = UInt32(source.count)
            defer { stream.pointee.next_in = nil }
            var left = limit
            while !isFinished {
                // One byte more than is allowed tells an exact fit from too much.
                let room = min(left + 1, max(1024, min(65536, max(source.count * 4, limit - left))))
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
        return bytes.count - Int(stream.pointee.avail_in)
    }
}
