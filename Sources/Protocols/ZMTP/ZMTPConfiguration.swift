public import MartletCurve

/// How peers prove who they are, and whether others can read along. Both ends of a connection have the same, one as its server.
public enum ZMTPSecurity: Sendable, Equatable {
    /// RFC 37: nothing is proven.
    case null
    /// RFC 24: at most 255 bytes each, in the clear.
    case plainClient(user: [UInt8], password: [UInt8])
    /// RFC 24: each HELLO is an event to be answered.
    case plainServer
    /// RFC 26: `server` is the public key that the other end has to prove.
    case curveClient(CurveKeyPair, server: CurvePublicKey)
    /// RFC 26: each client's public key is an event to be answered.
    case curveServer(CurveKeyPair)

    /// As the greeting has it.
    public var mechanism: StaticString {
        switch self {
        case .null: "NULL"
        case .plainClient, .plainServer: "PLAIN"
        case .curveClient, .curveServer: "CURVE"
        }
    }

    var isServer: Bool {
        switch self {
        case .plainServer, .curveServer: true
        case .null, .plainClient, .curveClient: false
        }
    }

    var isCurve: Bool {
        switch self {
        case .curveClient, .curveServer: true
        case .null, .plainClient, .plainServer: false
        }
    }
}

/// What all connections of one socket have in common: an object, so that a connection holds one word of it.
public final class ZMTPConfiguration: Sendable {
    /// Ours; `nil`: the counterpart of whatever the peer is. Two such ends would wait for each other, and so would the client of a mechanism.
    public let socketType: ZMTPSocketType?
    /// What a ROUTER may call us: at most 255 bytes, the first of them not zero. Empty: it finds a name. Sent by REQ, DEALER and ROUTER.
    public let identity: [UInt8]
    /// Further properties, in order: names of 1 to 255 letters, digits, `-`, `_`, `.` and `+`. Those for the application begin with `X-`.
    public let properties: [(name: [UInt8], value: [UInt8])]
    public let security: ZMTPSecurity
    /// NULL: whether `ZMTPEvent.authenticate` comes, to look at the peer's address before it is told that it may talk. The servers of PLAIN and CURVE always ask.
    public let asksForNull: Bool
    /// Whether a 2.0 peer is talked to. It never is where something has to be proven.
    public let takesOldPeers: Bool
    public let limits: ZMTPLimits
    public let heartbeat: ZMTPHeartbeat

    /// Traps when a value is not what is said of it.
    public init(
        _ socketType: ZMTPSocketType?, security: ZMTPSecurity = .null, identity: [UInt8] = [], properties: [(name: [UInt8], value: [UInt8])] = [],
        asksForNull: Bool = false, takesOldPeers: Bool = true, limits: ZMTPLimits = ZMTPLimits(), heartbeat: ZMTPHeartbeat = ZMTPHeartbeat()
    ) {
        precondition(identity.count <= 255 && identity.first != 0, "an identity of \(identity.count) bytes that begins with \(identity.first ?? 1)")
        precondition(properties.allSatisfy { ZMTPProperties.isName($0.name.span) }, "a property's name")
        switch security {
        case .plainClient(let user, let password):
            precondition(user.count <= 255 && password.count <= 255, "a user or password of over 255 bytes")
            precondition(socketType != nil, "a client of a mechanism speaks first")
        case .curveClient: precondition(socketType != nil, "a client of a mechanism speaks first")
        case .null, .plainServer, .curveServer: break
        }
        self.socketType = socketType
        self.identity = identity
        self.properties = properties
        self.security = security
        self.asksForNull = asksForNull
        self.takesOldPeers = takesOldPeers
        self.limits = limits
        self.heartbeat = heartbeat
    }
}
