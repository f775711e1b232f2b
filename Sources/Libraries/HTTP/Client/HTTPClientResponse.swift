/// What a server answered. Its content is read from `body`; one that is neither read to its end nor small costs the connection when it is dropped.
public struct HTTPClientResponse: Sendable {
    public let status: HTTPStatus
    public let fields: HTTPFields
    /// Where it came from in the end: redirects may have led elsewhere.
    public let url: HTTPURL
    public let body: HTTPClientBody
    /// After a 101, or a success of CONNECT: the connection in the other protocol, which is the caller's. The content is empty then.
    public internal(set) var tunnel: HTTPTunnel?

    /// Grow until the content is whole.
    public var timings: HTTPClientTimings {
        var timings = body.content.exchange.timings
        timings.attempts = attempts
        timings.redirects = redirects
        return timings
    }
    var attempts = 1
    var redirects = 0

    /// All of the content. Throws `bodyTooLong` above `max` bytes, and what reading throws.
    public func collect(max: Int = 16 << 20) async throws(HTTPClientError) -> [UInt8] { try await body.collect(max: max) }

    /// All of the content as UTF-8; what is none is replaced by U+FFFD.
    public func text(max: Int = 16 << 20) async throws(HTTPClientError) -> String { String(decoding: try await body.collect(max: max), as: UTF8.self) }
}

/// A response's content as it comes, in pieces of any size. One task reads, once. Not reading is back-pressure: the server is not read from while
/// `StreamOptions.receiveLimit` bytes wait.
public struct HTTPClientBody: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = HTTPClientError
    let content: HTTPClientContent

    public struct AsyncIterator: AsyncIteratorProtocol {
        let content: HTTPClientContent
        public mutating func next() async throws(HTTPClientError) -> [UInt8]? { try await content.next() }
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(HTTPClientError) -> [UInt8]? { try await content.next() }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(content: content) }

    /// All of it. Throws `bodyTooLong` above `max` bytes.
    public func collect(max: Int = 16 << 20) async throws(HTTPClientError) -> [UInt8] {
        var all: [UInt8] = []
        while let piece = try await content.next() {
            guard all.count + piece.count <= max else {
                content.exchange.abandon()
                throw HTTPClientError(.bodyTooLong, "\(content.attempt): the response has more than the \(max) bytes that are taken")
            }
            if all.isEmpty { all = piece } else { all += piece }
        }
        return all
    }
}
