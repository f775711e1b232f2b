internal import MartletBytes
internal import MartletSockets
internal import Synchronization

/// One request and its response on one connection. One task reads; dropped before the response is whole, it ends the connection.
final class HTTPExchange: Sendable {
    /// What is not to be exceeded.
    struct Times: Sendable {
        var answer: Duration
        var silence: Duration
        /// Of the whole call.
        var end: ContinuousClock.Instant?
        /// When the call began, and how long it may take: for the sentence.
        var began: ContinuousClock.Instant
        var whole: Duration?
    }
    private struct State {
        /// Content that came with the head.
        var content: [UInt8] = []
        var hasEnded = false
        var sentAt = ContinuousClock.now
        var heardAt: ContinuousClock.Instant?
        var timings: HTTPClientTimings
    }
    private let lease: HTTPLease
    private let attempt: String
    private let times: Times
    private let sending: HTTPSending
    private let state: Mutex<State>
    private var connection: HTTPClientConnection { lease.connection }
    /// Content up to here is written with the head.
    private static let inlineMax = 1 << 16
    /// As curl's: many servers do not answer.
    private static let continueTimeout = Duration.seconds(1)

    init(_ lease: HTTPLease, attempt: String, times: Times, timings: HTTPClientTimings) {
        self.lease = lease
        self.attempt = attempt
        self.times = times
        sending = HTTPSending(lease.connection, silenceTimeout: times.silence, attempt: attempt)
        state = Mutex(State(timings: timings))
    }

    deinit { sending.cancel() }

    var timings: HTTPClientTimings { state.withLock { $0.timings } }

    /// Sends the request, and answers the response's head.
    func run(_ request: HTTPClientRequest, host: String, lines: [UInt8]) async throws(HTTPClientError) -> HTTPClientConnection.Taken {
        let content: HTTPContentLength
        var inline: [UInt8]?
        switch request.body.content {
        case .bytes(let bytes):
            content = bytes.isEmpty ? .none : .exactly(UInt64(bytes.count))
            if bytes.count <= Self.inlineMax, bytes.isEmpty || !request.waitsForContinue { inline = bytes }
        case .stream(let length, _): content = length.map { .exactly($0) } ?? .unknown
        }
        let head: [UInt8]
        do throws(HTTPMisuse) {
            let target = request.authority ?? request.url.target
            head = try connection.begin(request.method, target, host: request.authority ?? host, lines: lines, content: content, body: inline)
        } catch {
            lease.end(isWhole: true)
            throw HTTPClientError(.requestInvalid, "cannot send \(attempt): \(Self.words(error))")
        }
        state.withLock { $0.sentAt = .now }
        // If the connection is gone, reading says so; and an answer may have come before.
        do throws(NetError) { try await connection.stream.write(head, timeout: limit(times.silence).timeout) } catch {
            if error.kind == .cancelled { throw fail(error, .answering) }
        }
        var early: HTTPClientConnection.Taken?
        if inline == nil, request.waitsForContinue { early = try await awaitContinue() }
        if early == nil, inline == nil { sending.begin(request.body.content) }
        while true {
            let taken = try await answer(early)
            guard taken.status != nil else { continue }
            state.withLock { $0.content = taken.content }
            if taken.isTunnel { leave() } else if taken.hasEnded { end() }
            return taken
        }
    }

    private func answer(_ early: HTTPClientConnection.Taken?) async throws(HTTPClientError) -> HTTPClientConnection.Taken {
        if let early { return early }
        return try await receive(.answering)
    }

    /// Until the server wants the content, or has said nothing for a second (RFC 9110 section 10.1.1): nil. Or it has answered without.
    private func awaitContinue() async throws(HTTPClientError) -> HTTPClientConnection.Taken? {
        let end = ContinuousClock.now + Self.continueTimeout
        while true {
            let bytes: [UInt8]?, taken: HTTPClientConnection.Taken
            do throws(NetError) { bytes = try await connection.stream.read(timeout: limit(max(.zero, end - .now)).timeout) } catch {
                if error.kind == .timedOut { return nil }
                throw fail(error, .answering)
            }
            do throws(HTTPViolation) {
                if let bytes { taken = try connection.take(bytes) } else { taken = try connection.takeEnd() }
            } catch { throw fail(error) }
            if !taken.isEmpty {
                noteAnswer()
                return taken
            }
            if bytes == nil { throw fail(HTTPViolation.ended) }
            if taken.wantsContent {
                connection.forgetHeard()
                return nil
            }
        }
    }

    private static func words(_ misuse: HTTPMisuse) -> String {
        switch misuse {
        case .methodInvalid: "the method is no token (RFC 9110, 9.1)"
        case .targetInvalid: "the target or the host is none that a request may have (RFC 9112, 3.2)"
        case .fieldsInvalid: "a field is none that a request may have (RFC 9110, 5)"
        case .contentTooLong, .contentTooShort, .outOfTurn, .statusInvalid: "its content does not fit (\(misuse))"
        }
    }

    /// The next piece of the content; nil at its end.
    func next() async throws(HTTPClientError) -> [UInt8]? {
        let (first, hasEnded) = state.withLock { state -> ([UInt8], Bool) in
            var first: [UInt8] = []
            swap(&first, &state.content)
            return (first, state.hasEnded)
        }
        if !first.isEmpty { return first }
        if hasEnded { return nil }
        let taken = try await receive(.receiving)
        if taken.hasEnded { end() }
        return taken.content.isEmpty ? nil : taken.content
    }

