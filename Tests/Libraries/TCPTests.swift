import MartletSockets
import Testing

/// TCP over loopback: a server in a task, and clients beside it.
@Suite(.timeLimit(.minutes(10))) struct TCPTests {
    @Test func `an echo server gives back what it is sent, and the end after it`() async throws {
        try await withEchoServer { address in
            let answer = try await TCP.withConnection(to: address) { connection in
                try await connection.write("hello, ")
                try await connection.write("world")
                try await connection.finishWriting()
                var answer: [UInt8] = []
                for try await chunk in connection.inbound { answer += chunk }
                return String(decoding: answer, as: UTF8.self)
            }
            #expect(answer == "hello, world")
        }
    }

    @Test func `lines, prefixed frames and fixed frames come whole`() async throws {
        try await withEchoServer { address in
            try await TCP.withConnection(to: address) { connection in
                try await connection.write("one\r\ntwo\n\nthree\n")
                var lines: [String] = []
                for try await line in connection.inbound.lines() {
                    lines.append(line)
                    if lines.count == 4 { break }
                }
                #expect(lines == ["one", "two", "", "three"])
                for size in [0, 1, 70_000] { try await connection.write(frame: [UInt8](repeating: 7, count: size), prefix: .uint32) }
                var sizes: [Int] = []
                for try await frame in connection.inbound.frames(prefix: .uint32) {
                    sizes.append(frame.count)
                    if sizes.count == 3 { break }
                }
                #expect(sizes == [0, 1, 70_000])
                try await connection.write("abcdefg")
                try await connection.finishWriting()
                var pieces: [String] = []
                let error = await #expect(throws: NetError.self) {
                    for try await piece in connection.inbound.frames(size: 3) { pieces.append(String(decoding: piece, as: UTF8.self)) }
                }
                #expect(pieces == ["abc", "def"])
                #expect(error?.kind == .truncated)
            }
        }
    }
}

/// Runs `body` beside a server whose handler is `handler`, by default an echo; both have ended afterwards.
func withServer<Result: Sendable>(
    options: StreamOptions = StreamOptions(), loops: Int = 1, handler: @escaping @Sendable (TCPConnection) async throws -> Void,
    _ body: (String) async throws -> Result
) async throws -> Result {
    let (addresses, ready) = AsyncStream.makeStream(of: SocketAddress.self)
    return try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await TCP.listen(on: "127.0.0.1:0", options: options, loops: loops, ready: { ready.yield($0) }, handler) }
        let address = try #require(await addresses.first { _ in true })
        let result = try await body("\(address)")
        group.cancelAll()
        try await group.waitForAll()
        return result
    }
}

func withEchoServer<Result: Sendable>(loops: Int = 1, _ body: (String) async throws -> Result) async throws -> Result {
    try await withServer(loops: loops, handler: { connection in for try await chunk in connection.inbound { try await connection.write(chunk) } }, body)
}
