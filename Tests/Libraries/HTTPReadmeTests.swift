import MartletHTTP
import Testing

/// The README's code about HTTP, as it stands there, but for the place (`Tests/Interop/test_examples.py` compares them).
@Suite(.timeLimit(.minutes(10))) struct HTTPReadmeTests {
    private let origin = "http+unix://@martlet-readme-\(UInt64.random(in: 0...UInt64.max)):"

    private func serve(_ ready: AsyncStream<Void>.Continuation) async throws {
        @Sendable func print(_: String) { ready.finish() }

        var router = HTTPRouter()
        router.get("/items/{id}") { request in
            guard let id = request.integer("id") else { throw HTTPFailure.unprocessable("an id is a whole number") }
            return .json(#"{"id":\#(id)}"#)
        }
        router.get("/ticks") { _ in
            HTTPResponse(
                contentType: .events,
                body: .stream { writer in
                    try await writer.untilStopping {
                        while true {
                            try await writer.write("data: tick\n\n")
                            try await Task.sleep(for: .seconds(1))
                        }
                    }
                })
        }
        try await HTTPServer.serve(on: "\(origin.dropLast())", ready: { print("http://\($0)/items/5") }, router)
    }

    private func ask() async throws -> [String] {
        var printed: [String] = []
        func print(_ status: UInt16, _ text: String) { printed.append("\(status) \(text)") }
        func print(_ text: String, terminator: String) { printed.append(text) }

        let client = HTTPClient()
        let response = try await client.get("\(origin)/items/5")
        print(response.status.rawValue, try await response.text())
        for try await piece in try await client.get("\(origin)/ticks").body {
            print(String(decoding: piece, as: UTF8.self), terminator: "")
            break
        }
        return printed
    }

    @Test func `what the README shows works`() async throws {
        let (isReady, ready) = AsyncStream.makeStream(of: Void.self)
        let server = Task { try await serve(ready) }
        for await _ in isReady {}
        #expect(try await ask() == ["200 {\"id\":5}", "data: tick\n\n"])
        server.cancel()
        try await server.value
    }
}
