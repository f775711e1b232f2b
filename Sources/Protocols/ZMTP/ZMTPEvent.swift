public import MartletBytes

/// Who a peer says it is. To be answered by `accept` or `refuse`; until then nothing is taken.
public enum ZMTPCredentials: Sendable, Equatable {
    /// Nothing is said: only its address tells.
    case null
    case plain(user: ByteRange, password: ByteRange)
    /// It has proven to have the secret key to this public one, of 32 bytes.
    case curve(publicKey: ByteRange)

    public enum Owned: Equatable, Sendable {
        case null
        case plain(user: [UInt8], password: [UInt8])
        case curve(publicKey: [UInt8])
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .null: .null
        case .plain(let user, let password): .plain(user: bytes.at(user).array, password: bytes.at(password).array)
        case .curve(let key): .curve(publicKey: bytes.at(key).array)
        }
    }
}

/// What the peer's metadata says. Property names have no case.
public struct ZMTPMetadata: Sendable, Equatable {
    public var socketType: ZMTPSocketType
    /// What a ROUTER may call it; empty: nothing was said, or the type has none.
    public var identity = ByteRange.empty
    /// Which of several services behind one address it wants; empty: nothing was said.
    public var resource = ByteRange.empty
    /// All properties: `ZMTPProperties` walks them. Empty in 2.0.
    public var properties = ByteRange.empty

    public struct Owned: Equatable, Sendable {
        public var socketType: ZMTPSocketType
        public var identity: [UInt8]
        public var resource: [UInt8]
        public var properties: [UInt8]

        public init(socketType: ZMTPSocketType, identity: [UInt8] = [], resource: [UInt8] = [], properties: [UInt8] = []) {
            self.socketType = socketType
            self.identity = identity
            self.resource = resource
            self.properties = properties
        }
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        Owned(
            socketType: socketType, identity: bytes.at(identity).array, resource: bytes.at(resource).array, properties: bytes.at(properties).array)
    }
}

/// What the peer said. Ranges speak of `ZMTPMachine.content(in:)`: the input, or with CURVE the machine's own buffer. They hold until the next event is asked for.
public enum ZMTPEvent: ProtocolEvent {
    /// Nothing to do: both know what to speak.
    case greeting(ZMTPVersion)
    /// Nothing to do: a step of the mechanism went well.
    case handshaking
    /// Call `accept` or `refuse`, now or later. It consumes nothing in NULL and CURVE.
    case authenticate(ZMTPCredentials)
    /// The handshake is over: messages may be sent.
    case ready(ZMTPMetadata)
    /// A frame of a message; `more`: the message goes on. What came of a message whose last frame never comes was never said.
    case frame(ByteRange, more: Bool)
    /// To PUB and XPUB: the peer wants what begins so, once more (a command, or in older versions a message).
    case subscribe(ByteRange)
    case cancel(ByteRange)
    /// To RADIO: the peer wants this group, or no longer.
    case join(ByteRange)
    case leave(ByteRange)
    /// Nothing to do: it was answered.
    case ping
    /// Nothing to do: the peer lives.
    case pong
    /// The peer does not want us, and says why. The machine is closed; to come again with the same credentials is no use.
    case refused(reason: ByteRange)
    /// Nothing to do: a command that nobody knows.
    case discarded
    /// Nothing to do: over WebSocket something came that is no whole frame.
    case part

    public enum Owned: Equatable, Sendable {
        case greeting(ZMTPVersion)
        case handshaking
        case authenticate(ZMTPCredentials.Owned)
        case ready(ZMTPMetadata.Owned)
        case frame([UInt8], more: Bool)
        case subscribe([UInt8])
        case cancel([UInt8])
        case join([UInt8])
        case leave([UInt8])
        case ping
        case pong
        case refused(reason: [UInt8])
        case discarded
        case part
    }

    /// `bytes`: the machine's `content(in:)`.
    public func owned(in bytes: Span<UInt8>) -> Owned {
        switch self {
        case .greeting(let version): .greeting(version)
        case .handshaking: .handshaking
        case .authenticate(let credentials): .authenticate(credentials.owned(in: bytes))
        case .ready(let metadata): .ready(metadata.owned(in: bytes))
        case .frame(let range, let more): .frame(bytes.at(range).array, more: more)
        case .subscribe(let range): .subscribe(bytes.at(range).array)
        case .cancel(let range): .cancel(bytes.at(range).array)
        case .join(let range): .join(bytes.at(range).array)
        case .leave(let range): .leave(bytes.at(range).array)
        case .ping: .ping
        case .pong: .pong
        case .refused(let reason): .refused(reason: bytes.at(reason).array)
        case .discarded: .discarded
        case .part: .part
        }
    }
}

/// Why a peer is not taken: ERROR's reason, in the codes of ZAP (RFC 27) that libzmq sends and reports.
public enum ZMTPRefusal: Sendable, Equatable {
    /// It may come again: nothing is said.
    case temporary
    /// 400: not with these credentials.
    case denied
    /// 500: who would know could not be asked.
    case failed

    var reason: StaticString? {
        switch self {
        case .temporary: nil
        case .denied: "400"
        case .failed: "500"
        }
    }
}

/// What this side says. `ZMTPMachine` has a method of the same name for each, without arrays.
public enum ZMTPOutgoing: Sendable, Equatable {
    /// The first word; without it, it goes out when the peer's first byte comes.
    case greeting
    case accept
    case refuse(ZMTPRefusal)
    /// A whole message of at least one frame.
    case message([[UInt8]])
    case frame([UInt8], more: Bool)
    case subscribe([UInt8])
    case cancel([UInt8])
    case join([UInt8])
    case leave([UInt8])
    case ping(context: [UInt8])
}
