/// What is answered. The server adds Date, Server, and how long the content is; to HEAD it sends the same without the content.
public struct HTTPResponse: Sendable {
    public var status: HTTPStatus
    /// Beside the content's type, and without what `HTTPFieldRefusal.framing` names.
    public var fields = HTTPFields()
    /// Sent as Content-Type, unless `fields` has one.
    public var contentType: HTTPContentType?
    public var body: Body

    public struct Body: Sendable {
        public typealias Writer = @Sendable (HTTPBodyWriter) async throws -> Void
        enum Content: Sendable {
            case bytes([UInt8])
            case stream(length: UInt64?, Writer)
            /// Of the protocol, or a CONNECT's.
            case tunnel(String?, HTTPTunnel.Body)
            case succession(String, any HTTPSuccession)
        }
        let content: Content

        public static let none = Body(content: .bytes([]))
        public static func bytes(_ bytes: [UInt8]) -> Body { Body(content: .bytes(bytes)) }
        public static func text(_ text: String) -> Body { Body(content: .bytes(Array(text.utf8))) }

        /// Written piece by piece, while it is sent. With a `length` in bytes exactly so many have to be written: the client is told beforehand, and
        /// the connection is broken if they are not. Without, the end is where `write` returns. An error that it throws breaks the connection,
        /// since a client must not take a part for the whole.
        public static func stream(length: UInt64? = nil, _ write: @escaping Writer) -> Body { Body(content: .stream(length: length, write)) }
    }

    public init(_ status: HTTPStatus = .ok, contentType: HTTPContentType? = nil, body: Body = .none) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    public static func text(_ text: String, status: HTTPStatus = .ok) -> HTTPResponse { HTTPResponse(status, contentType: .text, body: .text(text)) }
    public static func html(_ text: String, status: HTTPStatus = .ok) -> HTTPResponse { HTTPResponse(status, contentType: .html, body: .text(text)) }

    /// Text that is JSON already.
    public static func json(_ text: String, status: HTTPStatus = .ok) -> HTTPResponse { HTTPResponse(status, contentType: .json, body: .text(text)) }
    public static func json(_ bytes: [UInt8], status: HTTPStatus = .ok) -> HTTPResponse { HTTPResponse(status, contentType: .json, body: .bytes(bytes)) }

    /// To another place: an absolute URL or a path. Throws for what is no field value.
    public static func redirect(to location: String, status: HTTPStatus = .found) throws(HTTPFieldRefusal) -> HTTPResponse {
        var response = HTTPResponse(status)
        try response.fields.set("Location", to: location)
        return response
    }
}
