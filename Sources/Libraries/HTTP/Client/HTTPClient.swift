internal import MartletEventLoop

/// A client for HTTP. It keeps connections and uses them again; copies share them, and the last one that goes closes them.
public struct HTTPClient: Sendable {
    public let options: HTTPClientOptions
    let pool: HTTPClientPool
    /// Where every request goes, whatever its URL says: a handler in this process.
    var handlerPlace: Place?

    /// For programs that need no options of their own.
    public static let shared = HTTPClient()

    public init(options: HTTPClientOptions = HTTPClientOptions()) {
        var options = options
        if options.tls.applicationProtocols.isEmpty { options.tls.applicationProtocols = ["http/1.1"] }
        self.options = options
        pool = HTTPClientPool(options)
    }

    /// A client for the time that `body` takes; afterwards its connections are closed.
    public static func withClient<Result>(
        options: HTTPClientOptions = HTTPClientOptions(), _ body: (HTTPClient) async throws -> Result
    ) async rethrows -> Result {
        let client = HTTPClient(options: options)
        defer { client.close() }
        return try await body(client)
    }

    /// A client whose requests, to whatever host, are answered by `handler` in this process, for tests: no port is opened. What they go through is the
    /// server itself, over a Unix socket of a random abstract name; https is answered without TLS. The server ends with `body`.
    public static func withHandler<Result: Sendable>(
        options: HTTPClientOptions = HTTPClientOptions(), _ handler: @escaping HTTPHandler, _ body: @escaping @Sendable (HTTPClient) async throws -> Result
    ) async throws -> Result {
        let name = "@martlet-\(UInt64.random(in: 0...UInt64.max))", isReady = Once<Void>()
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                defer { isReady.resume(returning: ()) }
                var serving = HTTPServerOptions()
                serving.grace = .zero
                try await HTTPServer.serve(on: "http+unix://\(name)", options: serving, ready: { _ in isReady.resume(returning: ()) }, handler)
                return nil
            }
            group.addTask {
                await isReady.wait()
                var client = HTTPClient(options: options)
                defer { client.close() }
                client.handlerPlace = .unix(name)
                return try await body(client)
            }
            defer { group.cancelAll() }
            while let result = try await group.next() { if let result { return result } }
            throw HTTPClientError(.closed, "the handler's server ended before the requests")
        }
    }

    /// Closes connections that are idle now, and the others when their responses are over. Requests that come later throw `closed`.
    public func close() { pool.close() }

    // MARK: Requests

    /// Sends a request and answers as soon as the response's head is there, whatever its status: a 404 is an answer, not an error.
    public func send(_ request: HTTPClientRequest) async throws(HTTPClientError) -> HTTPClientResponse {
        var run = HTTPRun(request, options)
        return try await run.response(by: self)
    }

    public func get(_ url: String, fields: HTTPFields = HTTPFields()) async throws(HTTPClientError) -> HTTPClientResponse {
        try await send("GET", url, fields)
    }
    public func head(_ url: String, fields: HTTPFields = HTTPFields()) async throws(HTTPClientError) -> HTTPClientResponse {
        try await send("HEAD", url, fields)
    }
    public func delete(_ url: String, fields: HTTPFields = HTTPFields()) async throws(HTTPClientError) -> HTTPClientResponse {
        try await send("DELETE", url, fields)
    }
    public func options(_ url: String, fields: HTTPFields = HTTPFields()) async throws(HTTPClientError) -> HTTPClientResponse {
        try await send("OPTIONS", url, fields)
    }
    public func post(
        _ url: String, _ body: HTTPClientRequest.Body = .none, contentType: HTTPContentType? = nil, fields: HTTPFields = HTTPFields()
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        try await send("POST", url, fields, contentType, body)
    }
    public func put(
        _ url: String, _ body: HTTPClientRequest.Body = .none, contentType: HTTPContentType? = nil, fields: HTTPFields = HTTPFields()
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        try await send("PUT", url, fields, contentType, body)
    }
    public func patch(
        _ url: String, _ body: HTTPClientRequest.Body = .none, contentType: HTTPContentType? = nil, fields: HTTPFields = HTTPFields()
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        try await send("PATCH", url, fields, contentType, body)
    }

    private func send(
        _ method: String, _ url: String, _ fields: HTTPFields, _ contentType: HTTPContentType? = nil, _ body: HTTPClientRequest.Body = .none
    ) async throws(HTTPClientError) -> HTTPClientResponse {
        var request = try HTTPClientRequest(method, url, contentType: contentType, body: body)
        request.fields = fields
        return try await send(request)
    }
}
