/// How a stream of bytes is cut into frames.
public enum Framing: Hashable, Sendable {
    /// Not at all: a frame is what has arrived, at least one byte. Where it is cut means nothing.
    case bytes
    /// Lines that LF ends; a CR before it belongs to the end, not to the line.
    case lines
    /// The length of the frame in front of it, big-endian, not counting itself.
    case lengthPrefixed(width: PrefixWidth)
    /// Frames of so many bytes, at least one.
    case fixed(Int)

    /// The type of a length in front of a frame; its value is the count of bytes it takes.
    public enum PrefixWidth: Int, Hashable, Sendable, CaseIterable { case uint8 = 1, uint16 = 2, uint32 = 4, uint64 = 8 }
}
