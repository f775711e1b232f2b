internal import MartletBytes
internal import MartletEventLoop
internal import Synchronization

/// A request's content as it comes, in pieces of any size. One task reads, once. Not reading is back-pressure: the client is not read from while
/// 256 KiB wait; what nobody reads is thrown away after the response.
public struct HTTPBody: AsyncSequence, Sendable {
    public typealias Element = [UInt8]
    public typealias Failure = HTTPFailure
    let intake: HTTPIntake?

    public struct AsyncIterator: AsyncIteratorProtocol {
        let intake: HTTPIntake?
        public mutating func next() async throws(HTTPFailure) -> [UInt8]? { try await next(isolation: nil) }
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(HTTPFailure) -> [UInt8]? {
            guard let intake else { return nil }
            return try await intake.read()
        }
    }

    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(intake: intake) }

    /// Fields that stood behind the content (RFC 9110 section 6.5), once all of it was read; mostly none. Nothing in them is to be trusted more than content.
    public var trailers: HTTPFields { intake?.trailers ?? HTTPFields() }

    /// All of it. Throws 413 above `max` bytes.
    public func collect(max: Int = 1 << 20) async throws(HTTPFailure) -> [UInt8] {
        guard let intake else { return [] }
        if let length = intake.length, length > max { throw HTTPFailure(.contentTooLarge, "content of \(length) bytes, at most \(max) are taken") }
        var all: [UInt8] = []
        while let piece = try await intake.read() {
            guard all.count + piece.count <= max else { throw HTTPFailure(.contentTooLarge, "content of more than \(max) bytes") }
            if all.isEmpty { all = piece } else { all += piece }
        }
        return all
    }
}

/// Between the loop, which puts what arrives, and the task that reads.
///
/// Invariant: a piece is given to one read. The lock is held for a few instructions.
final class HTTPIntake: Sendable {
    private enum Answer: Sendable {
        case bytes([UInt8])
        case ended, cancelled, failed, busy
    }
    private struct State: ~Copyable {
        var received: [UInt8] = []
        var reader: Waiter<Answer>?
        var hasEnded = false
        var hasFailed = false
        var isPaused = false
        var wasAsked = false
        var trailers: [UInt8] = []
    }
    private let state = Mutex(State())
    private let connection: HTTPServerConnection
    /// Declared beforehand.
    let length: Int?
    private let expectsContinue: Bool
    static let limit = 1 << 18

    init(_ head: HTTPRequestHead, _ connection: HTTPServerConnection) {
        self.connection = connection
        length = head.isChunked ? nil : Int(clamping: head.contentLength)
        expectsContinue = head.expectsContinue
    }

    // MARK: The loop's side

    /// Answers whether enough waits.
    func put(_ bytes: [UInt8]) -> Bool {
        var isFull = false
        let reader = state.withLock { state -> Waiter<Answer>? in
            if let reader = state.reader.take() { return reader }
            if state.received.isEmpty { state.received = bytes } else { state.received += bytes }
            isFull = state.received.count >= Self.limit
            if isFull { state.isPaused = true }
            return nil
        }
        if let reader { reader.resume(returning: .bytes(bytes)) }
        return isFull
    }

    /// No more comes: all was there, or the connection is gone.
    func end(isWhole: Bool, trailers: [UInt8] = []) {
        let reader = state.withLock { state -> Waiter<Answer>? in
            guard !state.hasEnded, !state.hasFailed else { return nil }
            state.trailers = trailers
            if isWhole { state.hasEnded = true } else { state.hasFailed = true }
            return state.reader.take()
        }
        if let reader { reader.resume(returning: isWhole ? .ended : .failed) }
    }

    // MARK: The reader's side

    var trailers: HTTPFields {
        state.withLock { state in
            state.received.isEmpty && !state.trailers.isEmpty ? HTTPFields(state.trailers, ByteRange(0, state.trailers.count)) : HTTPFields()
        }
    }

    func read() async throws(HTTPFailure) -> [UInt8]? {
        if let answer = take() { return try outcome(answer) }
        let answer = await withTaskCancellationHandler {
            await Waiter<Answer>.wait { waiter in place(waiter) }
        } onCancel: {
            let reader = state.withLock { $0.reader.take() }
            if let reader { reader.resume(returning: .cancelled) }
        }
        return try outcome(answer)
    }

    private func place(_ waiter: consuming Waiter<Answer>) {
        var waiter: Waiter<Answer>? = consume waiter
        let answer = state.withLock { state -> Answer? in
            if !state.received.isEmpty || state.hasEnded || state.hasFailed { return Self.taken(&state) }
            if Task.isCancelled { return .cancelled }
            if state.reader != nil { return .busy }
            state.reader = waiter.take()
            return nil
        }
        if let answer, let waiter = waiter.take() { waiter.resume(returning: answer) }
    }

    private static func taken(_ state: inout State) -> Answer? {
        if !state.received.isEmpty {
            var bytes: [UInt8] = []
            swap(&bytes, &state.received)
            return .bytes(bytes)
        }
        return state.hasEnded ? .ended : state.hasFailed ? .failed : nil
    }

    /// What is there. The first to ask has the client told that it may send, and who empties it has the loop read on.
    private func take() -> Answer? {
        var wasPaused = false, isFirst = false
        let answer = state.withLock { state -> Answer? in
            let answer = Self.taken(&state)
            (wasPaused, state.isPaused) = (state.isPaused, false)
            if answer == nil, !state.wasAsked { (isFirst, state.wasAsked) = (true, true) }
            return answer
        }
        if wasPaused { connection.onLoop { $0.readOn(on: $1) } }
        if isFirst, expectsContinue { connection.onLoop { [self] in $0.goAhead(self, on: $1) } }
        return answer
    }

    private func outcome(_ answer: Answer) throws(HTTPFailure) -> [UInt8]? {
        switch answer {
        case .bytes(let bytes): return bytes
        case .ended: return nil
        case .cancelled: throw HTTPFailure(.serviceUnavailable, "the server is ending")
        case .busy: throw HTTPFailure(.internalServerError, "two tasks read one request's content")
        case .failed: throw HTTPFailure(.badRequest, "the request's content did not arrive")
        }
    }
}
