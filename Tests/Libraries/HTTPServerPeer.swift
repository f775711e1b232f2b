import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// A server on a free port for one test: `body` is given its place, and the server ends in good order behind it.
func withHTTPServer<Result: Sendable>(
    options: HTTPServerOptions = HTTPServerOptions(), on address: String = "http://127.0.0.1:0", router: HTTPRouter? = nil,
    _ handler: @escaping HTTPHandler = { _ in .text("") },
    _ body: @escaping @Sendable (String) async throws -> Result
) async throws -> Result {
    let (places, source) = AsyncStream.makeStream(of: String.self)
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask {
            defer { source.finish() }
            let ready: @Sendable (SocketAddress) -> Void = { source.yield("\($0)") }
            if let router {
                try await HTTPServer.serve(on: address, options: options, ready: ready, router)
            } else {
                try await HTTPServer.serve(on: address, options: options, ready: ready, handler)
            }
            return nil
        }
        var result: Result?
        for await place in places {
            result = try await body(place)
            break
        }
        group.cancelAll()
        try await group.waitForAll()
        return try #require(result)
    }
}

/// Sends `text` as it is, and all that comes until the server ends the connection.
func exchange(_ text: String, with place: String) async throws -> String {
    try await TCP.withConnection(to: place) { connection in
        try await connection.write(text)
        return try await everything(of: connection)
    }
}

func everything(of connection: TCPConnection) async throws -> String {
    var bytes: [UInt8] = []
    while let piece = try await connection.read(timeout: .seconds(10)) { bytes += piece }
    return String(decoding: bytes, as: UTF8.self)
}

/// What comes, until it ends with `end`.
func answer(from connection: TCPConnection, until end: String) async throws -> String {
    var text = ""
    while !text.hasSuffix(end) {
        guard let piece = try await connection.read(timeout: .seconds(10)) else { break }
        text += String(decoding: piece, as: UTF8.self)
    }
    return text
}

/// A request whose answer ends the connection.
func request(_ line: String, _ fields: [String] = [], body: String = "") -> String {
    let length = body.isEmpty ? [] : ["Content-Length: \(body.utf8.count)"]
    return (["\(line) HTTP/1.1", "Host: x", "Connection: close"] + fields + length).joined(separator: "\r\n") + "\r\n\r\n" + body
}

extension String {
    var statusLine: String { String(prefix { $0 != "\r\n" }) }
    var content: String { firstRange(of: "\r\n\r\n").map { String(self[$0.upperBound...]) } ?? "" }
    /// How often a text is in it.
    func count(of text: String) -> Int { ranges(of: text).count }
}
