import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// Content in both directions, piece by piece, and what becomes of it when one side does not keep its word.
@Suite(.timeLimit(.minutes(10))) struct HTTPBodyTests {
    @Test func `content counted and in chunks comes whole`() async throws {
        let sizes = try await withHTTPServer {
            .text("\(try await $0.body.collect(max: 20 << 20).count)")
        } _: { place in
            let counted = try await exchange(request("POST /", body: String(repeating: "x", count: 3 << 20)), with: place).content
            let chunk = "1000\r\n" + String(repeating: "y", count: 4096) + "\r\n"
            let chunked = try await exchange(
                "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + String(repeating: chunk, count: 300) + "0\r\n\r\n",
                with: place
            ).content
            return [counted, chunked]
        }
        #expect(sizes == ["\(3 << 20)", "\(300 * 4096)"])
    }

    @Test func `more than a handler takes is 413`() async throws {
        let texts = try await withHTTPServer {
            .text("\(try await $0.body.collect(max: 10).count)")
        } _: { place in
            [
                try await exchange(request("POST /", body: "12345678901"), with: place),
                try await exchange(
                    "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n", with: place),
            ]
        }
        #expect(texts.allSatisfy { $0.statusLine == "HTTP/1.1 413 Content Too Large" })
    }

    @Test func `a client that asks leave is told to go ahead when the handler reads`() async throws {
        let (read, unread) = try await withHTTPServer { request in
            request.path == "/read" ? .text("got \(try await request.body.collect().count)") : .text("no, thanks")
        } _: { place in
            let head = "Host: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
            let read = try await TCP.withConnection(to: place) { connection in
                try await connection.write("POST /read HTTP/1.1\r\n" + head)
                let leave = try await answer(from: connection, until: "\r\n\r\n")
                try await connection.write("12345")
                return leave + (try await answer(from: connection, until: "got 5"))
            }
            return (read, try await exchange("POST /other HTTP/1.1\r\n" + head, with: place))
        }
        #expect(read.hasPrefix("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"))
        #expect(unread.statusLine == "HTTP/1.1 200 OK")
        #expect(unread.contains("Connection: close\r\n") && unread.content == "no, thanks")
    }

    @Test func `a little that nobody reads is thrown away, much ends the connection`() async throws {
        let (little, much) = try await withHTTPServer { _ in
            .text("done")
        } _: { place in
            let little = try await TCP.withConnection(to: place) { connection in
                try await connection.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
                _ = try await answer(from: connection, until: "done")
                try await connection.write(String(repeating: "z", count: 1000) + request("GET /"))
                return try await everything(of: connection)
            }
            let much = try await TCP.withConnection(to: place) { connection in
                try await connection.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n")
                return try await everything(of: connection)
            }
            return (little, much)
        }
        #expect(little.content == "done")
        #expect(much.content == "done" && much.contains("Connection: close\r\n"))
    }

    @Test func `who reads slowly holds the client back`() async throws {
        let isHeld = try await withHTTPServer { request in
            var count = 0
            for try await piece in request.body {
                count += piece.count
                if count < 1 << 20 { try await Task.sleep(for: .milliseconds(2)) }
            }
            return .text("\(count)")
        } _: { place in
            try await exchange(request("POST /", body: String(repeating: "x", count: 8 << 20)), with: place).content == "\(8 << 20)"
        }
        #expect(isHeld)
    }

    @Test func `a stream comes in chunks, and its writer waits for a client that does not read`() async throws {
        let box = Count()
        let isRight = try await withHTTPServer { _ in
            HTTPResponse(
                body: .stream { writer in
                    for _ in 0..<1024 {
                        try await writer.write([UInt8](repeating: 7, count: 16384))
                        box.value.withLock { $0 += 16384 }
                    }
                })
        } _: { place in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write(request("GET /"))
                try await Task.sleep(for: .milliseconds(400))
                let early = box.value.withLock { $0 }
                var count = 0
                while let piece = try await connection.read(timeout: .seconds(10)) { count += piece.count }
                return early < 12 << 20 && count > 16 << 20
            }
        }
        #expect(isRight)
    }

    private final class Count: Sendable {
        let value = Mutex(0)
    }

    @Test func `a promise that is not kept breaks the connection`() async throws {
        struct Trouble: Error {}
        let handler: HTTPHandler = { request in
            switch request.path {
            case "/less": HTTPResponse(body: .stream(length: 10) { try await $0.write("short") })
            case "/more": HTTPResponse(body: .stream(length: 2) { try await $0.write("long") })
            default:
                HTTPResponse(
                    body: .stream {
                        try await $0.write("half")
                        throw Trouble()
                    })
            }
        }
        let outcomes = try await withHTTPServer(handler) { place in
            var outcomes: [Bool] = []
            for path in ["/less", "/more", "/error"] {
                do {
                    let text = try await exchange(request("GET \(path)"), with: place)
                    outcomes.append(text.hasSuffix("0\r\n\r\n"))
                } catch { outcomes.append(false) }
            }
            return outcomes
        }
        #expect(outcomes == [false, false, false])
    }

    @Test func `a stream may be written from elsewhere`() async throws {
        let text = try await withHTTPServer { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await Task.detached { for number in 0..<100 { try await writer.write("\(number),") } }.value
                })
        } _: { place in
            try await exchange("GET / HTTP/1.0\r\n\r\n", with: place).content
        }
        #expect(text == (0..<100).map { "\($0)," }.joined())
    }

    @Test func `a handler whose client goes away is cancelled`() async throws {
        let box = Count(), begun = Count()
        try await withHTTPServer { _ in
            begun.value.withLock { $0 += 1 }
            do { try await Task.sleep(for: .seconds(30)) } catch { box.value.withLock { $0 += 1 } }
            return .text("late")
        } _: { place in
            let socket = try await TCP.connect(to: place)
            try await socket.connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            while begun.value.withLock({ $0 }) == 0 { try await Task.sleep(for: .milliseconds(5)) }
            socket.connection.abort()
            for _ in 0..<1000 where box.value.withLock({ $0 == 0 }) { try await Task.sleep(for: .milliseconds(20)) }
        }
        #expect(box.value.withLock { $0 } == 1)
    }
}

