import MartletHTTP
import Testing

/// Which handler a path leads to.
@Suite(.timeLimit(.minutes(10))) struct HTTPRouterTests {
    private static let router: HTTPRouter = {
        var router = HTTPRouter()
        router.get("/") { _ in .text("root") }
        router.get("/items/{id}") { request in .text("item \(request.parameter("id") ?? "?") \(request.integer("id").map { "\($0)" } ?? "-")") }
        router.put("/items/{name}") { request in .text("put \(request.parameter("name") ?? "?") \(request.parameter("id") ?? "none")") }
        router.get("/items/first") { _ in .text("first") }
        router.get("/items/{id}/parts/{part}") { request in .text("\(request.parameter("id") ?? "")/\(request.parameter("part") ?? "")") }
        router.get("/items/first/{rest...}") { request in .text("rest \(request.parameter("rest") ?? "?")") }
        router.on("PURGE", "/items/{id}") { _ in .text("purged") }
        return router
    }()

    private func answers(_ lines: [String]) async throws -> [String] {
        try await withHTTPServer(router: Self.router) { place in
            var answers: [String] = []
            for line in lines { answers.append(try await exchange(request(line), with: place)) }
            return answers
        }
    }

    @Test func `what is written out goes before a parameter, and a parameter before the rest`() async throws {
        let lines = [
            "GET /", "GET /items/5", "GET /items/first", "GET /items/9/parts/b", "GET /items/first/parts/b", "GET /items/first/x/y", "GET /items/first/",
            "PUT /items/5", "PURGE /items/5", "GET http://x/items/7?a=b",
        ]
        let contents = try await answers(lines).map(\.content)
        #expect(
            contents == [
                "root", "item 5 5", "first", "9/b", "rest parts/b", "rest x/y", "rest ", "put 5 none", "purged", "item 7 7",
            ])
    }

    @Test func `segments are compared and given decoded, a slash in one stays in it`() async throws {
        let contents = try await answers(["GET /it%65ms/f%69rst", "GET /items/a%2Fb%20c", "GET /items/%35", "GET /items/-7", "GET /items/99999999999999999999"])
            .map(\.content)
        #expect(contents == ["first", "item a/b c -", "item 5 5", "item -7 -7", "item 99999999999999999999 -"])
    }

    @Test func `what is not validly encoded is 400`() async throws {
        let texts = try await answers(["GET /items/%zz", "GET /items/%f", "GET /items/%ff", "GET /items/%"])
        #expect(texts.allSatisfy { $0.statusLine == "HTTP/1.1 400 Bad Request" && $0.content.contains("not validly encoded") })
    }

    @Test func `what is nowhere is 404`() async throws {
        let texts = try await answers(["GET /nothing", "GET /items", "GET /items/", "GET //", "GET /items/5/", "GET /items/5/parts"])
        #expect(texts.allSatisfy { $0.statusLine == "HTTP/1.1 404 Not Found" })
    }

    @Test func `another method is 405 with those that are allowed`() async throws {
        let texts = try await answers(["POST /items/5", "DELETE /", "purge /items/5"])
        #expect(texts.allSatisfy { $0.statusLine == "HTTP/1.1 405 Method Not Allowed" })
        #expect(texts[0].contains("Allow: GET, HEAD, OPTIONS, PURGE, PUT\r\n"))
        #expect(texts[1].contains("Allow: GET, HEAD, OPTIONS\r\n"))
    }

    @Test func `every path answers OPTIONS, and HEAD where it has GET`() async throws {
        let texts = try await answers(["OPTIONS /items/5", "OPTIONS *", "HEAD /items/5"])
        #expect(texts[0].statusLine == "HTTP/1.1 204 No Content" && texts[0].contains("Allow: GET, HEAD, OPTIONS, PURGE, PUT\r\n"))
        #expect(texts[1].statusLine == "HTTP/1.1 204 No Content" && texts[1].contains("Allow: GET, HEAD, OPTIONS, PURGE, PUT\r\n"))
        #expect(texts[2].statusLine == "HTTP/1.1 200 OK" && texts[2].contains("Content-Length: 8\r\n") && texts[2].content.isEmpty)
    }
}
