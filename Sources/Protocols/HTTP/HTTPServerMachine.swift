public import MartletBytes

/// The server's side of one HTTP/1 connection (RFC 9112): one exchange at a time, one after the other.
/// ```
///          .request          .end            both ended, keep-alive
/// head ------------> body --------> ended ------------------------> head
///   |                  |              +---- accept ----> tunnel
///   +------------------+---- violation, close, end ----> closed
/// ```
/// The response goes its own way beside it: `begin`, any number of `append`, `end`. The machine adds Content-Length, Transfer-Encoding and
/// Connection; everything else (Date too) is in the caller's field lines.
///
/// Invariant: nothing of the next request is consumed until this one and its response have ended, so a client that sends many has them wait.
/// Not here: what a request means, time that a handler or a slow reader takes, and the last bytes of an early answered request (`isReading`).
public struct HTTPServerMachine: ProtocolMachine, ~Copyable {
    public typealias Event = HTTPServerEvent
    public typealias Outgoing = HTTPServerOutgoing
    public typealias Violation = HTTPViolation
    public typealias Misuse = HTTPMisuse

    private enum Phase: UInt8 { case head, body, ended, tunnel, closed }
    private struct Flags: OptionSet {
        var rawValue: UInt16
        static var keepsAlive: Flags { Flags(rawValue: 1) }
        static var isOldVersion: Flags { Flags(rawValue: 2) }
        static var isHEAD: Flags { Flags(rawValue: 4) }
        static var isCONNECT: Flags { Flags(rawValue: 8) }
        static var wantsUpgrade: Flags { Flags(rawValue: 16) }
        /// The client waits for 100.
        static var expectsContinue: Flags { Flags(rawValue: 32) }
        /// A response is owed that has not begun.
        static var owesResponse: Flags { Flags(rawValue: 64) }
        /// Some of a message came, and more is needed.
        static var isHungry: Flags { Flags(rawValue: 128) }
        static var peerHasEnded: Flags { Flags(rawValue: 256) }
        /// The caller wants no further request.
        static var isLast: Flags { Flags(rawValue: 512) }
        /// What the next request does not inherit.
        static var ofRequest: Flags { [.keepsAlive, .isOldVersion, .isHEAD, .isCONNECT, .wantsUpgrade, .expectsContinue, .owesResponse] }
    }

    private let bounds: HTTPBounds
    private var phase = Phase.head
    private var flags = Flags()
    private var scan = HTTPScan()
    private var incoming = HTTPIncomingContent()
    private var outgoing = HTTPOutgoingContent()
    private var now: Instant
    /// When waiting for a request, its head or its content began.
    private var since: Instant

    public init(limits: HTTPLimits, now: Instant) {
        bounds = HTTPBounds(limits)
        self.now = now
        since = now
    }

    /// Nothing more is taken or sent: close when the output has left.
    public var isClosed: Bool { phase == .closed }
    /// A request was read that waits for its response's beginning.
    public var owesResponse: Bool { flags.contains(.owesResponse) }
    /// A response has begun and not ended.
    public var isResponding: Bool { outgoing.isUnderWay }
    /// Some of the request is still to come. When the response has ended already: take the rest, or close.
    public var isReading: Bool { phase == .body }
    /// An upgrade or a CONNECT was accepted: the bytes are another protocol's.
    public var isTunnel: Bool { phase == .tunnel }
    /// No request is under way: a shutdown may close now.
    public var isIdle: Bool { phase == .head && !flags.contains(.isHungry) }

    /// The time of what is received and sent next: call it once a read, and before a response that ends outside of one.
    public mutating func heard(at now: Instant) { self.now = now }

    @inline(__always)
    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(HTTPViolation) -> HTTPServerEvent? {
        switch phase {
        case .head:
            if input.remaining > 0 { return try nextHead(from: &input, into: &output) }
            if flags.contains(.peerHasEnded) { close() }
            return nil
        case .body: return try nextBody(from: &input, into: &output)
        case .ended, .closed: return nil
        case .tunnel:
            guard input.remaining > 0 else { return nil }
            return input.readRange(input.remaining).map { .tunnel($0) }
        }
    }

