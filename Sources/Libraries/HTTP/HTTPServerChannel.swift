internal import MartletBytes
internal import MartletEventLoop
internal import MartletLogging

/// A server's connection on its loop: takes requests out of the bytes, has workers answer them, and writes the answers.
///
/// Invariants: one exchange at a time; what a tick answers leaves in one write, also of requests that came together; once closing, what was written
/// leaves however long it takes, as long as the client takes some of it. Not here: what runs handlers (`HTTPWorker`), and the wire's rules (the machine).
final class HTTPServerChannel: Channel {
    /// What a writer that had to wait is told.
    enum Room: Sendable { case room, closed, cancelled, tooLong }

    let home: HTTPServerLoop
    let machine: Pinned<HTTPServerMachine>
    /// It and this hold each other until this is off the loop.
    var connection: HTTPServerConnection?
    /// The request whose response is owed or under way; 0: none.
    var number: UInt64 = 0
    /// A request whose content is still being taken out of what has arrived.
    private var pending: HTTPRequest?
    private var worker: HTTPWorker?
    private var intake: HTTPIntake?
    /// Content of the request so far, and what of it nobody wanted.
    private var receivedCount: UInt64 = 0, discardedCount = 0
    /// Bytes that were shown and not used: requests that wait for the one before.
    private var unusedCount = 0
    private var isReceiving = false
    private var isSecured: Bool
    private var secureBy: Instant
    /// Not read from until its output has left: it sends requests and does not take the answers.
    private var isHeld = false
    private var hasPeerEnded = false
    private var writers: [Once<Room>] = []
    private(set) var closeReason: CloseReason?
    /// Content of a streaming response so far.
    var streamedCount = 0
    /// Compresses it.
    var packer: HTTPPacker?
    /// When to see whether a client that has much to take has taken some of it, and what it had left then.
    private var progressAt = Instant.never, leftAtProgress = Int.max

    /// Output above which who streams waits, and nothing more is read from who sends request after request.
    static let highWater = 1 << 18
    /// Content that nobody reads is taken up to here, so that the connection can go on. (nginx reads all of it, Node 1 MiB.)
    static let discardMax = 64 << 10
    /// A client that takes nothing for so long is cut off. (nginx `send_timeout` 60 s.)
    private static let progressTimeout = Duration.seconds(60)

    init(_ home: HTTPServerLoop, isSecured: Bool, now: Instant) {
        self.home = home
        machine = Pinned(HTTPServerMachine(limits: home.server.options.limits, now: now))
        self.isSecured = isSecured
        secureBy = isSecured ? .never : now + home.server.options.stream.handshakeTimeout
    }

    override func secured(on loop: EventLoop) {
        isSecured = true
        secureBy = .never
    }

    // MARK: Input

    override func receive(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        guard closeReason == nil else { return bytes.count }
        isReceiving = true
        let used = take(bytes, on: loop)
        isReceiving = false
        unusedCount = bytes.count - used
        guard slot != 0, closeReason == nil else { return bytes.count }
        if machine.value.isClosed {
            close(.finished, on: loop)
        } else if hasPeerEnded, number == 0, unusedCount == 0, !machine.value.isReading {
            close(.ended, on: loop)
        }
        return used
    }

    private func take(_ bytes: Span<UInt8>, on loop: EventLoop) -> Int {
        machine.value.heard(at: loop.now)
        var input = ByteReader(bytes)
        do throws(HTTPViolation) {
            while slot != 0, closeReason == nil, !machine.value.isTunnel {
                guard let event = try machine.value.nextEvent(from: &input, into: &loop[output: slot]) else {
                    // The handler begins with what there is of the content.
                    guard let request = pending.take() else { break }
                    begin(request, on: loop)
                    continue
                }
                switch event {
                case .request(let head): note(head, bytes)
                case .body(let range): takeContent(bytes.at(range), on: loop)
                case .end(let trailers):
                    intake?.end(isWhole: true, trailers: bytes.at(trailers).array)
                    if let request = pending.take() { begin(request, on: loop) }
                    if slot != 0, loop[output: slot].count > Self.highWater, !loop.flushEarly(slot, limit: Self.highWater) {
                        hold(on: loop)
                        return input.offset
                    }
                case .tunnel: break
                }
            }
        } catch {
            fail(error, on: loop)
        }
        return input.offset
    }

