internal import MartletBytes
internal import MartletEventLoop
internal import MartletLogging

/// Responses into the connection's output.
extension HTTPServerChannel {
    /// What became of bytes.
    enum Written { case written, full, closed, tooLong }

    /// Who goes on behind a response's head.
    enum Rest {
        case stream(HTTPResponse.Body.Writer), tunnel(HTTPTunnel.Body), succession(any HTTPSuccession)
    }

    /// Writes a response, or its head: then answers who goes on. On the loop.
    func respond(_ response: HTTPResponse, to request: HTTPRequest, on loop: EventLoop) -> Rest? {
        guard slot != 0, number == request.number, closeReason == nil else { return nil }
        machine.value.heard(at: loop.now)
        if isTooMuchLeft(of: request) || home.server.isStopping { machine.value.takeNoMore() }
        loop.willWrite(slot)
        do throws(HTTPMisuse) {
            switch response.body.content {
            case .bytes(let bytes):
                if bytes.count >= HTTPEncoding.sizeMin, home.server.options.compresses, let encoded = HTTPEncoding.encoded(response, bytes, for: request, home)
                {
                    try write(encoded.response, encoded.bytes, to: request, on: loop)
                } else {
                    try write(response, bytes, to: request, on: loop)
                }
            case .stream(let length, let writer):
                let encoded = length == nil && home.server.options.compresses ? HTTPEncoding.encoded(response, for: request) : (response, nil)
                writeLines(encoded.0)
                try Self.begin(&machine.value, response.status, home.lines.value, length.map { .exactly($0) } ?? .unknown, into: &loop[output: slot])
                let status = response.status.rawValue
                guard request.method == .head || status == 204 || status == 205 || status == 304 else {
                    packer = encoded.1
                    return .stream(writer)
                }
                try machine.value.end(into: &loop[output: slot])
                log(request, response.status, 0)
            case .tunnel(let name, let body):
                if let other = try beginTunnel(response, name, to: request, on: loop) { return respond(other, to: request, on: loop) }
                log(request, response.status, 0)
                return .tunnel(body)
            case .succession(let name, let succession):
                if let other = try beginTunnel(response, name, to: request, on: loop) { return respond(other, to: request, on: loop) }
                log(request, response.status, 0)
                return .succession(succession)
            }
        } catch {
            home.server.options.logger.error(
                "the response to \(request.methodName) \(request.target) cannot be sent: \(error)", metadata: ["request": request.id])
            loop.abort(self, .refused("a response that cannot be sent"))
        }
        return nil
    }

    /// An informational response.
    func inform(_ status: UInt16, _ fields: HTTPFields, _ number: UInt64, on loop: EventLoop) {
        guard slot != 0, number == self.number, machine.value.owesResponse else { return }
        var lines = ByteBuffer()
        fields.appendLines(to: &lines)
        loop.willWrite(slot)
        // Nothing but what the guard has asked for can be wrong.
        do throws(HTTPMisuse) { try machine.value.inform(status, fields: lines.span, into: &loop[output: slot]) } catch {}
    }

    @inline(__always)
    private func write(_ response: HTTPResponse, _ bytes: [UInt8], to request: HTTPRequest, on loop: EventLoop) throws(HTTPMisuse) {
        writeLines(response)
        let content = bytes.isEmpty ? HTTPContentLength.none : .exactly(UInt64(bytes.count))
        try Self.begin(&machine.value, response.status, home.lines.value, content, into: &loop[output: slot])
        try machine.value.append(bytes.span, into: &loop[output: slot])
        try machine.value.end(into: &loop[output: slot])
        home.seen.value.contentSent &+= UInt64(bytes.count)
        log(request, response.status, request.method == .head ? 0 : bytes.count)
    }

    @inline(__always)
    private static func begin(
        _ machine: inout HTTPServerMachine, _ status: HTTPStatus, _ lines: borrowing ByteBuffer, _ content: HTTPContentLength, into output: inout ByteBuffer
    ) throws(HTTPMisuse) {
        try machine.begin(status.rawValue, fields: lines.span, content: content, into: &output)
    }

    @inline(__always)
    private func writeLines(_ response: HTTPResponse) {
        home.beginLines()
        home.seen.value.count(response.status)
        if let type = response.contentType, response.fields.isEmpty || !response.fields.has("content-type") {
            home.lines.value.append(utf8: "Content-Type: ")
            home.lines.value.append(utf8: type.text)
            home.lines.value.append(UInt16(0x0D0A))
        }
        response.fields.appendLines(to: &home.lines.value)
    }

