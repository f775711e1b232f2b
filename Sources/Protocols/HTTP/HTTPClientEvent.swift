public import MartletBytes

/// What a server said. Ranges speak of the machine's input.
public enum HTTPClientEvent: ProtocolEvent {
    /// A response before the final one: 100 (send the content now), 103.
    case information(HTTPResponseHead)
    /// The final response. After 101, and after a success of CONNECT, `.tunnel`s follow and no `.end`.
    case response(HTTPResponseHead)
    /// A piece of the response's content; where it is cut means nothing.
    case body(ByteRange)
    /// The response is whole. The field lines behind chunked content, mostly none.
    case end(trailers: ByteRange)
    /// Bytes of the protocol that was switched to, or through CONNECT's tunnel.
    case tunnel(ByteRange)

    public enum Owned: Equatable, Sendable {
        case information(HTTPResponseHead.Owned)
        case response(HTTPResponseHead.Owned)
        case body([UInt8])
        case end(trailers: [UInt8])
        case tunnel([UInt8])
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .information(let head): .information(head.owned(in: bytes))
        case .response(let head): .response(head.owned(in: bytes))
        case .body(let range): .body(bytes.at(range).array)
        case .end(let trailers): .end(trailers: bytes.at(trailers).array)
        case .tunnel(let range): .tunnel(bytes.at(range).array)
        }
    }
}

/// What a client says. `HTTPClientMachine` has a method of the same name for each, without arrays.
public enum HTTPClientOutgoing: Sendable {
    case begin(method: [UInt8], target: [UInt8], host: [UInt8], fields: [UInt8] = [], content: HTTPContentLength = .none)
    case append([UInt8])
    case end(trailers: [UInt8] = [])
}
