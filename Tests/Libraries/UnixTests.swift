import Glibc
import MartletSockets
import Testing

@Suite(.timeLimit(.minutes(10))) struct UnixTests {
    /// Runs `body` beside an echo server on `path` that first says who it is talking to.
    private func withServer(on path: String, _ body: (String) async throws -> Void) async throws {
        let (addresses, ready) = AsyncStream.makeStream(of: SocketAddress.self)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await Unix.listen(on: path, ready: { ready.yield($0) }) { connection in
                    try await connection.write("\(connection.credentials?.process ?? 0) \(connection.credentials?.user ?? .max)\n")
                    for try await chunk in connection.inbound { try await connection.write(chunk) }
                }
            }
            let address = try #require(await addresses.first { _ in true })
            try await body("\(address)")
            group.cancelAll()
            try await group.waitForAll()
        }
    }

    @Test(arguments: ["/tmp/martlet-test-\(UInt64.random(in: .min ... .max)).sock", "@martlet-test-\(UInt64.random(in: .min ... .max))"])
    func `a path and an abstract name: credentials, bytes, half-close`(path: String) async throws {
        try await withServer(on: path) { address in
            #expect(address == path)
            try await Unix.withConnection(to: path) { connection in
                var lines = connection.inbound.lines().makeAsyncIterator()
                #expect(try await lines.next() == "\(getpid()) \(getuid())")
                #expect(connection.credentials?.process == getpid())
                #expect(connection.info == nil)
                try await connection.write("hello\n")
                try await connection.finishWriting()
                #expect(try await lines.next() == "hello")
                #expect(try await lines.next() == nil)
            }
        }
        // The file went with the server, and so did the name.
        let error = await #expect(throws: NetError.self) { try await Unix.withConnection(to: path) { _ in } }
        #expect(error?.kind == .refused)
    }

    @Test func `a path that is too long, and one that is not a socket`() async {
        let tooLong = await #expect(throws: NetError.self) { try await Unix.withConnection(to: "/tmp/" + String(repeating: "x", count: 120)) { _ in } }
        #expect(tooLong?.kind == .tooLong)
        let file = await #expect(throws: NetError.self) { try await Unix.listen(on: "/etc/passwd") { _ in } }
        #expect(file?.kind == .addressInUse)
    }
}