    private func note(_ head: HTTPRequestHead, _ bytes: Span<UInt8>) {
        guard let connection else { return }
        number = home.nextNumber()
        (receivedCount, discardedCount, streamedCount) = (0, 0, 0)
        intake = head.hasBody ? HTTPIntake(head, connection) : nil
        pending = HTTPRequest(head, in: bytes, HTTPBody(intake: intake), number: number, from: connection)
    }

    private func takeContent(_ content: Span<UInt8>, on loop: EventLoop) {
        receivedCount += UInt64(content.count)
        home.seen.value.contentReceived &+= UInt64(content.count)
        if let intake {
            if intake.put(content.array) { loop.pauseReading(slot, true) }
            return
        }
        discardedCount += content.count
        if discardedCount > Self.discardMax { close(.refused("content that nobody wants"), on: loop) }
    }

    /// More answers wait than the client takes.
    private func hold(on loop: EventLoop) {
        isHeld = true
        loop.pauseReading(slot, true)
        loop.awaitRoom(slot)
    }

    /// The content's reader has room again.
    func readOn(on loop: EventLoop) {
        guard slot != 0, !isHeld else { return }
        machine.value.excuse(at: loop.now)
        loop.pauseReading(slot, false)
        loop.schedule(self)
    }

    /// Somebody wants the content that the client asked leave to send.
    func goAhead(_ intake: HTTPIntake, on loop: EventLoop) {
        guard slot != 0, self.intake === intake else { return }
        loop.willWrite(slot)
        machine.value.heard(at: loop.now)
        // The answer may be on its way already: then nobody wants it.
        do { try machine.value.inform(100, into: &loop[output: slot]) } catch {}
        loop.schedule(self)
    }

    override func receiveEnd(on loop: EventLoop) {
        hasPeerEnded = true
        guard closeReason == nil else { return }
        do throws(HTTPViolation) {
            try machine.value.receiveEnd(at: loop.now, into: &loop[output: slot])
            if number == 0, !isReceiving { proceed(on: loop) }
        } catch {
            fail(error, on: loop)
        }
    }

    private func fail(_ violation: HTTPViolation, on loop: EventLoop) {
        home.seen.value.violations += 1
        home.server.options.logger.debug("\(connection.map { "\($0.peer)" } ?? ""): \(violation)")
        abandon()
        close(.refused(violation.description), on: loop)
    }

    // MARK: Exchanges

    private func begin(_ request: HTTPRequest, on loop: EventLoop) {
        let isForeign = request.method == .connect && !home.server.options.takesCONNECT
        if isForeign || !home.admitRequest() {
            _ = respond(isForeign ? Self.noTunnels : home.overloaded, to: request, on: loop)
            number = 0
            intake = nil
            return
        }
        let worker = home.worker()
        self.worker = worker
        worker.begin(request, of: self, on: loop)
    }

    private static let noTunnels = HTTPFailure(.notImplemented, "this server makes no tunnels").response

    /// In a worker's task: the rest of a response that is written piece by piece.
    func finish(_ stream: HTTPResponse.Body.Writer, _ status: HTTPStatus, _ request: HTTPRequest) async {
        do {
            try await stream(HTTPBodyWriter(connection: request.connection, number: request.number))
            endStream(request, status, on: home.loop)
        } catch {
            breakStream(request, error, on: home.loop)
        }
    }

    /// The response has ended.
    func end(_ request: HTTPRequest) {
        home.requestEnded()
        guard number == request.number else { return }
        number = 0
        worker = nil
        intake = nil
        guard slot != 0, !isReceiving, closeReason == nil else { return }
        // What is still to come of the request is thrown away.
        if machine.value.isReading, !isHeld { home.loop.pauseReading(slot, false) }
        proceed(on: home.loop)
    }

    /// Whether the rest of the request is too much to be thrown away: the response then ends the connection.
    func isTooMuchLeft(of request: HTTPRequest) -> Bool {
        machine.value.isReading && !request.head.isChunked && request.head.contentLength - receivedCount > UInt64(Self.discardMax)
    }

