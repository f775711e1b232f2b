import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// The HTTP server over loopback, with a peer that writes what it wants.
@Suite(.timeLimit(.minutes(10))) struct HTTPServerTests {
    private static let hello: HTTPHandler = { _ in .text("hello") }

    @Test func `a request is answered, and the connection goes on`() async throws {
        let answers = try await withHTTPServer {
            .text("\($0.methodName) \($0.path) \($0.query("q") ?? "-") \($0.host)")
        } _: { place in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write("GET /a?q=1%2B1 HTTP/1.1\r\nHost: one\r\n\r\n")
                let first = try await answer(from: connection, until: "GET /a 1+1 one")
                try await connection.write("PURGE /b HTTP/1.1\r\nHost: two\r\n\r\n")
                return [first, try await answer(from: connection, until: "PURGE /b - two")]
            }
        }
        #expect(answers[0].statusLine == "HTTP/1.1 200 OK")
        #expect(answers[0].contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"))
        #expect(answers[0].contains("\r\nContent-Length: 14\r\n"))
        #expect(answers[0].contains(" GMT\r\nServer: martlet\r\n"))
        #expect(answers[1].content == "PURGE /b - two")
    }

    @Test func `requests that come together are answered in their order, also when handlers wait`() async throws {
        let handler: HTTPHandler = { request in
            let number = Int(request.path.dropFirst()) ?? 0
            if number % 3 == 0 { try await Task.sleep(for: .milliseconds(3)) }
            if number % 5 == 0 { await Task.yield() }
            return .text("<\(number)>")
        }
        let text = try await withHTTPServer(handler) { place in
            let first = (0..<60).map { "GET /\($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined()
            return try await exchange(first + request("GET /60"), with: place)
        }
        #expect(text.count(of: "HTTP/1.1 200 OK") == 61)
        let order = text.split(separator: "<").dropFirst().compactMap { Int($0.prefix { $0 != ">" }) }
        #expect(order == Array(0...60))
    }

    @Test func `many connections at once each get their own answer`() async throws {
        let wrong = try await withHTTPServer {
            .text("<\($0.path)>")
        } _: { place in
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<100 {
                    group.addTask { try await exchange(request("GET /\(number)"), with: place).hasSuffix("</\(number)>") }
                }
                return try await group.reduce(0) { $0 + ($1 ? 0 : 1) }
            }
        }
        #expect(wrong == 0)
    }

    @Test func `HEAD, 204 and 304 have no content`() async throws {
        let handler: HTTPHandler = { request in
            switch request.path {
            case "/none": HTTPResponse(.noContent)
            case "/same": HTTPResponse(.notModified)
            case "/stream": HTTPResponse(body: .stream { try await $0.write("never") })
            default: .text("hello")
            }
        }
        let texts = try await withHTTPServer(handler) { place in
            var texts: [String] = []
            for line in ["HEAD /", "GET /none", "GET /same", "HEAD /stream"] { texts.append(try await exchange(request(line), with: place)) }
            return texts
        }
        #expect(texts.allSatisfy { $0.content.isEmpty })
        #expect(texts[0].contains("Content-Length: 5\r\n"))
        #expect(texts[1].statusLine == "HTTP/1.1 204 No Content")
        #expect(!texts[1].contains("Content-Length") && !texts[2].contains("Content-Length"))
    }

    @Test func `a failure is a problem, another error a 500 that says nothing of itself`() async throws {
        struct Secret: Error {}
        let handler: HTTPHandler = { request in
            if request.path == "/known" { throw HTTPFailure(.conflict, "there is \"one\" already") }
            throw Secret()
        }
        let (known, unknown) = try await withHTTPServer(handler) { place in
            (try await exchange(request("GET /known"), with: place), try await exchange(request("GET /other"), with: place))
        }
        #expect(known.statusLine == "HTTP/1.1 409 Conflict")
        #expect(known.content == #"{"status":409,"detail":"there is \"one\" already"}"#)
        #expect(known.contains("Content-Type: application/problem+json\r\n"))
        #expect(unknown.statusLine == "HTTP/1.1 500 Internal Server Error")
        #expect(unknown.contains("\"request\":\"") && !unknown.contains("Secret"))
    }

    @Test func `what is no request is told why, and the connection ends`() async throws {
        let texts = try await withHTTPServer(Self.hello) { place in
            var texts: [String] = []
            for text in [
                "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\nHost: x\n\n",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            ] { texts.append(try await exchange(text, with: place)) }
            return texts
        }
        #expect(texts.allSatisfy { $0.statusLine == "HTTP/1.1 400 Bad Request" && $0.contains("Connection: close\r\n") && $0.contains("RFC 9112") })
    }

    @Test func `a request that comes byte by byte is one`() async throws {
        let text = try await withHTTPServer {
            .bytes(try await $0.body.collect())
        } _: { place in
            try await TCP.withConnection(to: place) { connection in
                for byte in request("POST /", body: "piecemeal").utf8 {
                    try await connection.write([byte])
                    await Task.yield()
                }
                return try await everything(of: connection)
            }
        }
        #expect(text.content == "piecemeal")
    }

    @Test func `HTTP 1.0 gets an end instead of chunks`() async throws {
        let text = try await withHTTPServer { _ in
            HTTPResponse(body: .stream { try await $0.write("to the end") })
        } _: { place in
            try await exchange("GET / HTTP/1.0\r\n\r\n", with: place)
        }
        #expect(text.content == "to the end")
        #expect(!text.contains("chunked"))
    }

    @Test func `who says nothing is closed`() async throws {
        var options = HTTPServerOptions()
        options.limits.idleTimeout = .milliseconds(300)
        let text = try await withHTTPServer(options: options) { _ in
            .text("")
        } _: { place in
            try await exchange("", with: place)
        }
        #expect(text.isEmpty)
    }

    @Test func `who is too slow is told so`() async throws {
        var options = HTTPServerOptions()
        options.limits.headTimeout = .milliseconds(200)
        options.limits.bodyRateGrace = .milliseconds(200)
        let texts = try await withHTTPServer(options: options) {
            .text("\(try await $0.body.collect().count)")
        } _: { place in
            var texts: [String] = []
            for text in ["GET / HTTP/1.1\r\nHost:", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"] {
                texts.append(try await exchange(text, with: place))
            }
            return texts
        }
        #expect(texts.map(\.statusLine) == ["HTTP/1.1 408 Request Timeout", "HTTP/1.1 408 Request Timeout"])
    }

    @Test func `limits of lines, fields and content are refused with their own status`() async throws {
        var options = HTTPServerOptions()
        options.limits.bodyMax = 100
        let lines = [
            "GET /\(String(repeating: "a", count: 9000)) HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\n\(String(repeating: "A: b\r\n", count: 101))\r\n",
            "GET / HTTP/1.1\r\nHost: x\r\nA: \(String(repeating: "b", count: 40000))\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\n\r\n", "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: cake\r\n\r\n",
        ]
        let answers = try await withHTTPServer(options: options, Self.hello) { place in
            var answers: [String] = []
            for line in lines { answers.append(String(try await exchange(line, with: place).statusLine.dropFirst(9).prefix(3))) }
            return answers
        }
        #expect(answers == ["414", "431", "431", "413", "505", "501", "417"])
    }

    @Test func `CONNECT is refused`() async throws {
        let text = try await withHTTPServer(Self.hello) { try await exchange("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection: close\r\n\r\n", with: $0) }
        #expect(text.statusLine == "HTTP/1.1 501 Not Implemented")
    }

    @Test func `requests above the limit are told to come again`() async throws {
        var options = HTTPServerOptions()
        options.requestsMax = 1
        let state = Mutex((hasBegun: false, isLetGo: false))
        let text = try await withHTTPServer(options: options) { _ in
            state.withLock { $0.hasBegun = true }
            while !state.withLock({ $0.isLetGo }) { try await Task.sleep(for: .milliseconds(5)) }
            return .text("slow")
        } _: { place in
            async let slow = exchange(request("GET /"), with: place)
            while !state.withLock({ $0.hasBegun }) { try await Task.sleep(for: .milliseconds(5)) }
            let other = try await exchange(request("GET /"), with: place)
            state.withLock { $0.isLetGo = true }
            return other + (try await slow).content
        }
        #expect(text.statusLine == "HTTP/1.1 503 Service Unavailable")
        #expect(text.contains("Retry-After: 1\r\n"))
        #expect(text.hasSuffix("slow"))
    }

    @Test func `connections above the limit are closed`() async throws {
        var options = HTTPServerOptions()
        options.connectionsMax = 1
        let isClosed = try await withHTTPServer(options: options, Self.hello) { place in
            try await TCP.withConnection(to: place) { first in
                try await first.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                _ = try await answer(from: first, until: "hello")
                let second = try await TCP.withConnection(to: place) { second in (try? await second.read(timeout: .seconds(5))) == nil }
                return second
            }
        }
        #expect(isClosed)
    }

    @Test func `text of some length is compressed for who takes that`() async throws {
        let long = String(repeating: "the same again, ", count: 500)
        let (packed, plain, refused) = try await withHTTPServer { request in
            request.path == "/short" ? .text("short") : .text(long)
        } _: { place in
            (
                try await exchange(request("GET /", ["Accept-Encoding: br, gzip;q=0.5"]), with: place),
                try await exchange(request("GET /short", ["Accept-Encoding: gzip"]), with: place),
                try await exchange(request("GET /", ["Accept-Encoding: gzip;q=0, *"]), with: place)
            )
        }
        #expect(packed.contains("Content-Encoding: gzip\r\n") && packed.contains("Vary: Accept-Encoding\r\n"))
        #expect(packed.utf8.count < 1000)
        #expect(plain.content == "short" && !plain.contains("Content-Encoding"))
        #expect(refused.content == long && refused.contains("Vary: Accept-Encoding\r\n"))
    }

    @Test func `lines of the access log say what was answered`() async throws {
        let log = LineBox()
        var options = HTTPServerOptions()
        options.accessLog = { bytes in log.text.withLock { $0 += String(decoding: bytes, as: UTF8.self) } }
        _ = try await withHTTPServer(options: options, Self.hello) { try await exchange(request("GET /logged?x=1"), with: $0) }
        for _ in 0..<1000 where log.text.withLock({ $0.isEmpty }) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(log.text.withLock { $0 }.hasPrefix("GET /logged?x=1 200 5 "))
    }

    private final class LineBox: Sendable {
        let text = Mutex("")
    }
}

extension HTTPResponse {
    fileprivate static func bytes(_ bytes: [UInt8]) -> HTTPResponse { HTTPResponse(body: .bytes(bytes)) }
}
