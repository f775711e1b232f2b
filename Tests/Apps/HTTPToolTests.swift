import MartletHTTP
import MartletNet
import Testing

@testable import martlet

private func serve(_ words: String...) throws(CommandFailure) -> HTTPServeCommand.Options {
    try HTTPServeCommand.Options(Arguments(words, for: HTTPServeCommand.command))
}

private func bench(_ words: String...) throws(CommandFailure) -> HTTPBenchOptions {
    try HTTPBenchOptions(Arguments(words, for: HTTPBenchOptions.command))
}

private func refusal(_ body: () throws(CommandFailure) -> Void) -> String {
    do throws(CommandFailure) {
        try body()
        return "accepted"
    } catch { return "\(error.code) \(error.sentence)" }
}

@Suite struct HTTPToolTests {
    @Test func `this directory is served on the course's port, unless something else is said`() throws {
        let plain = try serve()
        #expect((plain.directory, plain.address, plain.loopCount, plain.grace) == (".", "http://127.0.0.1:8000", 1, .seconds(10)))
        #expect(plain.listsDirectories && plain.fallback == nil && !plain.isQuiet)
        let other = try serve("site", "--host", "::1", "--port", "0", "--loops", "4", "--grace", "0.5", "--no-listing", "-q")
        #expect((other.directory, other.address, other.loopCount, other.grace) == ("site", "http://[::1]:0", 4, .seconds(0.5)))
        #expect(!other.listsDirectories && other.isQuiet)
        #expect(try serve("--listen", ":80").address == "http://:80")
        #expect(try serve("--listen", "unix:/run/x.sock").address == "http+unix:///run/x.sock")
        #expect(try serve("--listen", "localhost:1", "--cert", "c", "--tls-key", "k").address == "https://localhost:1")
        #expect(try !serve("--spa", "index.html").listsDirectories)
    }

    @Test func `a place that is none, or said twice, is refused`() {
        #expect(refusal { () throws(CommandFailure) in _ = try serve("--listen", "x") }.hasPrefix("64 http serve: --listen x: say HOST:PORT"))
        #expect(refusal { () throws(CommandFailure) in _ = try serve("--listen", ":1", "--host", "x") }.hasSuffix("leave out --host and --port"))
        #expect(refusal { () throws(CommandFailure) in _ = try serve("a", "b") } == "64 http serve: unexpected \"b\": say one directory")
        #expect(refusal { () throws(CommandFailure) in _ = try serve("--key", "k") }.hasPrefix("64 --key needs --cert"))
    }

    @Test func `the request of a bench is what is sent each time`() throws {
        let plain = try bench(":8000/items/5?a=b c")
        #expect(String(decoding: plain.request, as: UTF8.self) == "GET /items/5?a=b%20c HTTP/1.1\r\nHost: localhost:8000\r\n\r\n")
        #expect((plain.load.connectionCount, plain.load.depth, plain.load.seconds, plain.method) == (50, 1, 5, .get))
        #expect("\(plain.load.place)" == "localhost:8000" && plain.load.tls == nil && plain.load.size == plain.request.count)
        let post = try bench("https://h", "--body", "abc", "-H", "Host: own", "-H", "A:1", "-H", "a: 2", "--rate", "9", "-c", "2", "--depth", "3")
        #expect(String(decoding: post.request, as: UTF8.self) == "POST / HTTP/1.1\r\nHost: own\r\nA: 1\r\na: 2\r\nContent-Length: 3\r\n\r\nabc")
        #expect((post.load.connectionCount, post.load.depth, post.load.rate) == (2, 3, 9) && post.load.tls != nil)
        #expect(try bench("h", "--rate", "9").load.depth == 1)
        #expect(try bench("h", "-X", "PURGE").method == .other)
        #expect(try bench("http+unix:///x.sock:/y").load.place == .unix("/x.sock"))
    }

    @Test func `what cannot be sent is refused`() {
        #expect(refusal { () throws(CommandFailure) in _ = try bench("h", "-X", "CONNECT") }.hasPrefix("64 bench http: CONNECT"))
        #expect(refusal { () throws(CommandFailure) in _ = try bench("h", "-H", "A") } == "64 bench http: -H A: say NAME:VALUE")
        #expect(refusal { () throws(CommandFailure) in _ = try bench("h", "-H", "Content-Length:5") }.hasPrefix("64 bench http: -H:"))
        #expect(refusal { () throws(CommandFailure) in _ = try bench("h", "-H", "Host:a b") }.hasPrefix("64 bench http: GET http://h/ cannot be sent"))
        #expect(refusal { () throws(CommandFailure) in _ = try bench("h", "-X", "A B") }.contains("cannot be sent"))
        #expect(refusal { () throws(CommandFailure) in _ = try bench("h", "--insecure") }.contains("without TLS"))
        #expect(refusal { () throws(CommandFailure) in _ = try bench("u:p@h") }.contains("-H 'Authorization"))
    }
}
