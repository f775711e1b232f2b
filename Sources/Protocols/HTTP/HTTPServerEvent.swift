public import MartletBytes

/// What a client said. Ranges speak of the machine's input.
public enum HTTPServerEvent: ProtocolEvent {
    /// Answer with `begin`, `append` and `end`; the next request is read when both this one and its response have ended.
    case request(HTTPRequestHead)
    /// A piece of the request's content; where it is cut means nothing.
    case body(ByteRange)
    /// The request is whole. The field lines behind chunked content, mostly none.
    case end(trailers: ByteRange)
    /// Bytes of the protocol that was switched to, or through the tunnel that CONNECT asked for.
    case tunnel(ByteRange)

    public enum Owned: Equatable, Sendable {
        case request(HTTPRequestHead.Owned)
        case body([UInt8])
        case end(trailers: [UInt8])
        case tunnel([UInt8])
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .request(let head): .request(head.owned(in: bytes))
        case .body(let range): .body(bytes.at(range).array)
        case .end(let trailers): .end(trailers: bytes.at(trailers).array)
        case .tunnel(let range): .tunnel(bytes.at(range).array)
        }
    }
}

/// What a server says. `HTTPServerMachine` has a method of the same name for each, without arrays.
public enum HTTPServerOutgoing: Sendable {
    case inform(UInt16, fields: [UInt8] = [])
    case begin(UInt16, fields: [UInt8] = [], content: HTTPContentLength)
    case append([UInt8])
    case end(trailers: [UInt8] = [])
    case accept(UInt16, fields: [UInt8] = [])
    /// A whole response.
    case response(UInt16, fields: [UInt8] = [], content: [UInt8] = [])
}
