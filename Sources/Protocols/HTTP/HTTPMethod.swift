/// A request's method (RFC 9110 section 9.3, RFC 5789). Methods are case-sensitive: `get` is `other`.
public enum HTTPMethod: UInt8, Hashable, Sendable, CaseIterable, BitwiseCopyable {
    case get, head, post, put, delete, patch, options, connect, trace
    /// One that is not listed here; its name stands in the request line.
    case other

    /// As it is written; of `other` nothing.
    public var name: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .patch: "PATCH"
        case .options: "OPTIONS"
        case .connect: "CONNECT"
        case .trace: "TRACE"
        case .other: ""
        }
    }

    /// From the name's last eight bytes as one number, the last byte lowest. No name here is longer than seven.
    init(code: UInt64) {
        self =
            switch code {
            case 0x47_4554: .get
            case 0x4845_4144: .head
            case 0x504F_5354: .post
            case 0x50_5554: .put
            case 0x4445_4C45_5445: .delete
            case 0x50_4154_4348: .patch
            case 0x4F_5054_494F_4E53: .options
            case 0x43_4F4E_4E45_4354: .connect
            case 0x54_5241_4345: .trace
            default: .other
            }
    }

    init(name: Span<UInt8>) {
        guard name.count < 8 else { self = .other; return }
        var code: UInt64 = 0
        for at in 0..<name.count { code = code << 8 | UInt64(name[at]) }
        self.init(code: code)
    }
}
