import MartletSockets
import Synchronization
import Testing

@testable import MartletHTTP

/// Redirects and retries: what is sent again, how it changes on the way, and what never is.
@Suite(.timeLimit(.minutes(10))) struct HTTPClientAgainTests {
    /// "/301/POST" redirects to "/", which says what arrived.
    private static let redirecting: HTTPHandler = { request in
        let content = String(decoding: try await request.body.collect(), as: UTF8.self)
        if let number = UInt16(request.path.dropFirst()), number >= 300 {
            return try .redirect(to: "../end?x=1#there", status: HTTPStatus(rawValue: number))
        }
        return .text("\(request.methodName) \(request.target) \(content) \(request.fields["content-type"] ?? "-")")
    }

    @Test(arguments: [
        ("GET", 301, "GET  -"), ("POST", 301, "GET  -"), ("PUT", 301, "PUT text text/plain; charset=utf-8"), ("POST", 302, "GET  -"),
        ("POST", 303, "GET  -"), ("PUT", 303, "GET  -"), ("POST", 307, "POST text text/plain; charset=utf-8"),
        ("POST", 308, "POST text text/plain; charset=utf-8"),
    ])
    func `a redirect keeps or changes the method as RFC 9110 section 15_4 says`(_ method: String, _ status: UInt16, _ expected: String) async throws {
        let (text, timings, url) = try await withHTTPServer(Self.redirecting) { place in
            let hasContent = method != "GET"
            let request = try HTTPClientRequest(
                method, "http://\(place)/\(status)", contentType: hasContent ? .text : nil, body: hasContent ? .text("text") : .none)
            let response = try await HTTPClient(options: clientOptions()).send(request)
            return (try await response.text(), response.timings, response.url)
        }
        let words = expected.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false)
        #expect(text == "\(words[0]) /end?x=1 \(words[1])")
        #expect(timings.redirects == 1)
        #expect(timings.isReused)
        #expect(url.target == "/end?x=1")
    }

    @Test func `too many redirects end, none are followed if none may be, and content that was streamed is not sent again`() async throws {
        let (error, first, streamed) = try await withHTTPServer { request in
            if request.method == .post {
                _ = try await request.body.collect()
                return try .redirect(to: "/x", status: .temporaryRedirect)
            }
            return try .redirect(to: request.path + "x")
        } _: { place in
            let client = HTTPClient(options: clientOptions { $0.redirectsMax = 3 })
            let error = await failure { () async throws(HTTPClientError) in try await client.get("http://\(place)/") }
            let staying = HTTPClient(options: clientOptions { $0.redirectsMax = 0 })
            let first = try await staying.get("http://\(place)/").status
            let streamed = try await client.post("http://\(place)/", .stream { try await $0.write("x") }).status
            return (error, first, streamed)
        }
        #expect(error?.kind == .redirectInvalid)
        #expect(error?.description.contains("redirected more than 3 times") == true)
        #expect(first == .found)
        #expect(streamed == .temporaryRedirect)
    }

    @Test(arguments: ["ftp://x/", "http+unix:///run/secret.sock:/", "http://bad host/"])
    func `a redirect to nowhere is an error that says so`(_ location: String) async throws {
        let error = try await withHTTPServer { _ in
            try .redirect(to: location)
        } _: { place in
            await failure { () async throws(HTTPClientError) in try await HTTPClient(options: clientOptions()).get("http://\(place)/") }
        }
        #expect(error?.kind == .redirectInvalid)
    }

    @Test func `credentials do not follow to another origin`() async throws {
        let handler: HTTPHandler = { request in
            .text("\(request.fields["authorization"] ?? "-") \(request.fields["cookie"] ?? "-") \(request.fields["x-own"] ?? "-")")
        }
        let texts = try await withHTTPServer(handler) { there in
            try await withHTTPServer { request in
                request.path == "/same"
                    ? try .redirect(to: "/end") : request.path == "/end" ? try await handler(request) : try .redirect(to: "http://\(there)/")
            } _: { here in
                var options = clientOptions()
                try options.fields.set("Cookie", to: "b=1")
                let client = HTTPClient(options: options)
                var fields = HTTPFields()
                try fields.set("Authorization", to: "Bearer abc")
                try fields.set("X-Own", to: "1")
                return [
                    try await client.get("http://\(here)/same", fields: fields).text(), try await client.get("http://\(here)/other", fields: fields).text(),
                ]
            }
        }
        #expect(texts == ["Bearer abc b=1 1", "- - 1"])
    }

    @Test(arguments: [
        ("http://h/a/b/c?d", "x", "http://h/a/b/x"), ("http://h/a/b/c?d", "../x?y", "http://h/a/x?y"), ("http://h/a/b/c", "/x/./y/../z", "http://h/x/z"),
        ("http://h/a/b?c", "?d", "http://h/a/b?d"), ("http://h/a", "//i:8080/j", "http://i:8080/j"), ("http://h/a", "https://i", "https://i/"),
        ("http://h/a/b/", "..", "http://h/a/"), ("http://h/a", "../../..", "http://h/"), ("http://h/", "ü v", "http://h/%C3%BC%20v"),
        ("http://h/a?b=c", "", "http://h/a?b=c"),
    ])
    func `references are resolved as RFC 3986 section 5_2 says`(_ base: String, _ location: String, _ expected: String) async throws {
        let url = try HTTPURL(base).resolved(location)
        #expect("\(url)" == expected)
    }

    // MARK: Retries

    private static func retrying(_ change: (inout HTTPRetries) -> Void = { _ in }) -> HTTPClient {
        var retries = HTTPRetries()
        (retries.delayMin, retries.delayMax) = (.milliseconds(5), .milliseconds(20))
        change(&retries)
        return HTTPClient(options: clientOptions { $0.retries = retries })
    }

    @Test func `503 is asked again as often as the options say; POST is not`() async throws {
        let count = Tally()
        let results = try await withHTTPServer { request in
            let number = count.next()
            return .text("\(number)", status: number % 3 == 0 ? .ok : .serviceUnavailable)
        } _: { place in
            let got = try await Self.retrying().get("http://\(place)/")
            let posted = try await Self.retrying().post("http://\(place)/", .text("x"))
            let given = try await Self.retrying { $0.attemptsMax = 1 }.get("http://\(place)/")
            return [(got.status, got.timings.attempts), (posted.status, posted.timings.attempts), (given.status, given.timings.attempts)]
        }
        #expect(results.map(\.0) == [.ok, .serviceUnavailable, .serviceUnavailable])
        #expect(results.map(\.1) == [3, 1, 1])
        #expect(count.value == 5)
    }

    @Test func `Retry-After is waited for, unless it is too far away`() async throws {
        let count = Tally()
        let (waited, far) = try await withHTTPServer { request in
            var failure = HTTPFailure(.tooManyRequests, "later")
            try failure.fields.set("Retry-After", to: request.path == "/far" ? "3600" : "1")
            let number = count.next()
            if number == 2 { return .text("now") }
            throw failure
        } _: { place in
            let start = ContinuousClock.now
            let response = try await Self.retrying().get("http://\(place)/")
            return ((response.status, ContinuousClock.now - start), try await Self.retrying().get("http://\(place)/far").status)
        }
        #expect(waited.0 == .ok)
        #expect(waited.1 >= .seconds(1))
        #expect(far == .tooManyRequests)
    }

    @Test func `a server that drops connections, or comes up late, is tried again`() async throws {
        let (text, attempts) = try await withRawServer { connection, number in
            _ = try await hearHead(connection)
            if number < 3 { return connection.abort() }
            try await connection.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        } _: { url in
            let response = try await Self.retrying().get(url)
            return (try await response.text(), response.timings.attempts)
        }
        #expect(text == "ok")
        #expect(attempts == 3)
        let start = ContinuousClock.now
        let error = await failure { () async throws(HTTPClientError) in try await Self.retrying { $0.jitter = 0 }.get("http://127.0.0.1:1/") }
        #expect(error?.network?.kind == .refused)
        #expect(ContinuousClock.now - start >= .milliseconds(15))
    }

    @Test(arguments: [("5", 5), ("0", 0), ("Sun, 06 Nov 1994 08:49:37 GMT", 0), ("-1", nil), ("soon", nil)] as [(String, Int64?)])
    func `Retry-After is seconds or a date`(_ field: String, _ seconds: Int64?) { #expect(HTTPRetries.after(field) == seconds.map { .seconds($0) }) }
}
