public import MartletBytes

/// What a peer said. Ranges speak of the machine's own `content`, for what comes is unmasked and inflated; they hold until the next event is asked for.
public enum WebSocketEvent: ProtocolEvent, BitwiseCopyable {
    /// A whole message, which is UTF-8.
    case text(ByteRange)
    /// A whole message.
    case binary(ByteRange)
    /// Bytes of a message that is not whole were taken; there is nothing to do. Where it is cut means nothing.
    case part
    /// A ping; the pong is in the output already.
    case ping(ByteRange)
    /// A pong, asked for or not. Of the machine's own pings, `latency` is known now.
    case pong(ByteRange)
    /// The peer's Close, 1005 if it has no code: nothing comes after it. The answer is in the output already, unless the driver holds it back.
    case close(WebSocketCloseCode, reason: ByteRange)

    public enum Owned: Equatable, Sendable {
        case text([UInt8])
        case binary([UInt8])
        case part
        case ping([UInt8])
        case pong([UInt8])
        case close(WebSocketCloseCode, reason: [UInt8])
    }

    /// `bytes`: the machine's content.
    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .text(let range): .text(bytes.at(range).array)
        case .binary(let range): .binary(bytes.at(range).array)
        case .part: .part
        case .ping(let range): .ping(bytes.at(range).array)
        case .pong(let range): .pong(bytes.at(range).array)
        case .close(let code, let reason): .close(code, reason: bytes.at(reason).array)
        }
    }
}

/// What either side says. `WebSocketMachine` has a method for each, without arrays.
public enum WebSocketOutgoing: Sendable {
    case text([UInt8])
    case binary([UInt8])
    case ping([UInt8])
    case pong([UInt8])
    /// 1005: without a code.
    case close(WebSocketCloseCode, reason: [UInt8] = [])
}

/// What a message is.
public enum WebSocketMessageKind: UInt8, Sendable {
    case text = 1
    case binary = 2
}
