internal import MartletEventLoop

/// Where a streaming response's content goes. Any task may use it until the closure that it was given to returns.
public struct HTTPBodyWriter: Sendable {
    let connection: HTTPServerConnection
    let number: UInt64

    /// Sends bytes: what one turn of the loop has is sent together. Suspends while more than 256 KiB wait to leave.
    /// Throws `NetError` when the client is gone, when more is written than was promised, and when the task is cancelled.
    public func write(_ bytes: [UInt8]) async throws(NetError) {
        if connection.loop.isCurrent {
            switch connection.channel.write(bytes, number, on: connection.loop) {
            case .written: return
            case .full: return try outcome(await waitForRoom())
            case .closed: throw connection.error(.closed)
            case .tooLong: throw connection.error(.tooLong)
            }
        }
        let answer = Once<HTTPServerChannel.Room>(), number = number
        connection.onLoop { $0.write(bytes, number, answer, on: $1) }
        try outcome(await wait(answer))
    }

    public func write(_ text: String) async throws(NetError) { try await write(Array(text.utf8)) }

    /// The server is ending: a stream without an end should come to one.
    public var isStopping: Bool { connection.server.isStopping }
    /// Returns when the server is ending, or the task is cancelled.
    public func stopping() async { await connection.server.awaitStopping() }

    /// Runs `body`, which writes what comes, and is cancelled when the server is ending; behind it last words can be written:
    /// ```
    /// .stream { writer in
    ///     try await writer.untilStopping { for try await event in events { try await writer.write("data: \(event)\n\n") } }
    ///     try await writer.write("event: end\ndata:\n\n")
    /// }
    /// ```
    /// Throws what `body` throws, but not that it was cancelled so.
    public func untilStopping(_ body: @escaping @Sendable () async throws -> Void) async throws { try await connection.server.untilStopping(body) }

    /// Bytes of a file from where it begins; answers how many have left, 0 at the file's end, nil if they have to be written instead.
    func send(_ file: Int32, _ part: Range<Int>) async throws(NetError) -> Int? {
        guard connection.loop.isCurrent else { return nil }
        while true {
            switch connection.channel.send(file, part, number, on: connection.loop) {
            case .sent(let count): return count
            case .impossible: return nil
            case .closed: throw connection.error(.closed)
            case .full:
                let answer = Once<HTTPServerChannel.Room>()
                connection.channel.awaitWritable(answer, number, on: connection.loop)
                try outcome(await wait(answer))
            }
        }
    }

    private func waitForRoom() async -> HTTPServerChannel.Room {
        let answer = Once<HTTPServerChannel.Room>(), number = number
        connection.onLoop { $0.awaitRoom(answer, number, on: $1) }
        return await wait(answer)
    }

    private func wait(_ answer: Once<HTTPServerChannel.Room>) async -> HTTPServerChannel.Room {
        await withTaskCancellationHandler {
            await answer.wait()
        } onCancel: {
            answer.resume(returning: .cancelled)
        }
    }

    private func outcome(_ room: HTTPServerChannel.Room) throws(NetError) {
        switch room {
        case .room: return
        case .cancelled: throw connection.error(.cancelled)
        case .closed: throw connection.error(.closed)
        case .tooLong: throw connection.error(.tooLong)
        }
    }
}
