/// The SASL mechanisms of connection.start and the responses of start-ok (RFC 4616, RFC 4422 appendix A, RFC 4505).
///
/// Not here: whether a user may come in (the broker's), and RabbitMQ's AMQPLAIN, which no client needs.
public enum AMQPSASL: Equatable, Sendable {
    case plain(user: [UInt8], password: [UInt8], authorization: [UInt8] = [])
    /// Who it is the TLS certificate says; `authorization` may ask for another identity.
    case external(authorization: [UInt8] = [])
    case anonymous(trace: [UInt8] = [])

    /// What start-ok names.
    public var mechanism: [UInt8] {
        switch self {
        case .plain: Array("PLAIN".utf8)
        case .external: Array("EXTERNAL".utf8)
        case .anonymous: Array("ANONYMOUS".utf8)
        }
    }

    /// What start-ok carries, or secure-ok when start-ok carried nothing.
    public var response: [UInt8] {
        switch self {
        case .plain(let user, let password, let authorization): authorization + [0] + user + [0] + password
        case .external(let authorization): authorization
        case .anonymous(let trace): trace
        }
    }

    /// `nil`: another mechanism, or a PLAIN response without its two NULs. PLAIN's user and password hold none (RFC 4616 section 2).
    public init?(mechanism: [UInt8], response: [UInt8]) {
        switch String(decoding: mechanism, as: UTF8.self) {
        case "PLAIN":
            let parts = response.split(separator: 0, omittingEmptySubsequences: false)
            guard parts.count == 3 else { return nil }
            self = .plain(user: Array(parts[1]), password: Array(parts[2]), authorization: Array(parts[0]))
        case "EXTERNAL": self = .external(authorization: response)
        case "ANONYMOUS": self = .anonymous(trace: response)
        default: return nil
        }
    }

    /// Whether `name` stands in the list of connection.start, whose words blanks part.
    public static func offers(_ mechanisms: [UInt8], _ name: [UInt8]) -> Bool {
        mechanisms.split(separator: UInt8(ascii: " ")).contains { $0.elementsEqual(name) }
    }
}
