public import MartletBytes

/// What a framing gives: whole frames.
public enum FramingEvent: ProtocolEvent {
    /// The frame without its prefix or its line's end; may be empty, but for `Framing.bytes`.
    case frame(ByteRange)

    public enum Owned: Equatable, Sendable { case frame([UInt8]) }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .frame(let range): .frame(bytes.at(range).array)
        }
    }
}
