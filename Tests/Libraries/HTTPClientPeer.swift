import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// A server that says what it is told, byte by byte: `handler` has each connection, `body` the URL.
func withRawServer<Result: Sendable>(
    _ handler: @escaping @Sendable (TCPConnection, Int) async throws -> Void, _ body: @escaping @Sendable (String) async throws -> Result
) async throws -> Result {
    let (places, source) = AsyncStream.makeStream(of: String.self)
    let counter = Tally()
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask {
            try await TCP.listen(on: "127.0.0.1:0", ready: { source.yield("\($0)") }) { connection in
                try await handler(connection, counter.next())
            }
            return nil
        }
        var result: Result?
        for await place in places {
            result = try await body("http://\(place)")
            break
        }
        group.cancelAll()
        try await group.waitForAll()
        return try #require(result)
    }
}

final class Tally: Sendable {
    private let count = Mutex(0)

    /// 1, 2, …
    func next() -> Int {
        count.withLock { count in
            count += 1
            return count
        }
    }
    var value: Int { count.withLock { $0 } }
}

/// A request's head, as it came.
func hearHead(_ connection: TCPConnection) async throws -> String {
    var text = ""
    while !text.contains("\r\n\r\n") {
        guard let piece = try await connection.read(timeout: .seconds(10)) else { break }
        text += String(decoding: piece, as: UTF8.self)
    }
    return text
}

/// What a call that must fail throws.
func failure<Value>(of call: () async throws(HTTPClientError) -> Value) async -> HTTPClientError? {
    do throws(HTTPClientError) {
        _ = try await call()
        return nil
    } catch { return error }
}

func clientOptions(_ change: (inout HTTPClientOptions) -> Void = { _ in }) -> HTTPClientOptions {
    var options = HTTPClientOptions()
    options.retries = .never
    change(&options)
    return options
}