    /// The next request, or the end.
    private func proceed(on loop: EventLoop) {
        if machine.value.isClosed { return close(.finished, on: loop) }
        guard number == 0, !isHeld else { return loop.schedule(self) }
        if unusedCount > 0 { loop.showAgain(slot) }
        if hasPeerEnded, unusedCount == 0, !machine.value.isReading { return close(.ended, on: loop) }
        loop.schedule(self)
    }

    /// Nobody will read or write any more for the request under way.
    private func abandon() {
        if number != 0 { worker?.cancel() }
        pending = nil
        worker = nil
        number = 0
        intake?.end(isWhole: false)
        intake = nil
        packer = nil
        let waiting = writers
        writers = []
        for writer in waiting { writer.resume(returning: .closed) }
    }

    // MARK: Output

    func awaitRoom(_ answer: Once<Room>, _ number: UInt64, on loop: EventLoop) {
        guard slot != 0, number == self.number else { answer.resume(returning: .closed); return }
        guard loop.unsentCount(slot) > Self.highWater || loop.isBlocked(slot) else { answer.resume(returning: .room); return }
        writers.append(answer)
        loop.awaitRoom(slot)
    }

    /// Until the socket takes something; who takes nothing for too long is cut off.
    func awaitWritable(_ answer: Once<Room>, _ number: UInt64, on loop: EventLoop) {
        guard slot != 0, number == self.number else { answer.resume(returning: .closed); return }
        writers.append(answer)
        loop.awaitWritable(slot)
        (leftAtProgress, progressAt) = (0, loop.now + Self.progressTimeout)
        loop.schedule(self)
    }

    override func outputBlocked(_ blocked: Bool, on loop: EventLoop) {
        guard !blocked else {
            watchProgress(on: loop)
            return
        }
        if closeReason == nil { progressAt = .never }
        let waiting = writers
        writers = []
        for writer in waiting { writer.resume(returning: .room) }
        guard isHeld else { return }
        isHeld = false
        loop.pauseReading(slot, false)
        if unusedCount > 0 { loop.showAgain(slot) }
    }

    // MARK: Time

    override var deadline: Instant { min(isSecured ? machine.value.deadline : secureBy, progressAt) }

    private func watchProgress(on loop: EventLoop) {
        leftAtProgress = loop.unsentCount(slot)
        progressAt = loop.now + Self.progressTimeout
    }

    override func wake(on loop: EventLoop) {
        if loop.now >= progressAt {
            let left = loop.unsentCount(slot)
            guard left < leftAtProgress else { return loop.abort(self, .refused("it takes nothing")) }
            watchProgress(on: loop)
        }
        if !isSecured, loop.now >= secureBy {
            home.seen.value.handshakesFailed += 1
            return loop.abort(self, .refused("no handshake in time"))
        }
        guard closeReason == nil, loop.now >= machine.value.deadline else { return }
        if loop.isPaused(slot) { return machine.value.excuse(at: loop.now) }
        do throws(HTTPViolation) { try machine.value.wake(at: loop.now, into: &loop[output: slot]) } catch { fail(error, on: loop) }
    }

    // MARK: The end

    /// Takes no further request; a response under way goes to its end.
    func stop(on loop: EventLoop) {
        guard slot != 0, closeReason == nil else { return }
        machine.value.takeNoMore()
        if machine.value.isClosed { close(.stopping, on: loop) }
    }

    /// The time is over.
    func abort(on loop: EventLoop) {
        guard slot != 0 else { return }
        loop.abort(self, .stopping)
    }

    /// Closes when everything that was written has left.
    func close(_ reason: CloseReason, on loop: EventLoop) {
        guard slot != 0, closeReason == nil else { return }
        closeReason = reason
        if loop.isPaused(slot) { loop.pauseReading(slot, false) }
        loop.finishWriting(self)
        watchProgress(on: loop)
        loop.schedule(self)
    }

    override func outputEnded(on loop: EventLoop) { loop.finish(self, closeReason ?? .finished) }

    override func closed(_ reason: CloseReason, on loop: EventLoop) {
        abandon()
        guard connection != nil else { return }
        if !isSecured, case .layerFailed = reason { home.seen.value.handshakesFailed += 1 }
        connection = nil
        home.left()
    }
}
