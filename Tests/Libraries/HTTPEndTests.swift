import MartletHTTP
import MartletSockets
import Synchronization
import Testing

/// How a server ends.
@Suite(.timeLimit(.minutes(10))) struct HTTPEndTests {
    /// Begins a server, has `body` use it, cancels it, and tells how long its end took, and what `after` saw meanwhile.
    private func end<Result: Sendable>(
        options: HTTPServerOptions = HTTPServerOptions(), _ handler: @escaping HTTPHandler,
        _ body: @escaping @Sendable (String, () -> Void) async throws -> Result
    ) async throws -> (took: Duration, result: Result) {
        let (places, source) = AsyncStream.makeStream(of: String.self)
        let server = Task { try await HTTPServer.serve(on: "http://127.0.0.1:0", options: options, ready: { source.yield("\($0)") }, handler) }
        var iterator = places.makeAsyncIterator()
        let place = try #require(await iterator.next())
        let result = try await body(place) { server.cancel() }
        let began = ContinuousClock.now
        try await server.value
        return (ContinuousClock.now - began, result)
    }

    @Test func `idle connections are closed at once`() async throws {
        let (took, isClosed) = try await end { _ in
            .text("hello")
        } _: { place, cancel in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                _ = try await answer(from: connection, until: "hello")
                cancel()
                return try await connection.read(timeout: .seconds(5)) == nil
            }
        }
        #expect(isClosed && took < .seconds(9))
    }

    @Test func `a response under way comes to its end, and says that it is the last`() async throws {
        let box = Box()
        let (took, text) = try await end { request in
            box.begun.withLock { $0 += 1 }
            while !request.isStopping { try await Task.sleep(for: .milliseconds(5)) }
            return .text("in time")
        } _: { place, cancel in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                while box.begun.withLock({ $0 }) == 0 { try await Task.sleep(for: .milliseconds(5)) }
                cancel()
                return try await everything(of: connection)
            }
        }
        #expect(text.content == "in time" && text.contains("Connection: close\r\n"))
        #expect(took < .seconds(9))
    }

    @Test func `100 slow downloads are whole, 100 streams are told and end, 100 idle connections go at once, all within the grace`() async throws {
        let size = 2 << 20, box = Box()
        let handler: HTTPHandler = { request in
            box.begun.withLock { $0 += 1 }
            switch request.path {
            case "/idle": return .text("hello")
            case "/file": return HTTPResponse(body: .bytes([UInt8](repeating: 65, count: size)))
            default:
                return HTTPResponse(
                    body: .stream { writer in
                        // Events that never come.
                        try await writer.untilStopping {
                            try await writer.write("tick\n")
                            try await Task.sleep(for: .seconds(3600))
                        }
                        try await writer.write("bye")
                    })
            }
        }
        var options = HTTPServerOptions()
        options.grace = .seconds(20)
        let (took, ends) = try await end(options: options, handler) { place, cancel in
            try await withThrowingTaskGroup(of: (path: String, isRight: Bool, at: ContinuousClock.Instant).self) { group in
                for _ in 0..<100 {
                    for path in ["/file", "/stream", "/idle"] {
                        group.addTask { (path, try await Self.client(place, path, size), .now) }
                    }
                }
                while box.begun.withLock({ $0 }) < 300 { try await Task.sleep(for: .milliseconds(20)) }
                cancel()
                return try await group.reduce(into: []) { $0.append($1) }
            }
        }
        let right = Dictionary(grouping: ends.filter(\.isRight), by: \.path).mapValues(\.count)
        #expect(right == ["/file": 100, "/stream": 100, "/idle": 100])
        let last = { (path: String) in ends.filter { $0.path == path }.map(\.at).max() ?? .now }
        #expect(last("/idle") < last("/file") && last("/stream") < last("/file"))
        #expect(took < .seconds(15))
    }

    /// Whether what came is what was promised: a file that is read slowly, a stream with its last words, an answer and then an end.
    private static func client(_ place: String, _ path: String, _ size: Int) async throws -> Bool {
        try await TCP.withConnection(to: place) { connection in
            try await connection.write("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n")
            switch path {
            case "/file":
                var count = 0
                while let piece = try await connection.read(timeout: .seconds(10)) {
                    count += piece.count
                    try await Task.sleep(for: .milliseconds(20))
                }
                return count > size
            case "/stream": return try await everything(of: connection).hasSuffix("3\r\nbye\r\n0\r\n\r\n")
            default: return try await everything(of: connection).content == "hello"
            }
        }
    }

    @Test func `who waits is told that the server stops, and a body that is cancelled by it has not failed`() async throws {
        let box = Box()
        let (took, texts) = try await end { request in
            box.begun.withLock { $0 += 1 }
            if request.path == "/wait" { await request.stopping() } else { try await request.untilStopping { try await Task.sleep(for: .seconds(3600)) } }
            // Afterwards it does not wait at all.
            await request.stopping()
            return .text(request.isStopping && !Task.isCancelled ? "told" : "not told")
        } _: { place, cancel in
            try await withThrowingTaskGroup(of: String.self) { group in
                for path in ["/wait", "/until"] { group.addTask { try await exchange("GET \(path) HTTP/1.1\r\nHost: x\r\n\r\n", with: place).content } }
                while box.begun.withLock({ $0 }) < 2 { try await Task.sleep(for: .milliseconds(5)) }
                cancel()
                return try await group.reduce(into: []) { $0.append($1) }
            }
        }
        #expect(texts == ["told", "told"] && took < .seconds(9))
    }

    @Test func `what a body throws, and its end before the server's, are its own`() async throws {
        let texts = try await withHTTPServer { request in
            try await request.untilStopping { if request.path == "/throw" { throw HTTPFailure(.conflict, "its own") } }
            return .text(request.isStopping ? "stopping" : "going on")
        } _: { place in
            [try await exchange(request("GET /"), with: place), try await exchange(request("GET /throw"), with: place)]
        }
        #expect(texts[0].content == "going on" && texts[1].statusLine == "HTTP/1.1 409 Conflict")
    }

    @Test func `who waits for the end is cancelled when the client goes`() async throws {
        let box = Box()
        try await withHTTPServer { request in
            box.begun.withLock { $0 += 1 }
            await request.stopping()
            if Task.isCancelled { box.isCancelled.withLock { $0 = true } }
            return .text("")
        } _: { place in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                while box.begun.withLock({ $0 }) == 0 { try await Task.sleep(for: .milliseconds(5)) }
                connection.abort()
            }
            for _ in 0..<500 where !box.isCancelled.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(20)) }
        }
        #expect(box.isCancelled.withLock { $0 })
    }

    @Test func `a download that was promised whole is whole, though its client pauses for longer than the loop lingers`() async throws {
        let size = 24 << 20, box = Box()
        let (took, count) = try await end { _ in
            box.begun.withLock { $0 += 1 }
            return HTTPResponse(body: .bytes([UInt8](repeating: 65, count: size)))
        } _: { place, cancel in
            try await TCP.withConnection(to: place, options: Self.smallWindow) { connection in
                try await connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                while box.begun.withLock({ $0 }) == 0 { try await Task.sleep(for: .milliseconds(20)) }
                cancel()
                try await Task.sleep(for: .seconds(3))
                var count = 0
                while let piece = try await connection.read(timeout: .seconds(10)) { count += piece.count }
                return count
            }
        }
        #expect(count > size && took < .seconds(9))
    }

    private static var smallWindow: StreamOptions {
        var options = StreamOptions()
        options.receiveBuffer = 65536
        return options
    }

    @Test func `at the end of the grace handlers are cancelled, and a stream is broken, not ended`() async throws {
        var options = HTTPServerOptions()
        options.grace = .milliseconds(300)
        let box = Box()
        let (took, hasEnd) = try await end(options: options) { _ in
            HTTPResponse(
                body: .stream { writer in
                    try await writer.write("begun")
                    do { try await Task.sleep(for: .seconds(30)) } catch {
                        box.isCancelled.withLock { $0 = true }
                        throw error
                    }
                })
        } _: { place, cancel in
            try await TCP.withConnection(to: place) { connection in
                try await connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                _ = try await answer(from: connection, until: "begun\r\n")
                cancel()
                do { return try await everything(of: connection).hasSuffix("0\r\n\r\n") } catch { return false }
            }
        }
        #expect(!hasEnd && took < .seconds(9))
        for _ in 0..<1000 where !box.isCancelled.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(box.isCancelled.withLock { $0 })
    }

    private final class Box: Sendable {
        let isCancelled = Mutex(false), begun = Mutex(0)
    }

    @Test func `an address that is none, or taken, is an error that says so`() async throws {
        for address in ["localhost:80", "ftp://localhost", "https://localhost:0", "http://localhost:port"] {
            await #expect(throws: NetError.self) { try await HTTPServer.serve(on: address) { _ in .text("") } }
        }
        try await withHTTPServer { _ in
            .text("")
        } _: { place in
            do {
                try await HTTPServer.serve(on: "http://\(place)") { _ in .text("") }
                Issue.record("two servers on one address")
            } catch let error as NetError { #expect(error.kind == .addressInUse) }
        }
    }
}
