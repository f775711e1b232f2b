/// What stands around the deflated bytes.
public enum DeflateFormat: Sendable {
    /// A gzip member (RFC 1952): HTTP's "gzip".
    case gzip
    /// RFC 1950: HTTP's "deflate".
    case zlib
    /// Nothing (RFC 1951).
    case raw

    /// As zlib wants to be told of it.
    func window(_ bits: Int) -> Int32 {
        switch self {
        case .gzip: Int32(bits) + 16
        case .zlib: Int32(bits)
        case .raw: -Int32(bits)
        }
    }
}