    @inline(never)
    private mutating func nextHead(from input: inout ByteReader, into output: inout ByteBuffer) throws(HTTPViolation) -> HTTPServerEvent? {
        let bytes = input.bytes, start = input.offset
        if !scan.isFresh, !scan.isDue(bytes, from: start, bounds) { return try wait(into: &output) }
        do throws(HTTPViolation) {
            if let head = try HTTPRequestHead.read(bytes, from: start, bounds, &scan) {
                input.offset = head.fields.end &+ 2
                take(head)
                return .request(head)
            }
            scan.wait(count: bytes.count - start)
        } catch {
            // What begins a line that is not whole may be wrong already: when that is said must not depend on how the bytes were cut.
            if scan.isDue(bytes, from: start, bounds) { try fail(error, into: &output) }
        }
        if !flags.contains(.isHungry) { since = now }
        return try wait(into: &output)
    }

    @inline(__always)
    private mutating func take(_ head: HTTPRequestHead) {
        var flags = self.flags.intersection([.peerHasEnded, .isLast])
        flags.insert(.owesResponse)
        if head.keepAlive { flags.insert(.keepsAlive) }
        if head.minorVersion == 0 { flags.insert(.isOldVersion) }
        if head.method == .head { flags.insert(.isHEAD) }
        if head.method == .connect { flags.insert(.isCONNECT) }
        if head.wantsUpgrade { flags.insert(.wantsUpgrade) }
        if head.expectsContinue { flags.insert(.expectsContinue) }
        self.flags = flags
        incoming = HTTPIncomingContent(head.isChunked ? .chunked : .counted, count: head.contentLength)
        phase = .body
        since = now
    }

    @inline(__always)
    private mutating func nextBody(from input: inout ByteReader, into output: inout ByteBuffer) throws(HTTPViolation) -> HTTPServerEvent? {
        do throws(HTTPViolation) {
            switch try incoming.next(from: &input, bounds, hasEnded: false) {
            case .bytes(let range):
                flags.subtract([.isHungry, .expectsContinue])
                return .body(range)
            case .end(let trailers):
                flags.subtract([.isHungry, .expectsContinue])
                phase = .ended
                conclude()
                return .end(trailers: trailers)
            case nil: break
            }
        } catch { try fail(error, into: &output) }
        return try wait(into: &output)
    }

    /// More bytes are needed. None will come after the peer's end.
    @inline(never)
    private mutating func wait(into output: inout ByteBuffer) throws(HTTPViolation) -> HTTPServerEvent? {
        flags.insert(.isHungry)
        if flags.contains(.peerHasEnded) { try fail(.ended, into: &output) }
        return nil
    }

    /// Both directions have ended: the next request, or the end.
    @inline(__always)
    private mutating func conclude() {
        guard !flags.contains(.owesResponse), !outgoing.isUnderWay else { return }
        guard flags.contains(.keepsAlive) else { return phase = .closed }
        guard phase == .ended else { return }
        flags.subtract(.ofRequest)
        scan = HTTPScan()
        phase = .head
        since = now
    }

    @inline(never)
    private mutating func fail(_ violation: HTTPViolation, into output: inout ByteBuffer) throws(HTTPViolation) {
        let isSayable = violation != .idle && !outgoing.isUnderWay && (phase == .head || flags.contains(.owesResponse))
        if isSayable { sayFarewell(violation, into: &output) }
        close()
        throw violation
    }

    private mutating func close() {
        phase = .closed
        flags = []
        outgoing = HTTPOutgoingContent()
    }

    private func sayFarewell(_ violation: HTTPViolation, into output: inout ByteBuffer) {
        let text = "\(violation)\n"
        HTTPStatus.appendLine(violation.status, into: &output)
        output.append(literal: "Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n")
        HTTPOutgoingContent.appendLength(UInt64(text.utf8.count), into: &output)
        output.append(HTTPWire.lineEnd)
        if !flags.contains(.isHEAD) { output.append(utf8: text) }
    }

    // MARK: The response