    private func end() {
        let now = ContinuousClock.now
        state.withLock { state in
            state.hasEnded = true
            state.timings.receiving = state.heardAt.map { now - $0 } ?? .zero
            state.timings.whole = now - times.began
        }
        // An answer that did not wait for the request's end leaves the rest unsaid: the connection goes with it.
        lease.end(isWhole: !connection.isRequesting)
        sending.cancel()
    }

    /// The connection, once it has gone over to another protocol.
    var tunnel: HTTPTunnel { connection.makeTunnel() }

    /// The connection is no longer the pool's, nor this.
    private func leave() {
        let now = ContinuousClock.now
        state.withLock { state in
            state.hasEnded = true
            state.timings.whole = now - times.began
        }
        lease.leave()
    }

    /// The rest is not wanted.
    func abandon() {
        state.withLock { $0.hasEnded = true }
        lease.end(isWhole: false)
        sending.cancel()
    }

    // MARK: Reading

    private func receive(_ phase: HTTPClientPhase) async throws(HTTPClientError) -> HTTPClientConnection.Taken {
        do throws(HTTPViolation) {
            let taken = try connection.take([])
            if !taken.isEmpty { return taken }
        } catch { throw fail(error) }
        while true {
            let bytes = try await read(phase)
            do throws(HTTPViolation) {
                let taken: HTTPClientConnection.Taken
                if let bytes { taken = try connection.take(bytes) } else { taken = try connection.takeEnd() }
                if !taken.isEmpty { return taken }
                // A connection that has ended brings nothing more.
                if bytes == nil { throw .ended }
            } catch { throw fail(error) }
        }
    }

    private func read(_ phase: HTTPClientPhase) async throws(HTTPClientError) -> [UInt8]? {
        while true {
            let progress = sending.progress
            let isAnswering = !connection.hasHeard
            let (timeout, late) = limit(isAnswering ? times.answer : times.silence)
            do throws(NetError) {
                let bytes = try await connection.stream.read(timeout: timeout)
                if bytes != nil, isAnswering { noteAnswer() }
                return bytes
            } catch {
                guard error.kind == .timedOut else { throw fail(error, phase) }
                do throws(HTTPViolation) { try connection.wake() } catch { throw fail(error) }
                if let late { throw fail(late) }
                // While the content leaves, no answer is due.
                if isAnswering, sending.isUnderWay || sending.progress != progress { continue }
                throw fail(isAnswering ? .answering : .receiving)
            }
        }
    }

    private func noteAnswer() {
        let now = ContinuousClock.now
        state.withLock { state in
            state.heardAt = now
            state.timings.answering = now - state.sentAt
            state.timings.whole = now - times.began
        }
    }

    /// A phase's time, cut by the machine's and by the whole; `whole` if that is the nearest.
    private func limit(_ time: Duration) -> (timeout: Duration, late: HTTPClientPhase?) {
        var timeout = time
        let deadline = connection.deadline
        if deadline != .never { timeout = min(timeout, max(.zero, deadline - connection.stream.now)) }
        guard let end = times.end else { return (timeout, nil) }
        let left = max(.zero, end - .now)
        return left < timeout ? (left, .whole) : (timeout, nil)
    }

    // MARK: Failure

    private func fail(_ phase: HTTPClientPhase) -> HTTPClientError {
        abandon()
        let sentence =
            switch phase {
            case .answering: "no answer within \(times.answer.inWords)"
            case .whole: "not done within \((times.whole ?? .zero).inWords)"
            default: "the response stopped for \(times.silence.inWords)"
            }
        return HTTPClientError(.timedOut(phase), "\(attempt): \(sentence)")
    }

    private func fail(_ error: NetError, _ phase: HTTPClientPhase) -> HTTPClientError {
        let isUnanswered = !connection.hasHeard, failure = sending.failure
        abandon()
        if let failure, failure.kind != .connectionLost, failure.kind != .cancelled { return failure }
        if error.kind == .cancelled { return HTTPClientError(.cancelled, "\(attempt): cancelled", network: error) }
        return HTTPClientError(
            .connectionLost,
            "\(attempt): \(isUnanswered ? "the connection was lost before an answer" : "the connection was lost in the middle of the response"): \(error)",
            network: error, isUnanswered: isUnanswered)
    }

    private func fail(_ violation: HTTPViolation) -> HTTPClientError {
        let isUnanswered = !connection.hasHeard, failure = sending.failure
        abandon()
        if let failure, failure.kind != .connectionLost, failure.kind != .cancelled { return failure }
        switch violation {
        case .endedUnanswered, .ended:
            let sentence = isUnanswered ? "the server closed the connection without an answer" : "the connection ended in the middle of the response"
            return HTTPClientError(.connectionLost, "\(attempt): \(sentence)", isUnanswered: isUnanswered)
        default: return HTTPClientError(.violation(violation), "\(attempt): what came is no HTTP response: \(violation.rawValue)")
        }
    }
}

extension Duration {
    /// "10 s", "0.25 s".
    var inWords: String {
        let milliseconds = Int64(self / .milliseconds(1))
        if milliseconds % 1000 == 0 { return "\(milliseconds / 1000) s" }
        return milliseconds < 1000 ? "\(milliseconds) ms" : "\(Double(milliseconds) / 1000) s"
    }
}
