/// What is asked of a server. The client adds Host, how long the content is, and Accept, Accept-Encoding and User-Agent where they are missing.
public struct HTTPClientRequest: Sendable {
    /// As it is sent: "GET". With a field Upgrade the server may answer 101: see `HTTPClientResponse.tunnel`.
    public var method: String
    public var url: HTTPURL
    /// Beside the content's type. A field Host stands for the URL's; with "Expect: 100-continue" the content waits up to a second for the server's word.
    public var fields = HTTPFields()
    /// Sent as Content-Type, unless `fields` has one.
    public var contentType: HTTPContentType?
    /// Sent as Authorization, unless `fields` has one. Default: what the URL has before its `@`.
    public var credentials: HTTPCredentials?
    public var body: Body
    /// Where a CONNECT leads, instead of the URL's target.
    private(set) var authority: String?

    public struct Body: Sendable {
        public typealias Writer = @Sendable (HTTPRequestWriter) async throws -> Void
        enum Content: Sendable {
            case bytes([UInt8])
            case stream(length: UInt64?, Writer)
        }
        let content: Content

        public static let none = Body(content: .bytes([]))
        public static func bytes(_ bytes: [UInt8]) -> Body { Body(content: .bytes(bytes)) }
        public static func text(_ text: String) -> Body { Body(content: .bytes(Array(text.utf8))) }

        /// Written piece by piece, while it is sent, in a task of its own: the response may come before it has ended. With a `length` in bytes exactly so
        /// many have to be written. It is written once: such a request is not tried again, and not sent on by a redirect that wants the content again.
        public static func stream(length: UInt64? = nil, _ write: @escaping Writer) -> Body { Body(content: .stream(length: length, write)) }
    }

    public init(_ method: String, _ url: HTTPURL, contentType: HTTPContentType? = nil, body: Body = .none) {
        self.method = method
        self.url = url
        credentials = url.userName.map { .basic(user: $0, password: url.password ?? "") }
        self.contentType = contentType
        self.body = body
    }

    /// Throws `urlInvalid`.
    public init(_ method: String, _ url: String, contentType: HTTPContentType? = nil, body: Body = .none) throws(HTTPClientError) {
        self.init(method, try HTTPURL(url), contentType: contentType, body: body)
    }

    /// Asks a proxy for a tunnel to "HOST:PORT" (RFC 9110 section 9.3.6): of the URL only host, port and scheme count. Throws `urlInvalid`.
    public static func connect(to authority: String, through proxy: String) throws(HTTPClientError) -> HTTPClientRequest {
        var request = try HTTPClientRequest("CONNECT", proxy)
        request.authority = authority
        return request
    }

    /// "GET http://localhost:8000/items/5"
    var attempt: String { "\(method) \(authority.map { "\($0) through " } ?? "")\(url)" }

    /// Its content waits for the server's 100.
    var waitsForContinue: Bool { fields.value("expect")?.lowercased() == "100-continue" }

    /// What a server may see twice without harm (RFC 9110 section 9.2.2), and this side can send twice.
    var isRepeatable: Bool {
        guard ["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"].contains(method) else { return false }
        return canSendAgain
    }

    var canSendAgain: Bool { if case .bytes = body.content { true } else { false } }
}

/// Where a streaming request's content goes, until the closure that it was given to returns.
public struct HTTPRequestWriter: Sendable {
    let sending: HTTPSending

    /// Sends bytes; suspends while more than 256 KiB wait to leave. Throws when the server is gone or takes nothing for
    /// `HTTPClientOptions.silenceTimeout`, when more is written than was promised, and when the response has ended without waiting for it.
    public func write(_ bytes: [UInt8]) async throws(HTTPClientError) { try await sending.write(bytes) }

    public func write(_ text: String) async throws(HTTPClientError) { try await sending.write(Array(text.utf8)) }
}
