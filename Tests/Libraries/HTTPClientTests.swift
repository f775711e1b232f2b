import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// The client against our own server: what is sent arrives, what is answered comes back, and connections are used again.
@Suite(.timeLimit(.minutes(10))) struct HTTPClientTests {
    @Test func `methods, fields and content arrive, and the answer comes back`() async throws {
        let (answers, status, missing) = try await withHTTPServer { request in
            if request.path == "/none" { throw HTTPFailure.notFound("no such thing") }
            let content = try await request.body.collect()
            return .text("\(request.methodName) \(request.target) \(request.fields["X-One"] ?? "-") \(String(decoding: content, as: UTF8.self))")
        } _: { place in
            let client = HTTPClient(options: clientOptions())
            var fields = HTTPFields()
            try fields.set("X-One", to: "1")
            let answers = [
                try await client.get("http://\(place)/a?b=c d", fields: fields).text(),
                try await client.post("http://\(place)", .text("höj"), contentType: .text).text(),
                try await client.put("http://\(place)/x", .bytes([0x61, 0x62])).text(),
                try await client.patch("http://\(place)/x", .text("p")).text(),
                try await client.delete("http://\(place)/x").text(),
            ]
            let missing = try await client.get("http://\(place)/none")
            return (answers, try await client.head("http://\(place)/h").text(), (missing.status, missing.fields["content-type"]))
        }
        #expect(answers == ["GET /a?b=c%20d 1 ", "POST / - höj", "PUT /x - ab", "PATCH /x - p", "DELETE /x - "])
        #expect(status.isEmpty)
        #expect(missing.0 == .notFound)
        #expect(missing.1 == "application/problem+json")
    }

    @Test func `a connection is used again, and one more is made when all are in use`() async throws {
        let slow = Mutex(0)
        let (ports, reused, parallel) = try await withHTTPServer { request in
            if request.path == "/slow" {
                slow.withLock { $0 += 1 }
                while slow.withLock({ $0 }) < 2 { try await Task.sleep(for: .milliseconds(5)) }
            }
            return .text("\(request.peer.port)")
        } _: { place in
            let client = HTTPClient(options: clientOptions { $0.connectionsPerOrigin = 2 })
            var ports: Set<String> = [], reused: [Bool] = []
            for _ in 0..<5 {
                let response = try await client.get("http://\(place)/")
                ports.insert(try await response.text())
                reused.append(response.timings.isReused)
            }
            let parallel = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<6 { group.addTask { try await client.get("http://\(place)/slow").text() } }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            return (ports, reused, parallel)
        }
        #expect(ports.count == 1)
        #expect(reused == [false, true, true, true, true])
        #expect(parallel.count == 2)
    }

    @Test func `who waits for a connection too long is told so`() async throws {
        let begun = Mutex(0)
        let error = try await withHTTPServer { _ in
            begun.withLock { $0 += 1 }
            try await Task.sleep(for: .seconds(30))
            return .text("late")
        } _: { place in
            let client = HTTPClient(
                options: clientOptions {
                    $0.connectionsPerOrigin = 1
                    $0.waitTimeout = .milliseconds(50)
                })
            let first = Task { try await client.get("http://\(place)/") }
            while begun.withLock({ $0 }) == 0 { try await Task.sleep(for: .milliseconds(5)) }
            let error = await failure { () async throws(HTTPClientError) in try await client.get("http://\(place)/") }
            first.cancel()
            return error
        }
        #expect(error?.kind == .timedOut(.waiting))
        #expect(error?.description.contains("all 1 connections were in use") == true)
    }

    @Test func `content streams both ways, larger than any buffer`() async throws {
        let count = 8 << 20
        let (sum, received) = try await withHTTPServer { request in
            let body = request.body
            return HTTPResponse(body: .stream { writer in for try await piece in body { try await writer.write(piece) } })
        } _: { place in
            let request = try HTTPClientRequest(
                "POST", "http://\(place)/",
                body: .stream { writer in
                    for start in stride(from: 0, to: count, by: 1 << 16) {
                        try await writer.write((start..<start + 1 << 16).map { UInt8(truncatingIfNeeded: $0 &* 31) })
                    }
                })
            let response = try await HTTPClient(options: clientOptions()).send(request)
            var sum = 0, received = 0
            for try await piece in response.body {
                for byte in piece {
                    if byte != UInt8(truncatingIfNeeded: received &* 31) { sum += 1 }
                    received += 1
                }
            }
            return (sum, received)
        }
        #expect(sum == 0)
        #expect(received == count)
    }

    @Test func `content of a promised length, and large content in one piece, arrive whole`() async throws {
        let texts = try await withHTTPServer { request in
            .text("\(request.fields["content-length"] ?? "chunked") \(try await request.body.collect(max: 8 << 20).count)")
        } _: { place in
            let client = HTTPClient(options: clientOptions())
            let counted = try HTTPClientRequest("PUT", "http://\(place)/", body: .stream(length: 6) { try await $0.write("123456") })
            return [
                try await client.send(counted).text(), try await client.post("http://\(place)/", .bytes([UInt8](repeating: 1, count: 3 << 20))).text(),
            ]
        }
        #expect(texts == ["6 6", "\(3 << 20) \(3 << 20)"])
    }

    @Test func `what a writer throws, or does not write, is the request's failure`() async throws {
        struct Broken: Error {}
        let kinds = try await withHTTPServer {
            .text("\(try await $0.body.collect().count)")
        } _: { place in
            let client = HTTPClient(options: clientOptions())
            let throwing = try HTTPClientRequest("POST", "http://\(place)/", body: .stream { _ in throw Broken() })
            let short = try HTTPClientRequest("POST", "http://\(place)/", body: .stream(length: 10) { try await $0.write("123") })
            let long = try HTTPClientRequest("POST", "http://\(place)/", body: .stream(length: 2) { try await $0.write("123") })
            var kinds: [HTTPClientError.Kind?] = []
            for request in [throwing, short, long] {
                kinds.append(await failure { () async throws(HTTPClientError) in try await client.send(request) }?.kind)
            }
            return kinds
        }
        #expect(kinds == [.bodyFailed, .requestInvalid, .requestInvalid])
    }

    @Test func `gzip is asked for and decoded, unless the caller wants it as it comes`() async throws {
        let text = String(repeating: "to be or not to be ", count: 1000)
        let (decoded, field, raw) = try await withHTTPServer { _ in
            .text(text)
        } _: { place in
            let response = try await HTTPClient(options: clientOptions()).get("http://\(place)/")
            let plain = HTTPClient(options: clientOptions { $0.decompresses = false })
            var fields = HTTPFields()
            try fields.set("Accept-Encoding", to: "gzip")
            let raw = try await plain.get("http://\(place)/", fields: fields)
            return (try await response.text(), response.fields["content-encoding"], (raw.fields["content-encoding"], try await raw.collect().count))
        }
        #expect(decoded == text)
        #expect(field == nil)
        #expect(raw.0 == "gzip")
        #expect(raw.1 < text.utf8.count / 10)
    }

    @Test func `gzip that stands for too much is not taken`() async throws {
        let error = try await withHTTPServer { _ in
            .text(String(repeating: "a", count: 20 << 20))
        } _: { place in
            let client = HTTPClient(options: clientOptions())
            return await failure { () async throws(HTTPClientError) in try await client.get("http://\(place)/").collect(max: 64 << 20).count }
        }
        #expect(error?.kind == .codingInvalid)
        #expect(error?.description.contains("more than 100 times as large") == true)
    }

    @Test func `more than the caller takes is refused`() async throws {
        let error = try await withHTTPServer { _ in
            .text("12345678901")
        } _: { place in
            let client = HTTPClient(options: clientOptions())
            return await failure { () async throws(HTTPClientError) in try await client.get("http://\(place)/").text(max: 10) }
        }
        #expect(error?.kind == .bodyTooLong)
    }

    @Test func `a client that was closed sends nothing`() async throws {
        let error = try await withHTTPServer { _ in
            .text("x")
        } _: { place in
            let client = try await HTTPClient.withClient(options: clientOptions()) { client in
                _ = try await client.get("http://\(place)/").text()
                return client
            }
            return await failure { () async throws(HTTPClientError) in try await client.get("http://\(place)/") }
        }
        #expect(error?.kind == .closed)
    }

    @Test(arguments: ["example.org", "ftp://example.org/", "http://", "http://a b/", "http://x:99999/", "http://ü/", "http+unix://x"])
    func `a URL that cannot be used is refused with its reason`(_ url: String) async {
        let error = await failure { () async throws(HTTPClientError) in try await HTTPClient.shared.get(url) }
        #expect(error?.kind == .urlInvalid)
        #expect(error?.description.hasPrefix("cannot use the URL \"\(url)\": ") == true)
    }

    @Test(arguments: ["GET ", "G\r\nX: y", "", "CONNECT"])
    func `a method that cannot be sent is refused, and the connection stays`(_ method: String) async throws {
        let (error, text) = try await withHTTPServer { _ in
            .text("x")
        } _: { place in
            let client = HTTPClient(options: clientOptions { $0.connectionsPerOrigin = 1 })
            let request = try HTTPClientRequest(method, "http://\(place)/")
            let error = await failure { () async throws(HTTPClientError) in try await client.send(request) }
            return (error, try await client.get("http://\(place)/").text())
        }
        #expect(error?.kind == .requestInvalid)
        #expect(text == "x")
    }
}
