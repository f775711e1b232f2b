internal import MartletBytes

/// Thrown by a handler: the request cannot be answered, and the client is told why (`application/problem+json`, RFC 9457).
/// Any other error that a handler throws is a 500 without a word about it: `HTTPServerOptions.logger` has it, with the request's id.
public struct HTTPFailure: Error, Sendable, CustomStringConvertible {
    public var status: HTTPStatus
    /// One sentence, for whoever reads the answer.
    public var detail: String
    public var fields: HTTPFields

    public init(_ status: HTTPStatus, _ detail: String, fields: HTTPFields = HTTPFields()) {
        self.status = status
        self.detail = detail
        self.fields = fields
    }

    public static func badRequest(_ detail: String) -> HTTPFailure { HTTPFailure(.badRequest, detail) }
    public static func notFound(_ detail: String) -> HTTPFailure { HTTPFailure(.notFound, detail) }
    public static func forbidden(_ detail: String) -> HTTPFailure { HTTPFailure(.forbidden, detail) }
    public static func unprocessable(_ detail: String) -> HTTPFailure { HTTPFailure(.unprocessableContent, detail) }

    public var description: String { "\(status.rawValue): \(detail)" }

    /// What is sent for it.
    public var response: HTTPResponse {
        var response = HTTPResponse(status, contentType: .problem, body: .text("{\"status\":\(status.rawValue),\"detail\":\(HTTPFailure.quoted(detail))}"))
        response.fields = fields
        return response
    }

    /// What is sent for an error that is nobody's business.
    static func unexpected(id: String) -> HTTPResponse {
        HTTPResponse(
            .internalServerError, contentType: .problem,
            body: .text("{\"status\":500,\"detail\":\"the server failed to answer; its log has the reason\",\"request\":\"\(id)\"}"))
    }

    /// A JSON string (RFC 8259 section 7).
    static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case "\n": quoted += "\\n"
            case _ where scalar.value < 0x20:
                let digits = String(scalar.value, radix: 16)
                quoted += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
