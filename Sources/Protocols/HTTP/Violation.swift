/// How the peer broke the protocol: its sentence says what is wrong and where the rule stands. When a server's machine throws one, its output
/// holds a whole response that says so, unless another response had begun; write it, then close.
public enum HTTPViolation: String, Error, Equatable, Sendable, CaseIterable {
    // The start line.
    case requestLine = "the request line is not a method, a target and a version with one blank between them (RFC 9112, 3)"
    case method = "a byte in the method that no token holds (RFC 9110, 9.1)"
    case target = "a control byte or one beyond ASCII in the request target (RFC 9112, 3.2)"
    case fragment = "a fragment in the request target (RFC 9112, 3.2)"
    case targetForm = "a request target in a form that its method does not have (RFC 9112, 3.2)"
    case targetAuthority = "an authority in the request target that is no host and port (RFC 9112, 3.2)"
    case version = "a version that is not HTTP/1.0 or HTTP/1.1 (RFC 9112, 2.3)"
    case targetTooLong = "a request line longer than the limit (RFC 9112, 3)"
    case statusLine = "the status line is not a version, three digits and a reason (RFC 9112, 4)"
    case statusLineTooLong = "a status line longer than the limit (RFC 9112, 4)"

    // Lines.
    case bareLineFeed = "a line feed without a carriage return before it (RFC 9112, 2.2)"
    case bareCarriageReturn = "a carriage return without a line feed behind it (RFC 9112, 2.2)"
    case foldedLine = "a field line that begins with a blank (RFC 9112, 5.2)"
    case blankBeforeColon = "a blank between a field's name and its colon (RFC 9112, 5.1)"
    case noColon = "a field line without a colon (RFC 9112, 5)"
    case fieldName = "a byte in a field's name that no token holds, or no name at all (RFC 9110, 5.1)"
    case fieldValue = "a control byte in a field's value (RFC 9110, 5.5)"
    case fieldsTooLong = "field lines longer than the limit (RFC 9110, 5.4)"
    case fieldsTooMany = "more field lines than the limit (RFC 9110, 5.4)"

    // What the fields say.
    case hostMissing = "a request without Host (RFC 9112, 3.2)"
    case hostTwice = "two Host fields (RFC 9112, 3.2)"
    case host = "a Host that is no host and port (RFC 9110, 7.2)"
    case hostDiffers = "another Host than the request target's (RFC 9112, 3.2.2)"
    case contentLength = "a Content-Length that is not one number (RFC 9110, 8.6)"
    case contentLengthTwice = "two Content-Length fields (RFC 9112, 6.3)"
    case contentLengthAndTransferEncoding = "Content-Length and Transfer-Encoding together (RFC 9112, 6.1)"
    case transferEncoding = "a Transfer-Encoding that does not end in one chunked (RFC 9112, 6.1)"
    case transferEncodingTwice = "two Transfer-Encoding fields (RFC 9112, 6.1)"
    case transferEncodingInOldVersion = "Transfer-Encoding in HTTP/1.0 (RFC 9112, 6.1)"
    case transferCodingUnknown = "a transfer coding other than chunked (RFC 9112, 7)"
    case connectContent = "content in a CONNECT (RFC 9110, 9.3.6)"
    case expectation = "an expectation other than 100-continue (RFC 9110, 10.1.1)"
    case bodyTooLong = "content longer than the limit (RFC 9110, 15.5.14)"

    // Chunks and trailers.
    case chunkSize = "a chunk's size that is not a hexadecimal number (RFC 9112, 7.1)"
    case chunkExtension = "a chunk's extension that is none (RFC 9112, 7.1.1)"
    case chunkLineTooLong = "a chunk's line longer than the limit (RFC 9112, 7.1.1)"
    case chunkEnd = "a chunk that does not end where its size says (RFC 9112, 7.1)"
    case trailerField = "a field among the trailers that belongs into the head (RFC 9110, 6.5.1)"

    // Time and ends.
    case headTimedOut = "the head did not come in time"
    case bodyTooSlow = "the content came too slowly"
    /// Nothing is said: a response that nobody asked for would be taken for the next request's.
    case idle = "no request came in time"
    case ended = "the connection ended in the middle of a message (RFC 9112, 8)"

    // A client's own.
    case informationTooMuch = "more informational responses than 32 before the final one (RFC 9110, 15.2)"
    case switching = "a switch of protocols that was not asked for (RFC 9110, 15.2.2)"
    /// It may have been on its way to close the connection when the request came: one that may be repeated can be.
    case endedUnanswered = "the connection ended before a response (RFC 9112, 9.3.1)"
    case unasked = "bytes without a request before them (RFC 9112, 9.2)"

    /// The status of the response that says it. For a client's own: what a gateway would answer for such a server.
    public var status: UInt16 {
        switch self {
        case .version: 505
        case .targetTooLong: 414
        case .fieldsTooLong, .fieldsTooMany: 431
        case .transferCodingUnknown: 501
        case .expectation: 417
        case .bodyTooLong: 413
        case .headTimedOut, .bodyTooSlow, .idle: 408
        case .statusLine, .statusLineTooLong, .informationTooMuch, .switching, .endedUnanswered, .unasked: 502
        default: 400
        }
    }
}

extension HTTPViolation: CustomStringConvertible {
    public var description: String { "\(status): \(rawValue)" }
}
