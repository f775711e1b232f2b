public import MartletBytes

extension WebSocketMachine {
    /// Sends a message in one frame, deflated if that was agreed on and pays. Throws `.closed`, or `.textInvalid`.
    @inline(__always)
    public mutating func send(_ kind: WebSocketMessageKind, _ bytes: Span<UInt8>, into output: inout ByteBuffer) throws(WebSocketMisuse) {
        guard maySend else { throw .closed }
        let key = nextKey()
        try Self.append(kind, bytes, key, &deflation, into: &output)
    }

    /// Sends a binary message whose first byte lies elsewhere than the rest, as it is. Throws `.closed`.
    public mutating func sendBinary(_ first: UInt8, _ rest: Span<UInt8>, into output: inout ByteBuffer) throws(WebSocketMisuse) {
        guard maySend else { throw .closed }
        let key = nextKey()
        output.appendWebSocketHeader(WebSocketWire.final | WebSocketOpcode.binary, count: 1 + rest.count, isMasked: key != nil)
        guard let key else {
            output.append(first)
            return output.append(rest)
        }
        output.append(key.byteSwapped)
        output.append(first ^ UInt8(truncatingIfNeeded: key))
        output.append(rest, mask: key &>> 8 | key &<< 24)
    }

    /// As `send(_:_:into:)`, of a part of `content`: an echo without a copy between.
    public mutating func send(_ kind: WebSocketMessageKind, content range: ByteRange, into output: inout ByteBuffer) throws(WebSocketMisuse) {
        guard maySend else { throw .closed }
        let key = nextKey()
        try Self.append(kind, received, range, key, &deflation, into: &output)
    }

    /// The compiler tells fields apart where they are arguments of one call.
    @inline(__always)
    private static func append(
        _ kind: WebSocketMessageKind, _ buffer: borrowing ByteBuffer, _ range: ByteRange, _ key: UInt32?, _ deflation: inout WebSocketDeflation?,
        into output: inout ByteBuffer
    ) throws(WebSocketMisuse) { try append(kind, buffer.span.at(range), key, &deflation, into: &output) }

    @inline(__always)
    private static func append(
        _ kind: WebSocketMessageKind, _ bytes: Span<UInt8>, _ key: UInt32?, _ deflation: inout WebSocketDeflation?, into output: inout ByteBuffer
    ) throws(WebSocketMisuse) {
        if kind == .text, !WebSocketText.isWhole(bytes) { throw .textInvalid }
        if deflation != nil, deflation!.append(kind, bytes, key, into: &output) { return }
        append(WebSocketWire.final | kind.rawValue, bytes, key, into: &output)
    }

    /// Appends a message that was made ready for many. Throws `.closed`; `.frameUnmasked` on a client.
    @inline(__always)
    public mutating func send(_ frame: borrowing WebSocketFrame, into output: inout ByteBuffer) throws(WebSocketMisuse) {
        guard maySend else { throw .closed }
        guard !flags.contains(.isClient) else { throw .frameUnmasked }
        if frame.deflatedBits > 0, deflation != nil, deflation!.takesForeign(frame.deflatedBits) {
            output.append(frame.deflated)
        } else {
            output.append(frame.plain)
        }
    }

    /// Sends a ping of at most 125 bytes. The machine's own come beside it. Throws `.closed`, `.controlTooLong`.
    public mutating func ping(_ payload: Span<UInt8>, into output: inout ByteBuffer) throws(WebSocketMisuse) {
        try sendControl(WebSocketOpcode.ping, payload, into: &output)
    }

    /// Sends a pong that nobody asked for, of at most 125 bytes (RFC 6455 section 5.5.3). Throws `.closed`, `.controlTooLong`.
    public mutating func pong(_ payload: Span<UInt8>, into output: inout ByteBuffer) throws(WebSocketMisuse) {
        try sendControl(WebSocketOpcode.pong, payload, into: &output)
    }

    private mutating func sendControl(_ opcode: UInt8, _ payload: Span<UInt8>, into output: inout ByteBuffer) throws(WebSocketMisuse) {
        guard maySend else { throw .closed }
        guard payload.count <= WebSocketWire.controlMax else { throw .controlTooLong }
        let key = nextKey()
        Self.append(WebSocketWire.final | opcode, payload, key, into: &output)
    }

    /// Sends a Close, with a reason of at most 123 bytes of UTF-8; nothing may be sent after it. What the peer still says is told, up to its Close or
    /// until `WebSocketLimits.closeTimeout`. Where one is owed (`owesFarewell`) it is that one. 1005: without a code.
    /// Throws `.closed`, `.closeCodeInvalid`, `.reasonTooLong`, `.textInvalid`.
    public mutating func close(
        _ code: WebSocketCloseCode = .normal, reason: Span<UInt8> = Span(), into output: inout ByteBuffer
    ) throws(WebSocketMisuse) {
        guard maySend else { throw .closed }
        guard code.maySend || code == .noStatusReceived && reason.isEmpty else { throw .closeCodeInvalid }
        guard reason.count <= WebSocketWire.controlMax - 2 else { throw .reasonTooLong }
        guard WebSocketText.isWhole(reason) else { throw .textInvalid }
        appendClose(code, reason, into: &output)
        if phase == .owing { return end() }
        phase = .closing
        flags.insert(.asksTime)
        since = now
    }

    /// 1005: without a payload.
    mutating func appendClose(_ code: WebSocketCloseCode, _ reason: Span<UInt8>, into output: inout ByteBuffer) {
        var payload = ByteBuffer()
        if code != .noStatusReceived {
            payload.append(code.rawValue)
            payload.append(reason)
        }
        let key = nextKey()
        Self.append(WebSocketWire.final | WebSocketOpcode.close, payload.span, key, into: &output)
    }

    public mutating func send(_ message: WebSocketOutgoing, into output: inout ByteBuffer) throws(WebSocketMisuse) {
        switch message {
        case .text(let bytes): try send(.text, bytes.span, into: &output)
        case .binary(let bytes): try send(.binary, bytes.span, into: &output)
        case .ping(let bytes): try ping(bytes.span, into: &output)
        case .pong(let bytes): try pong(bytes.span, into: &output)
        case .close(let code, let reason): try close(code, reason: reason.span, into: &output)
        }
    }

    /// A client's next masking key; nil on a server.
    @inline(__always)
    mutating func nextKey() -> UInt32? { flags.contains(.isClient) ? keys.next() : nil }

    /// A whole frame: `first` is FIN, RSV1 and the opcode.
    @inline(__always)
    static func append(_ first: UInt8, _ payload: Span<UInt8>, _ key: UInt32?, into output: inout ByteBuffer) {
        output.appendWebSocketHeader(first, count: payload.count, isMasked: key != nil)
        guard let key else { return output.append(payload) }
        output.append(key.byteSwapped)
        output.append(payload, mask: key)
    }
}
