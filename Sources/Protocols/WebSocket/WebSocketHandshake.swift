internal import MartletBytes

/// The fields of an upgrade's request that WebSocket reads, with the values of fields of one name joined by ", "; nil: not there.
/// That it is a GET in HTTP/1.1 with `Upgrade: websocket` is HTTP's to see.
public struct WebSocketRequest: Sendable {
    public var version: String?
    public var key: String?
    public var subprotocols: String?
    public var extensions: String?
    public var origin: String?
    public var host: String?

    public init(version: String?, key: String?, subprotocols: String? = nil, extensions: String? = nil, origin: String? = nil, host: String? = nil) {
        self.version = version
        self.key = key
        self.subprotocols = subprotocols
        self.extensions = extensions
        self.origin = origin
        self.host = host
    }
}

/// What both sides agreed on.
public struct WebSocketAgreement: Equatable, Sendable {
    /// Nil: none.
    public var subprotocol: String?
    /// Nil: messages go as they are.
    public var deflate: WebSocketDeflateParameters?

    public init(subprotocol: String? = nil, deflate: WebSocketDeflateParameters? = nil) {
        self.subprotocol = subprotocol
        self.deflate = deflate
    }
}

/// Why a server does not upgrade.
public enum WebSocketRefusal: String, Error, CaseIterable, Sendable {
    case version = "WebSocket is spoken in version 13 here (RFC 6455, 4.4)"
    case key = "Sec-WebSocket-Key is not Base64 of 16 bytes (RFC 6455, 4.2.1)"
    case extensions = "Sec-WebSocket-Extensions cannot be read (RFC 6455, 9.1)"
    case subprotocols = "Sec-WebSocket-Protocol cannot be read (RFC 6455, 4.1)"
    case subprotocolMissing = "none of the subprotocols is spoken here (RFC 6455, 4.2.2)"
    case origin = "pages of this origin are not served (RFC 6455, 10.2)"

    /// The response's status.
    public var status: UInt16 {
        switch self {
        case .version: 426
        case .origin: 403
        default: 400
        }
    }

    /// Fields of the response.
    public var fields: [(name: String, value: String)] {
        self == .version ? [("Sec-WebSocket-Version", "13"), ("Upgrade", "websocket")] : []
    }
}

/// Whose pages may connect: a browser tells in Origin, other programs may say anything or nothing (RFC 6455 section 10.2).
public enum WebSocketOrigins: Equatable, Sendable {
    case any
    /// Pages of the host and port that the request was sent to, and programs that name no origin.
    case sameHost
    /// As `sameHost`; and where that host is this machine's own name (localhost, 127.0.0.1, [::1]), its pages on any port, and pages without an origin,
    /// as files are.
    case local
    /// These, `https://example.org` or `http://localhost:8080` say, in small letters; and programs that name none.
    case these(Set<String>)

    func allows(_ origin: String?, host: String?) -> Bool {
        guard let origin = origin?.lowercased() else { return true }
        switch self {
        case .any: return true
        case .local:
            if let host, Self.isLocal(host), origin == "null" || Self.isLocal(origin) { return true }
            return Self.sameHost.allows(origin, host: host)
        case .sameHost:
            guard let host = host?.lowercased(), let scheme = origin.firstRange(of: "://") else { return false }
            let place = origin[scheme.upperBound...]
            // A browser leaves a scheme's own port out of both.
            return place == host || place + (origin.hasPrefix("https") ? ":443" : ":80") == host
        case .these(let origins): return origins.contains(origin)
        }
    }

    /// A place that only this machine's programs reach: "localhost:8765", "http://[::1]".
    private static func isLocal(_ text: String) -> Bool {
        let place = (text.firstRange(of: "://").map { text[$0.upperBound...] } ?? text[...]).lowercased()
        return ["localhost", "127.0.0.1", "[::1]"].contains { place == $0 || place.hasPrefix($0 + ":") }
    }
}

/// A server's side of the handshake, behind HTTP (RFC 6455 section 4.2): a request in, an answer or a refusal out.
public struct WebSocketServerHandshake: Sendable {
    /// What is spoken; the client's order decides.
    public var subprotocols: [String]
    /// A client that offers none of them is refused.
    public var needsSubprotocol = false
    public var origins: WebSocketOrigins
    /// Nil: permessage-deflate is declined.
    public var deflate: WebSocketDeflateOptions?

    public init(subprotocols: [String] = [], origins: WebSocketOrigins = .any, deflate: WebSocketDeflateOptions? = nil) {
        self.subprotocols = subprotocols
        self.origins = origins
        self.deflate = deflate
    }