    /// Begins the final response. `fields` are whole lines, `Name: value` and CRLF each, that `HTTPField` finds valid, and none of those that the
    /// machine writes itself. What has no content (the answer to HEAD, 204, 304) swallows what is appended, and keeps the length where it may.
    @inline(__always)
    public mutating func begin(
        _ status: UInt16, fields: Span<UInt8>, content: HTTPContentLength, into output: inout ByteBuffer
    ) throws(HTTPMisuse) {
        guard flags.contains(.owesResponse) else { throw .outOfTurn }
        guard status >= 200, status < 1000, !flags.contains(.isCONNECT) || status >= 300 else { throw .statusInvalid }
        assert(HTTPField.areLines(fields), "field lines that are none")
        flags.remove(.owesResponse)
        // It still waits for 100, or sends anyway: nobody knows where its next request would begin.
        if flags.contains(.isLast) || flags.contains(.expectsContinue) { flags.remove(.keepsAlive) }
        HTTPStatus.appendLine(status, into: &output)
        output.append(fields)
        beginContent(status, content, into: &output)
        if status == 426 {
            // RFC 9110 section 7.8: who names protocols in Upgrade names Upgrade in Connection.
            output.append(literal: flags.contains(.keepsAlive) ? "Connection: Upgrade\r\n\r\n" : "Connection: close, Upgrade\r\n\r\n")
        } else if !flags.contains(.keepsAlive) {
            output.append(literal: "Connection: close\r\n\r\n")
        } else if flags.contains(.isOldVersion) {
            output.append(literal: "Connection: keep-alive\r\n\r\n")
        } else {
            output.append(HTTPWire.lineEnd)
        }
    }

    @inline(__always)
    private mutating func beginContent(_ status: UInt16, _ content: HTTPContentLength, into output: inout ByteBuffer) {
        let hasNone = HTTPStatus.hasNoContent(status), isSwallowed = hasNone || status == 205 || flags.contains(.isHEAD)
        switch content {
        case .none:
            // RFC 9110 section 8.6: the length that a GET would have had, which is not known here.
            if !hasNone, !flags.contains(.isHEAD) { HTTPOutgoingContent.appendLength(0, into: &output) }
            outgoing = HTTPOutgoingContent(isSwallowed ? .swallowed : .counted)
        case .exactly(let count):
            if status == 205 {
                HTTPOutgoingContent.appendLength(0, into: &output)
            } else if !hasNone || status == 304 {
                HTTPOutgoingContent.appendLength(count, into: &output)
            }
            outgoing = HTTPOutgoingContent(isSwallowed ? .swallowed : .counted, count: count)
        case .unknown:
            if status == 205 { HTTPOutgoingContent.appendLength(0, into: &output) }
            if isSwallowed {
                if !hasNone, status != 205, !flags.contains(.isOldVersion) { output.append(literal: "Transfer-Encoding: chunked\r\n") }
                outgoing = HTTPOutgoingContent(.swallowed)
            } else if flags.contains(.isOldVersion) {
                flags.remove(.keepsAlive)
                outgoing = HTTPOutgoingContent(.untilEnd)
            } else {
                output.append(literal: "Transfer-Encoding: chunked\r\n")
                outgoing = HTTPOutgoingContent(.chunked)
            }
        }
    }

    /// Some of the response's content.
    @inline(__always)
    public mutating func append(_ content: Span<UInt8>, into output: inout ByteBuffer) throws(HTTPMisuse) { try outgoing.append(content, into: &output) }

    /// Some of the content that `begin` was told the length of goes past the output, behind what was in it (sendfile).
    public mutating func pass(_ count: UInt64) throws(HTTPMisuse) { try outgoing.pass(count) }

    /// The response is whole. Trailers are field lines, written behind chunks and left out otherwise.
    @inline(__always)
    public mutating func end(trailers: Span<UInt8> = Span(), into output: inout ByteBuffer) throws(HTTPMisuse) {
        try outgoing.end(trailers: trailers, into: &output)
        conclude()
    }

    /// An informational response before the final one: 100, which `expectsContinue` asks for, or 103. HTTP/1.0 has none: nothing is written.
    public mutating func inform(_ status: UInt16, fields: Span<UInt8> = Span(), into output: inout ByteBuffer) throws(HTTPMisuse) {
        guard flags.contains(.owesResponse) else { throw .outOfTurn }
        guard status >= 100, status < 200, status != 101 else { throw .statusInvalid }
        guard HTTPField.areLines(fields) else { throw .fieldsInvalid }
        if status == 100 {
            if flags.contains(.expectsContinue) { since = now }
            flags.remove(.expectsContinue)
        }
        if flags.contains(.isOldVersion) { return }
        HTTPStatus.appendLine(status, into: &output)
        output.append(fields)
        output.append(HTTPWire.lineEnd)
    }

