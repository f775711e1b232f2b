/// What stands around the deflated bytes.
public enum DeflateFormat: Sendable {
    /// A gzip member (RFC 1952): HTTP's "gzip".
    case gzip
    /// RFC 1950: HTTP's "deflate".
    case zlib
    /// Nothing (RFC 1951).
    case raw

    var window: Int32 {
        switch self {
        case .gzip: 31
        case .zlib: 15
        case .raw: -15
        }
    }
}
