/// What a machine left of the bytes it was shown. Owns memory only while a frame is cut in two.
/// For drivers without an event loop (laws, pairs, blocking I/O); a loop keeps cut frames itself, in front of its read area.
public struct UnreadBytes: ~Copyable {
    private var kept = ByteBuffer()

    public init() {}

    /// Bytes kept.
    public var count: Int { kept.count }

    /// All unread bytes in one piece: the new ones where they lie or, after a cut frame, both together.
    @_lifetime(&self, copy bytes)
    public mutating func show(_ bytes: Span<UInt8>) -> Span<UInt8> {
        if kept.isEmpty { return bytes }
        kept.append(bytes)
        return kept.span
    }

    /// After `show(bytes)`: the first `used` bytes are done with, the others are kept.
    public mutating func keep(_ bytes: Span<UInt8>, used: Int) {
        if !kept.isEmpty { kept.consume(used) } else if used < bytes.count { kept.append(bytes.extracting(used..<bytes.count)) }
    }
}
