import MartletBytes

/// The content of a message that comes in, and its trailers (RFC 9112 sections 6 and 7).
///
/// Invariant: what it says does not depend on how the bytes are cut, but for how the content is cut into pieces.
struct HTTPIncomingContent {
    enum Framing: UInt8 { case counted, chunked, untilEnd }
    enum Piece { case bytes(ByteRange), end(trailers: ByteRange) }

    private(set) var framing = Framing.counted
    /// A chunk was read whose CRLF was not.
    private var owesLineEnd = false
    private var extensionBytes: UInt32 = 0
    private var trailers = HTTPScan(fieldsAt: 0)
    /// Bytes of the content, or of the chunk, that are still to come.
    private var remaining: UInt64 = 0
    /// Bytes of content since the head.
    private(set) var received: UInt64 = 0

    init(_ framing: Framing = .counted, count: UInt64 = 0) {
        self.framing = framing
        remaining = count
    }

    /// Nothing but the end is left to say.
    var isComplete: Bool { framing == .counted && remaining == 0 }

    /// `nil`: more bytes are needed and nothing was consumed. `hasEnded`: no more will come.
    @inline(__always)
    mutating func next(from input: inout ByteReader, _ bounds: HTTPBounds, hasEnded: Bool) throws(HTTPViolation) -> Piece? {
        if remaining > 0 { return take(from: &input) }
        if framing == .counted { return .end(trailers: .empty) }
        return try nextUncounted(from: &input, bounds, hasEnded: hasEnded)
    }

    @inline(__always)
    private mutating func take(from input: inout ByteReader) -> Piece? {
        let count = Int(min(UInt64(input.remaining), remaining))
        guard count > 0, let range = input.readRange(count) else { return nil }
        remaining &-= UInt64(count)
        received &+= UInt64(count)
        return .bytes(range)
    }

    @inline(never)
    private mutating func nextUncounted(from input: inout ByteReader, _ bounds: HTTPBounds, hasEnded: Bool) throws(HTTPViolation) -> Piece? {
        guard framing == .chunked else {
            guard input.remaining > 0 else { return hasEnded ? .end(trailers: .empty) : nil }
            guard received < bounds.bodyMax else { throw .bodyTooLong }
            let count = Int(min(UInt64(input.remaining), bounds.bodyMax - received))
            received += UInt64(count)
            return input.readRange(count).map { .bytes($0) }
        }
        let bytes = input.bytes
        var at = input.offset
        if owesLineEnd {
            guard at < bytes.count else { return nil }
            guard bytes[at] == HTTPWire.carriageReturn else { throw .chunkEnd }
            guard at + 1 < bytes.count else { return nil }
            guard bytes[at + 1] == HTTPWire.lineFeed else { throw .chunkEnd }
            at += 2
        }
        guard let line = try Self.readLine(bytes, at: at, bounds) else { return nil }
        let extensions = extensionBytes + UInt32(line.extensionCount)
        if extensions > UInt32(bounds.fieldsBytesMax) { throw .chunkLineTooLong }
        if line.size > bounds.bodyMax || received > bounds.bodyMax - line.size { throw .bodyTooLong }
        guard line.size > 0 else { return try nextTrailers(from: &input, at: line.end, bounds) }
        guard line.end < bytes.count else { return nil }
        input.offset = line.end
        extensionBytes = extensions
        owesLineEnd = true
        remaining = line.size
        return take(from: &input)
    }

    private mutating func nextTrailers(from input: inout ByteReader, at start: Int, _ bounds: HTTPBounds) throws(HTTPViolation) -> Piece? {
        if !trailers.isFresh, !trailers.isDue(input.bytes, from: start, bounds) { return nil }
        do throws(HTTPViolation) {
            var framing = HTTPFraming()
            guard let end = try framing.read(input.bytes, from: start, .trailers, bounds) else {
                trailers.wait(count: input.bytes.count - start)
                return nil
            }
            input.offset = end
            return .end(trailers: ByteRange(start, end - 2 - start))
        } catch {
            guard trailers.isDue(input.bytes, from: start, bounds) else { return nil }
            throw error
        }
    }

    private static func readLine(
        _ bytes: Span<UInt8>, at start: Int, _ bounds: HTTPBounds
    ) throws(HTTPViolation) -> (size: UInt64, extensionCount: Int, end: Int)? {
        let limit = start + Int(bounds.chunkLineMax) + 2
        let bound = min(bytes.count, limit)
        var at = start, size: UInt64 = 0
        while at < bound, HTTPWire.isHexDigit(bytes[at]) {
            guard size >> 60 == 0 else { throw .chunkSize }
            let digit = bytes[at]
            size = size << 4 | UInt64(digit < 0x40 ? digit & 15 : (digit & 15) + 9)
            at += 1
        }
        let sizeEnd = at
        if at < bound, at > start, bytes[at] == UInt8(ascii: ";") {
            at = HTTPWire.firstControl(in: bytes, from: at, to: bound)
            if at < bound, bytes[at] != HTTPWire.carriageReturn { throw bytes[at] == HTTPWire.lineFeed ? .bareLineFeed : .chunkExtension }
        }
        if at < bound {
            guard at > start, bytes[at] == HTTPWire.carriageReturn else { throw at > start && bytes[at] == HTTPWire.lineFeed ? .bareLineFeed : .chunkSize }
            if at + 1 < bound {
                guard bytes[at + 1] == HTTPWire.lineFeed else { throw .bareCarriageReturn }
                return (size, at - sizeEnd, at + 2)
            }
        }
        if bound == limit { throw .chunkLineTooLong }
        return nil
    }
}
