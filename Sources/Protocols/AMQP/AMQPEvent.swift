public import MartletBytes

/// What the peer said, of either role. Ranges speak of the machine's input.
///
/// A message comes as one `content` when method, content header and the whole body lie in three frames that follow each other, as all do
/// whose body fits into one frame: nothing of it needs a copy before it is routed. The machine waits for the three, at most three times
/// frame-max. Another message comes as `method`, `header` and pieces of `body`, and frames of other channels may come between them.
/// Which of both it is the frames alone decide, not how they were cut into reads.
public enum AMQPEvent: ProtocolEvent {
    /// To a server: answer with connection.start.
    case protocolHeader
    /// A method without content, or one whose content comes in pieces. What it asks is the driver's to answer, connection.close and
    /// channel.close too. After connection.start, secure, tune, start-ok, secure-ok and open nothing is taken until they are answered.
    case method(channel: UInt16, AMQPMethod<ByteRange>)
    /// A whole message: publish, deliver, return or get-ok.
    case content(channel: UInt16, AMQPMethod<ByteRange>, AMQPContentHeader, body: ByteRange)
    /// The content header of a message in pieces; with a body size of 0 its end.
    case header(channel: UInt16, AMQPContentHeader)
    /// The next piece of a body; `remaining` 0: its end.
    case body(channel: UInt16, ByteRange, remaining: UInt64)
    /// The machine has closed the channel for a message above `AMQPLimits.bodySizeMax`: 406, as RabbitMQ. Its close-ok comes as a method.
    case bodyTooLarge(channel: UInt16, bodySize: UInt64)
    /// Nothing to do: the peer lives.
    case heartbeat
    /// Nothing to do: sent before the peer knew that the channel, or the connection, was being closed.
    case discarded(channel: UInt16)

    public enum Owned: Equatable, Sendable {
        case protocolHeader
        case method(channel: UInt16, AMQPMethod<[UInt8]>)
        case content(channel: UInt16, AMQPMethod<[UInt8]>, AMQPContentHeader.Owned, body: [UInt8])
        case header(channel: UInt16, AMQPContentHeader.Owned)
        case body(channel: UInt16, [UInt8], remaining: UInt64)
        case bodyTooLarge(channel: UInt16, bodySize: UInt64)
        case heartbeat
        case discarded(channel: UInt16)
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .protocolHeader: .protocolHeader
        case .method(let channel, let method): .method(channel: channel, method.owned(in: bytes))
        case .content(let channel, let method, let header, let body):
            .content(channel: channel, method.owned(in: bytes), header.owned(in: bytes), body: bytes.at(body).array)
        case .header(let channel, let header): .header(channel: channel, header.owned(in: bytes))
        case .body(let channel, let piece, let remaining): .body(channel: channel, bytes.at(piece).array, remaining: remaining)
        case .bodyTooLarge(let channel, let bodySize): .bodyTooLarge(channel: channel, bodySize: bodySize)
        case .heartbeat: .heartbeat
        case .discarded(let channel): .discarded(channel: channel)
        }
    }
}

/// What a side says. Messages go by the client's `publish` and a server's `AMQPServerEncoder` without a copy.
public enum AMQPOutgoing: Equatable, Sendable {
    /// The client's first word.
    case protocolHeader
    case method(channel: UInt16, AMQPMethod<[UInt8]>)
    case content(channel: UInt16, AMQPMethod<[UInt8]>, properties: AMQPProperties, body: [UInt8])
}
