import MartletBytes

/// Status lines (RFC 9110 section 15 and the IANA registry). The reason is for people who read along; no program may.
enum HTTPStatus {
    /// Whether a response of this status has no content, whatever its request was (RFC 9110 section 6.4.1).
    static func hasNoContent(_ status: UInt16) -> Bool { status < 200 || status == 204 || status == 304 }

    static func appendLine(_ status: UInt16, into output: inout ByteBuffer) {
        if status == 200 { return output.append(literal: "HTTP/1.1 200 OK\r\n") }
        output.append(literal: "HTTP/1.1 ")
        output.append(UInt8(truncatingIfNeeded: status / 100 % 10) + 0x30)
        output.append(UInt8(truncatingIfNeeded: status / 10 % 10) + 0x30)
        output.append(UInt8(truncatingIfNeeded: status % 10) + 0x30)
        output.append(HTTPWire.blank)
        output.append(literal: reason(status))
        output.append(HTTPWire.lineEnd)
    }

    private static func reason(_ status: UInt16) -> StaticString {
        switch status {
        case 100..<200: informational(status)
        case 200..<300: successful(status)
        case 300..<400: redirection(status)
        case 400..<500: clientError(status)
        default: serverError(status)
        }
    }

    private static func informational(_ status: UInt16) -> StaticString {
        switch status {
        case 100: "Continue"
        case 101: "Switching Protocols"
        case 102: "Processing"
        case 103: "Early Hints"
        default: ""
        }
    }

    private static func successful(_ status: UInt16) -> StaticString {
        switch status {
        case 200: "OK"
        case 201: "Created"
        case 202: "Accepted"
        case 203: "Non-Authoritative Information"
        case 204: "No Content"
        case 205: "Reset Content"
        case 206: "Partial Content"
        case 207: "Multi-Status"
        case 208: "Already Reported"
        default: ""
        }
    }

    private static func redirection(_ status: UInt16) -> StaticString {
        switch status {
        case 300: "Multiple Choices"
        case 301: "Moved Permanently"
        case 302: "Found"
        case 303: "See Other"
        case 304: "Not Modified"
        case 307: "Temporary Redirect"
        case 308: "Permanent Redirect"
        default: ""
        }
    }

    private static func clientError(_ status: UInt16) -> StaticString {
        switch status {
        case 400: "Bad Request"
        case 401: "Unauthorized"
        case 402: "Payment Required"
        case 403: "Forbidden"
        case 404: "Not Found"
        case 405: "Method Not Allowed"
        case 406: "Not Acceptable"
        case 407: "Proxy Authentication Required"
        case 408: "Request Timeout"
        case 409: "Conflict"
        case 410: "Gone"
        case 411: "Length Required"
        case 412: "Precondition Failed"
        case 413: "Content Too Large"
        case 414: "URI Too Long"
        case 415: "Unsupported Media Type"
        case 416: "Range Not Satisfiable"
        case 417: "Expectation Failed"
        case 421: "Misdirected Request"
        case 422: "Unprocessable Content"
        case 423: "Locked"
        case 424: "Failed Dependency"
        case 425: "Too Early"
        case 426: "Upgrade Required"
        case 428: "Precondition Required"
        case 429: "Too Many Requests"
        case 431: "Request Header Fields Too Large"
        case 451: "Unavailable For Legal Reasons"
        default: ""
        }
    }

    private static func serverError(_ status: UInt16) -> StaticString {
        switch status {
        case 500: "Internal Server Error"
        case 501: "Not Implemented"
        case 502: "Bad Gateway"
        case 503: "Service Unavailable"
        case 504: "Gateway Timeout"
        case 505: "HTTP Version Not Supported"
        case 507: "Insufficient Storage"
        case 508: "Loop Detected"
        case 511: "Network Authentication Required"
        default: ""
        }
    }
}
