import MartletBytes

/// A server's message made ready once for many clients: its frame and, for those that agreed on permessage-deflate, its frame deflated without a context.
/// `WebSocketMachine.send(_:into:)` appends the one that fits. May go to any loop.
public struct WebSocketFrame: Sendable {
    /// The plain frame, then the deflated one.
    private let bytes: [UInt8]
    private let plainCount: Int
    /// The deflated frame's window; 0: there is none.
    let deflatedBits: UInt8

    /// `compression`: nil where no receiver has agreed on it. Throws `.textInvalid`.
    public init(_ kind: WebSocketMessageKind, _ content: Span<UInt8>, compression: WebSocketCompression? = nil) throws(WebSocketMisuse) {
        if kind == .text, !WebSocketText.isWhole(content) { throw .textInvalid }
        var both = ByteBuffer(), bits: UInt8 = 0
        WebSocketMachine.append(WebSocketWire.final | kind.rawValue, content, nil, into: &both)
        plainCount = both.count
        if let compression, content.count >= max(1, compression.options.threshold) {
            let first = WebSocketWire.final | WebSocketWire.compressed | kind.rawValue
            _ = compression.withDeflated(content, windowBits: compression.windowBits) { deflated in
                guard deflated.count < content.count else { return }
                WebSocketMachine.append(first, deflated, nil, into: &both)
                bits = UInt8(compression.windowBits)
            }
        }
        deflatedBits = bits
        bytes = both.span.array
    }

    /// Bytes of the frame as it is without permessage-deflate.
    public var count: Int { plainCount }

    /// The frame for a client that did not agree on permessage-deflate.
    public var plain: Span<UInt8> {
        @_lifetime(borrow self) get { bytes.span.extracting(first: plainCount) }
    }

    var deflated: Span<UInt8> {
        @_lifetime(borrow self) get { bytes.span.extracting(plainCount...) }
    }
}