/// What stands before and behind a message's usual parts.
@Suite(.timeLimit(.minutes(10))) struct HTTPAroundTests {
    @Test func `trailers are there once the content was read`() async throws {
        let answers = try await withHTTPServer { request in
            let before = request.body.trailers.isEmpty
            let content = try await request.body.collect()
            return .text("\(before) \(content.count) \(request.body.trailers["x-sum"] ?? "-") \(request.fields["x-sum"] ?? "-")")
        } _: { place in
            var answers: [String] = []
            let head = "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            for chunks in ["3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n"] {
                answers.append(try await exchange(head + chunks, with: place).content)
            }
            return answers
        }
        #expect(answers == ["true 3 7 -", "true 3 - -"])
    }

    @Test func `early hints go before the response, and to HTTP 1.1 alone`() async throws {
        let (new, old) = try await withHTTPServer { request in
            var links = HTTPFields()
            try links.set("Link", to: "</style.css>; rel=preload")
            let fields = links
            request.sendEarlyHints(fields)
            await Task { request.sendEarlyHints(fields) }.value
            try await Task.sleep(for: .milliseconds(50))
            return HTTPResponse(
                body: .stream { writer in
                    try await writer.write("a")
                    request.sendEarlyHints(fields)
                    try await writer.write("b")
                })
        } _: { place in
            (try await exchange(request("GET /"), with: place), try await exchange("GET / HTTP/1.0\r\n\r\n", with: place))
        }
        let hints = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
        #expect(new.hasPrefix(hints + hints + "HTTP/1.1 200 OK\r\n") && new.count(of: "103") == 2 && new.hasSuffix("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"))
        #expect(old.statusLine == "HTTP/1.1 200 OK" && old.content == "ab")
    }

    @Test func `a client that asks before it sends waits for the server's word, its answer, or a second`() async throws {
        try await withRawServer { connection, number in
            #expect(try await hearHead(connection).hasSuffix("\r\n\r\n"))
            switch number {
            case 1:
                try await connection.write("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n")
                #expect(try await answer(from: connection, until: "content") == "content")
                try await connection.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken")
            case 2: try await connection.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")
            case 3:
                #expect(try await answer(from: connection, until: "content") == "content")
                try await connection.write("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nunsaid")
            default: break
            }
            while try await connection.read() != nil {}
        } _: { url in
            try await HTTPClient.withClient(options: clientOptions()) { client in
                var ask = try HTTPClientRequest("PUT", url, body: .text("content"))
                try ask.fields.set("Expect", to: "100-continue")
                #expect(try await client.send(ask).text() == "taken")
                // The kept connection would be the first again.
                client.close()
            }
            for (status, text) in [(413, "no"), (200, "unsaid")] as [(UInt16, String)] {
                try await HTTPClient.withClient(options: clientOptions()) { client in
                    let isAsked = Tally()
                    var ask = try HTTPClientRequest(
                        "PUT", url,
                        body: .stream(length: 7) { writer in
                            _ = isAsked.next()
                            try await writer.write("content")
                        })
                    try ask.fields.set("Expect", to: "100-continue")
                    let response = try await client.send(ask)
                    #expect(response.status.rawValue == status)
                    #expect(try await response.text() == text)
                    #expect(isAsked.value == (status == 200 ? 1 : 0))
                }
            }
        }
    }
}