    /// A list of tokens, in which a slash is taken too: ZeroMQ's subprotocols (ZWS2.0/NULL) have one. Nil if it is none.
    private static func names(_ value: String) -> [String]? {
        var walk = WebSocketListWalk(value.utf8), names: [String] = []
        while true {
            walk.skipBlanks(andCommas: true)
            if walk.isAtEnd { return names }
            guard var name = walk.token() else { return nil }
            while walk.take(UInt8(ascii: "/")) {
                guard let part = walk.token() else { return nil }
                name += "/" + part
            }
            names.append(name)
            walk.skipBlanks()
            guard walk.isAtEnd || walk.take(UInt8(ascii: ",")) else { return nil }
        }
    }

    /// The answer's fields beside Upgrade and Connection, and what they mean.
    public func answer(_ request: WebSocketRequest) throws(WebSocketRefusal) -> (fields: [(name: String, value: String)], agreement: WebSocketAgreement) {
        guard request.version == "13" else { throw .version }
        guard let key = request.key, WebSocketKey.isKey(Array(key.utf8)) else { throw .key }
        guard origins.allows(request.origin, host: request.host) else { throw .origin }
        var agreement = WebSocketAgreement(), fields = [(name: "Sec-WebSocket-Accept", value: WebSocketKey.accept(key.utf8))]
        if let offered = request.subprotocols {
            guard let names = Self.names(offered) else { throw .subprotocols }
            agreement.subprotocol = names.first { subprotocols.contains($0) }
        }
        if let subprotocol = agreement.subprotocol {
            fields.append(("Sec-WebSocket-Protocol", subprotocol))
        } else if needsSubprotocol {
            throw .subprotocolMissing
        }
        if let offered = request.extensions {
            guard let offers = WebSocketExtension.list(offered) else { throw .extensions }
            if let deflate, let offer = offers.lazy.filter({ $0.name == WebSocketDeflateParameters.extensionName }).compactMap(WebSocketDeflateTerms.init).first
            {
                let agreed = deflate.answer(offer)
                agreement.deflate = agreed
                fields.append(("Sec-WebSocket-Extensions", agreed.response))
            }
        }
        return (fields, agreement)
    }
}

/// Why a client does not take a server's answer.
public enum WebSocketHandshakeFailure: String, Error, CaseIterable, Sendable {
    case accept = "Sec-WebSocket-Accept is not the answer to the key (RFC 6455, 4.1)"
    case subprotocol = "a subprotocol that was not offered (RFC 6455, 4.1)"
    case extensions = "an extension that was not offered, or not so (RFC 6455, 4.1; RFC 7692, 7.1)"
}

/// A client's side of the handshake, behind HTTP (RFC 6455 section 4.1).
public struct WebSocketClientHandshake: Sendable {
    private let key: String
    let subprotocols: [String]
    private let deflate: WebSocketDeflateOptions?

    /// `nonce`: sixteen bytes from the system's generator. `subprotocols`: what is offered, the most wanted first; tokens.
    public init(nonce: (UInt64, UInt64), subprotocols: [String] = [], deflate: WebSocketDeflateOptions? = nil) {
        let words = [nonce.0, nonce.1]
        key = Base64.text(words.flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (8 * UInt64($0))) } })
        self.subprotocols = subprotocols
        self.deflate = deflate
    }

    /// The request's fields, Upgrade among them; Connection is HTTP's to write.
    public var fields: [(name: String, value: String)] {
        var fields = [("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key)]
        if !subprotocols.isEmpty { fields.append(("Sec-WebSocket-Protocol", subprotocols.joined(separator: ", "))) }
        if let deflate { fields.append(("Sec-WebSocket-Extensions", deflate.offer)) }
        return fields.map { (name: $0.0, value: $0.1) }
    }

    /// What the fields of a 101 mean; nil: not there. Fields of one name are joined by ", ".
    public func agree(accept: String?, subprotocol: String?, extensions: String?) throws(WebSocketHandshakeFailure) -> WebSocketAgreement {
        guard accept == WebSocketKey.accept(key.utf8) else { throw .accept }
        var agreement = WebSocketAgreement()
        if let subprotocol {
            guard subprotocols.contains(subprotocol) else { throw .subprotocol }
            agreement.subprotocol = subprotocol
        }
        if let extensions {
            guard let list = WebSocketExtension.list(extensions), list.count <= 1 else { throw .extensions }
            if let answer = list.first {
                guard answer.name == WebSocketDeflateParameters.extensionName, let deflate, let terms = WebSocketDeflateTerms(answer),
                    let agreed = deflate.agree(terms)
                else { throw .extensions }
                agreement.deflate = agreed
            }
        }
        return agreement
    }
}