    /// Accepts a switch of protocols (101, with an Upgrade field) or a CONNECT (200 to 299), once the request is whole: what comes then are `.tunnel`s,
    /// and what goes is written to the output by the caller.
    public mutating func accept(_ status: UInt16, fields: Span<UInt8> = Span(), into output: inout ByteBuffer) throws(HTTPMisuse) {
        guard flags.contains(.owesResponse), phase == .ended || phase == .body && incoming.isComplete else { throw .outOfTurn }
        let isConnect = flags.contains(.isCONNECT)
        guard isConnect ? status >= 200 && status < 300 : status == 101 && flags.contains(.wantsUpgrade) else { throw .statusInvalid }
        guard HTTPField.areLines(fields) else { throw .fieldsInvalid }
        HTTPStatus.appendLine(status, into: &output)
        output.append(fields)
        if isConnect { output.append(HTTPWire.lineEnd) } else { output.append(literal: "Connection: Upgrade\r\n\r\n") }
        flags = []
        phase = .tunnel
    }

    /// No further request is taken on this connection; the next response that begins says so. Without a request under way it is closed at once.
    public mutating func takeNoMore() {
        flags.insert(.isLast)
        if isIdle { close() } else if !flags.contains(.owesResponse), phase != .head { flags.remove(.keepsAlive) }
    }

    public mutating func send(_ message: HTTPServerOutgoing, into output: inout ByteBuffer) throws(HTTPMisuse) {
        switch message {
        case .inform(let status, let fields): try inform(status, fields: fields.span, into: &output)
        case .begin(let status, let fields, let content):
            guard HTTPField.areLines(fields.span) else { throw .fieldsInvalid }
            try begin(status, fields: fields.span, content: content, into: &output)
        case .append(let content): try append(content.span, into: &output)
        case .end(let trailers): try end(trailers: trailers.span, into: &output)
        case .accept(let status, let fields): try accept(status, fields: fields.span, into: &output)
        case .response(let status, let fields, let content):
            guard HTTPField.areLines(fields.span) else { throw .fieldsInvalid }
            try begin(status, fields: fields.span, content: .exactly(UInt64(content.count)), into: &output)
            try append(content.span, into: &output)
            try end(into: &output)
        }
    }

    // MARK: Time

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(HTTPViolation) {
        self.now = now
        guard now >= deadline else { return }
        try fail(phase == .body ? .bodyTooSlow : flags.contains(.isHungry) ? .headTimedOut : .idle, into: &output)
    }

    /// This side did not read for a while, by its own will: what the client did not bring meanwhile is not held against it.
    public mutating func excuse(at now: Instant) {
        self.now = now
        guard phase == .body, bounds.bodyRateMin > 0 else { return }
        since = Instant(nanoseconds: now.nanoseconds &- HTTPBounds.nanoseconds(for: incoming.received, rate: bounds.bodyRateMin))
    }

    /// The client will send no more. In the middle of a request that breaks it; the response to a whole one may still be sent.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(HTTPViolation) {
        self.now = now
        flags.insert(.peerHasEnded)
        switch phase {
        case .head, .body:
            if flags.contains(.isHungry) { try fail(.ended, into: &output) }
            if phase == .head { close() }
        case .ended, .tunnel, .closed: break
        }
    }

    /// The idle time, the head's, or when the content's average falls below the rate. None while the client waits for 100, nor while a response is owed.
    public var deadline: Instant {
        switch phase {
        case .head:
            let timeout = flags.contains(.isHungry) ? bounds.headTimeout : bounds.idleTimeout
            return Instant(nanoseconds: since.nanoseconds &+ Int64(timeout) &* 1_000_000)
        case .body where bounds.bodyRateMin > 0 && !flags.contains(.expectsContinue) && !incoming.isComplete:
            let brought = HTTPBounds.nanoseconds(for: incoming.received, rate: bounds.bodyRateMin)
            return Instant(nanoseconds: since.nanoseconds &+ Int64(bounds.bodyRateGrace) &* 1_000_000 &+ brought)
        default: return .never
        }
    }
}
