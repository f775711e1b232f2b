import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// The client against servers that are slow, gone or talk nonsense.
@Suite(.timeLimit(.minutes(10))) struct HTTPClientFailureTests {
    private static let ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    @Test func `nobody listens: refused, with the place in the sentence`() async throws {
        let client = HTTPClient(options: clientOptions())
        let error = await failure { () async throws(HTTPClientError) in try await client.get("http://127.0.0.1:1/x") }
        #expect(error?.kind == .unreachable)
        #expect(error?.network?.kind == .refused)
        #expect(error?.description.hasPrefix("GET http://127.0.0.1:1/x: cannot connect to 127.0.0.1:1: refused") == true)
    }

    @Test func `no answer, a stop in the middle, and all of it have times of their own`() async throws {
        let impatient = HTTPClient(options: clientOptions { $0.answerTimeout = .milliseconds(150) })
        let lively = HTTPClient(options: clientOptions { $0.silenceTimeout = .milliseconds(100) })
        let hurried = HTTPClient(options: clientOptions { $0.timeout = .milliseconds(120) })
        let kinds = try await withRawServer { connection, _ in
            let head = try await hearHead(connection)
            if head.hasPrefix("GET /stop") { try await connection.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") }
            _ = try await connection.read()
        } _: { url in
            let silent = await failure { () async throws(HTTPClientError) in try await impatient.get(url + "/silent") }
            let stopped = await failure { () async throws(HTTPClientError) in try await lively.get(url + "/stop").text() }
            let whole = await failure { () async throws(HTTPClientError) in try await hurried.get(url + "/silent") }
            return [silent, stopped, whole]
        }
        #expect(kinds.map { $0?.kind } == [.timedOut(.answering), .timedOut(.receiving), .timedOut(.whole)])
        #expect(kinds[0]?.description.hasSuffix("no answer within 150 ms") == true)
        #expect(kinds[1]?.description.hasSuffix("the response stopped for 100 ms") == true)
        #expect(kinds[2]?.description.hasSuffix("not done within 120 ms") == true)
    }

    @Test func `a task that is cancelled waits no longer`() async throws {
        let client = HTTPClient(options: clientOptions())
        let kind = try await withRawServer { connection, _ in
            while try await connection.read() != nil {}
        } _: { url in
            let task = Task { await failure { () async throws(HTTPClientError) in try await client.get(url) }?.kind }
            try await Task.sleep(for: .milliseconds(50))
            task.cancel()
            return await task.value
        }
        #expect(kind == .cancelled)
    }

    @Test func `a kept connection that was closed before an answer costs a GET nothing, and a POST is not sent twice`() async throws {
        let client = HTTPClient(options: clientOptions())
        let heads = Words()
        let (texts, error) = try await withRawServer { connection, number in
            heads.add("open")
            var count = 0
            while true {
                let head = try await hearHead(connection)
                guard !head.isEmpty else { return }
                heads.add(String(head.prefix { $0 != " " }))
                count += 1
                // The second request of a connection finds it closing.
                if count == 2 { return }
                try await connection.write(Self.ok)
            }
        } _: { url in
            let texts = [try await client.get(url).text(), try await client.get(url).text()]
            let error = await failure { () async throws(HTTPClientError) in try await client.post(url, .text("x")) }
            return (texts, error)
        }
        #expect(texts == ["ok", "ok"])
        #expect(error?.kind == .connectionLost)
        #expect(heads.all == ["open", "GET", "GET", "open", "GET", "POST"])
    }

    @Test func `a connection that its server closed while it was idle is not used`() async throws {
        let client = HTTPClient(options: clientOptions())
        let (ends, ended) = AsyncStream.makeStream(of: Void.self)
        let (first, second, reused) = try await withRawServer { connection, _ in
            _ = try await hearHead(connection)
            try await connection.write(Self.ok)
            try await connection.finishWriting()
            while try await connection.read() != nil {}
            ended.yield()
        } _: { url in
            let first = try await client.post(url, .text("x")).text()
            // The client has seen the end: it has closed, too.
            for await _ in ends { break }
            let response = try await client.post(url, .text("x"))
            return (first, try await response.text(), response.timings.isReused)
        }
        #expect(first == "ok" && second == "ok")
        #expect(!reused)
    }

    @Test(arguments: [
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", "the connection ended in the middle of the response"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", "the connection ended in the middle of the response"),
        ("", "the server closed the connection without an answer"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "what came is no HTTP response: the status line is not a version, three digits and a reason (RFC 9112, 4)"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "what came is no HTTP response: two Content-Length fields (RFC 9112, 6.3)"),
    ]) func `a response that breaks is an error, never a part taken for the whole`(_ answer: String, _ sentence: String) async throws {
        let client = HTTPClient(options: clientOptions())
        let error = try await withRawServer { connection, _ in
            _ = try await hearHead(connection)
            try await connection.write(answer)
        } _: { url in
            await failure { () async throws(HTTPClientError) in try await client.get(url).text() }
        }
        #expect(error?.description.hasSuffix(sentence) == true, "\(error.map { "\($0)" } ?? "no error")")
    }

    @Test func `content without a length ends with the connection`() async throws {
        let client = HTTPClient(options: clientOptions())
        let text = try await withRawServer { connection, _ in
            _ = try await hearHead(connection)
            try await connection.write("HTTP/1.0 200 OK\r\n\r\nall of it")
        } _: { url in
            try await client.get(url).text()
        }
        #expect(text == "all of it")
    }

    @Test func `an answer before the request's end is taken, and the connection is not used again`() async throws {
        let client = HTTPClient(options: clientOptions())
        let (status, reused) = try await withRawServer { connection, _ in
            let head = try await hearHead(connection)
            if head.hasPrefix("POST") {
                try await connection.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
                while try await connection.read() != nil {}
            }
            try await connection.write(Self.ok)
        } _: { url in
            let request = try HTTPClientRequest(
                "POST", url,
                body: .stream { writer in
                    while true {
                        try await writer.write("more")
                        try await Task.sleep(for: .milliseconds(5))
                    }
                })
            let status = try await client.send(request).status
            return (status, try await client.get(url).timings.isReused)
        }
        #expect(status == .contentTooLarge)
        #expect(!reused)
    }

    @Test func `responses that nobody reads give their places back`() async throws {
        let client = HTTPClient(
            options: clientOptions {
                $0.connectionsPerOrigin = 1
                $0.waitTimeout = .seconds(2)
            })
        let statuses = try await withHTTPServer { _ in
            .text(String(repeating: "x", count: 4 << 20))
        } _: { place in
            var statuses: [HTTPStatus] = []
            for _ in 0..<4 { statuses.append(try await client.get("http://\(place)/").status) }
            return statuses
        }
        #expect(statuses == [.ok, .ok, .ok, .ok])
    }
}

private final class Words: Sendable {
    private let words = Mutex<[String]>([])
    func add(_ word: String) { words.withLock { $0.append(word) } }
    var all: [String] { words.withLock { $0 } }
}