    @inline(__always)
    private func log(_ request: HTTPRequest, _ status: HTTPStatus, _ count: Int) {
        guard let log = home.log else { return }
        log.write(request.logLine(status, count, at: home.loop.currentTime()))
    }

    // MARK: Streams

    func write(_ bytes: [UInt8], _ number: UInt64, on loop: EventLoop) -> Written {
        guard slot != 0, number == self.number, machine.value.isResponding else { return .closed }
        loop.willWrite(slot)
        let bytes = packer?.pack(bytes) ?? bytes
        do throws(HTTPMisuse) { try machine.value.append(bytes.span, into: &loop[output: slot]) } catch { return .tooLong }
        streamedCount += bytes.count
        home.seen.value.contentSent &+= UInt64(bytes.count)
        return loop.unsentCount(slot) > Self.highWater ? .full : .written
    }

    /// The same for who is elsewhere.
    func write(_ bytes: [UInt8], _ number: UInt64, _ answer: Once<Room>, on loop: EventLoop) {
        switch write(bytes, number, on: loop) {
        case .written: answer.resume(returning: .room)
        case .full: awaitRoom(answer, number, on: loop)
        case .closed: answer.resume(returning: .closed)
        case .tooLong: answer.resume(returning: .tooLong)
        }
    }

    enum Sent { case sent(Int), full, impossible, closed }
    /// Sent at a time: others want their turn.
    private static let sendMax = 1 << 20

    /// Bytes of a file, behind what was written.
    func send(_ file: Int32, _ part: Range<Int>, _ number: UInt64, on loop: EventLoop) -> Sent {
        guard slot != 0, number == self.number, machine.value.isResponding else { return .closed }
        if loop.layer(of: slot) != nil { return .impossible }
        if !loop[output: slot].isEmpty, !loop.flushEarly(slot, limit: 1) { return .full }
        guard let count = loop.sendFile(slot, file, at: part.lowerBound, count: min(part.count, Self.sendMax)) else { return .full }
        guard count >= 0 else { return .impossible }
        do throws(HTTPMisuse) { try machine.value.pass(UInt64(count)) } catch { return .closed }
        streamedCount += count
        home.seen.value.contentSent &+= UInt64(count)
        return .sent(count)
    }

    func endStream(_ request: HTTPRequest, _ status: HTTPStatus, on loop: EventLoop) {
        guard slot != 0, number == request.number else { return }
        loop.willWrite(slot)
        machine.value.heard(at: loop.now)
        do throws(HTTPMisuse) {
            if let last = packer?.end() { try machine.value.append(last.span, into: &loop[output: slot]) }
            packer = nil
            try machine.value.end(into: &loop[output: slot])
            log(request, status, streamedCount)
        } catch {
            home.server.options.logger.error("the response to \(request.methodName) \(request.target) broke: \(error)", metadata: ["request": request.id])
            loop.abort(self, .refused("a response that is not whole"))
        }
    }

    /// The client must not take a part for the whole.
    func breakStream(_ request: HTTPRequest, _ error: any Error, on loop: EventLoop) {
        guard slot != 0, number == request.number else { return }
        home.server.options.logger.error("the response to \(request.methodName) \(request.target) broke: \(error)", metadata: ["request": request.id])
        loop.abort(self, .refused("a response that is not whole"))
    }
}

extension HTTPRequest {
    /// "GET /items/5 200 37 112us 127.0.0.1:50000 1f3c…"
    func logLine(_ status: HTTPStatus, _ count: Int, at now: Instant) -> String {
        "\(methodName) \(target) \(status.rawValue) \(count) \((now.nanoseconds - began.nanoseconds) / 1000)us \(peer) \(id)\n"
    }
}

extension HTTPServerLoop {
    /// For what a handler threw. `isCancelled`: its client had gone, or the grace was over, and nobody hears it.
    func response(to error: any Error, _ request: HTTPRequest, isCancelled: Bool) -> HTTPResponse {
        if let failure = error as? HTTPFailure { return failure.response }
        let logger = server.options.logger
        if isCancelled {
            logger.debug("\(request.methodName) \(request.target) was cancelled: \(error)", metadata: ["request": request.id])
        } else {
            logger.error("\(request.methodName) \(request.target): \(error)", metadata: ["request": request.id])
        }
        return HTTPFailure.unexpected(id: request.id)
    }

    var overloaded: HTTPResponse {
        var failure = HTTPFailure(.serviceUnavailable, "the server has too much to do; come again")
        failure.fields.put("Retry-After", "\(max(1, server.options.retryAfter.components.seconds))")
        return failure.response
    }
}
