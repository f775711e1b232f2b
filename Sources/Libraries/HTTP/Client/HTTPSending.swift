internal import MartletSockets
internal import Synchronization

/// The content of one request on its way, in a task of its own beside the one that reads the response.
final class HTTPSending: Sendable {
    private struct State {
        var task: Task<Void, Never>?
        var failure: HTTPClientError?
        /// Counts what was written: somebody makes progress.
        var progress = 0
    }
    private let connection: HTTPClientConnection
    private let silenceTimeout: Duration
    private let attempt: String
    private let state = Mutex(State())
    /// Pieces that large content is cut into, so that it is not copied at once.
    private static let pieceSize = 1 << 16

    init(_ connection: HTTPClientConnection, silenceTimeout: Duration, attempt: String) {
        self.connection = connection
        self.silenceTimeout = silenceTimeout
        self.attempt = attempt
    }

    /// Why it stopped.
    var failure: HTTPClientError? { state.withLock { $0.failure } }
    var progress: Int { state.withLock { $0.progress } }
    var isUnderWay: Bool { connection.isRequesting && failure == nil }

    func begin(_ content: HTTPClientRequest.Body.Content) {
        let task = Task { [self] in
            do {
                switch content {
                case .bytes(let bytes):
                    for start in stride(from: 0, to: bytes.count, by: Self.pieceSize) {
                        try await write(Array(bytes[start..<min(start + Self.pieceSize, bytes.count)]))
                    }
                case .stream(_, let write): try await write(HTTPRequestWriter(sending: self))
                }
                try await finish()
            } catch {
                // What the network did is the reader's to find out, with the response that may have come before.
                let failure = error as? HTTPClientError ?? HTTPClientError(.bodyFailed, "\(attempt): the content could not be written: \(error)")
                state.withLock { $0.failure = $0.failure ?? failure }
                if failure.kind != .connectionLost { connection.stream.abort() }
            }
        }
        state.withLock { $0.task = task }
    }

    func write(_ bytes: [UInt8]) async throws(HTTPClientError) {
        if Task.isCancelled { throw HTTPClientError(.cancelled, "\(attempt): the response ended before the content was written") }
        let piece: [UInt8]
        do throws(HTTPMisuse) { piece = try connection.append(bytes) } catch {
            throw HTTPClientError(.requestInvalid, "\(attempt): more content was written than its length of before promised, or after the response")
        }
        try await send(piece)
    }

    private func finish() async throws(HTTPClientError) {
        let piece: [UInt8]
        do throws(HTTPMisuse) { piece = try connection.end() } catch {
            throw HTTPClientError(.requestInvalid, "\(attempt): less content was written than its length of before promised, or after the response")
        }
        if !piece.isEmpty { try await send(piece) }
    }

    private func send(_ bytes: [UInt8]) async throws(HTTPClientError) {
        do throws(NetError) { try await connection.stream.write(bytes, timeout: silenceTimeout) } catch {
            throw HTTPClientError(error.kind == .cancelled ? .cancelled : .connectionLost, "\(attempt): \(error)", network: error)
        }
        state.withLock { $0.progress += 1 }
    }

    /// Nobody wants the rest.
    func cancel() { state.withLock { $0.task }?.cancel() }
}
