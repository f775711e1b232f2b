public import MartletBytes

/// The client's side of one HTTP/1 connection (RFC 9112): one exchange at a time, the mirror of `HTTPServerMachine`.
/// ```
///        begin          .response         .end and end(), keep-alive
/// idle ---------> head -----------> body ----------------------------> idle
///   |               |                 +-- 101, CONNECT --> tunnel
///   +---------------+------ violation, close, end ------> closed
/// ```
/// The request goes its own way beside it: `begin`, any number of `append`, `end`; a response may come before it has ended. The machine writes Host,
/// Content-Length, Transfer-Encoding and Connection; everything else (Expect too) is in the caller's field lines.
///
/// Not here: how long a server may think before the first byte of its response (the caller's deadline), redirects, retries, and what fields mean.
public struct HTTPClientMachine: ProtocolMachine, ~Copyable {
    public typealias Event = HTTPClientEvent
    public typealias Outgoing = HTTPClientOutgoing
    public typealias Violation = HTTPViolation
    public typealias Misuse = HTTPMisuse

    private enum Phase: UInt8 { case idle, head, body, ended, tunnel, closed }
    private struct Flags: OptionSet {
        var rawValue: UInt8
        static var keepsAlive: Flags { Flags(rawValue: 1) }
        static var isHEAD: Flags { Flags(rawValue: 2) }
        static var isCONNECT: Flags { Flags(rawValue: 4) }
        static var asksUpgrade: Flags { Flags(rawValue: 8) }
        /// Some of a message came, and more is needed.
        static var isHungry: Flags { Flags(rawValue: 16) }
        static var peerHasEnded: Flags { Flags(rawValue: 32) }
        /// The caller sends no further request.
        static var isLast: Flags { Flags(rawValue: 64) }
    }

    private let bounds: HTTPBounds
    private var phase = Phase.idle
    private var flags = Flags()
    private var informationCount: UInt8 = 0
    private var scan = HTTPScan()
    private var incoming = HTTPIncomingContent()
    private var outgoing = HTTPOutgoingContent()
    private var now: Instant
    /// When the response's head or its content began.
    private var since: Instant

    /// Responses before the final one: a server that has no end of them holds its client for ever. (Go 5, until it counted their bytes instead.)
    private static let informationMax = 32

    public init(limits: HTTPLimits = .client, now: Instant) {
        bounds = HTTPBounds(limits)
        self.now = now
        since = now
    }

    /// Nothing more is taken or sent: close when the output has left.
    public var isClosed: Bool { phase == .closed }
    /// A request may begin.
    public var isIdle: Bool { phase == .idle }
    /// A request has begun and not ended.
    public var isRequesting: Bool { outgoing.isUnderWay }

    /// The server has switched protocols, or let a CONNECT through: the bytes are another protocol's.
    public var isTunnel: Bool { phase == .tunnel }

    public mutating func heard(at now: Instant) { self.now = now }

    public mutating func nextEvent(from input: inout ByteReader, into output: inout ByteBuffer) throws(HTTPViolation) -> HTTPClientEvent? {
        switch phase {
        case .idle:
            // A response that nobody asked for would be taken for the next request's.
            if input.remaining > 0 { try fail(.unasked) }
            if flags.contains(.peerHasEnded) { close() }
            return nil
        case .head: return input.remaining == 0 ? nil : try nextHead(from: &input)
        case .body: return try nextBody(from: &input)
        case .ended, .closed: return nil
        case .tunnel:
            guard input.remaining > 0 else { return nil }
            return input.readRange(input.remaining).map { .tunnel($0) }
        }
    }

    private mutating func nextHead(from input: inout ByteReader) throws(HTTPViolation) -> HTTPClientEvent? {
        let bytes = input.bytes, start = input.offset
        if !scan.isFresh, !scan.isDue(bytes, from: start, bounds) { return try wait() }
        do throws(HTTPViolation) {
            if let head = try HTTPResponseHead.read(bytes, from: start, isHEAD: flags.contains(.isHEAD), bounds, &scan) {
                if head.status < 200 {
                    guard informationCount < Self.informationMax else { throw .informationTooMuch }
                    informationCount += 1
                }
                if head.status == 101, !flags.contains(.asksUpgrade) || outgoing.isUnderWay { throw .switching }
                input.offset = head.fields.end + 2
                return take(head)
            }
            scan.wait(count: bytes.count - start)
        } catch {
            // What begins a line that is not whole may be wrong already: when that is said must not depend on how the bytes were cut.
            if scan.isDue(bytes, from: start, bounds) { try fail(error) }
        }
        if !flags.contains(.isHungry) { since = now }
        return try wait()
    }

    private mutating func take(_ head: HTTPResponseHead) -> HTTPClientEvent {
        flags.remove(.isHungry)
        scan = HTTPScan()
        since = now
        if head.status < 200, head.status != 101 { return .information(head) }
        if head.status == 101 || flags.contains(.isCONNECT) && head.status < 300 {
            phase = .tunnel
            outgoing = HTTPOutgoingContent()
            return .response(head)
        }
        if head.keepAlive, !flags.contains(.isLast) { flags.insert(.keepsAlive) }
        if head.isChunked, head.hasBody {
            incoming = HTTPIncomingContent(.chunked)
        } else if head.hasBody, head.contentLength == nil {
            incoming = HTTPIncomingContent(.untilEnd)
        } else {
            incoming = HTTPIncomingContent(.counted, count: head.hasBody ? head.contentLength ?? 0 : 0)
        }
        phase = .body
        return .response(head)
    }

    private mutating func nextBody(from input: inout ByteReader) throws(HTTPViolation) -> HTTPClientEvent? {
        do throws(HTTPViolation) {
            switch try incoming.next(from: &input, bounds, hasEnded: flags.contains(.peerHasEnded)) {
            case .bytes(let range):
                flags.remove(.isHungry)
                return .body(range)
            case .end(let trailers):
                flags.remove(.isHungry)
                phase = .ended
                conclude()
                return .end(trailers: trailers)
            case nil: break
            }
        } catch { try fail(error) }
        return try wait()
    }

    /// More bytes are needed. None will come after the peer's end, which is how some content ends.
    private mutating func wait() throws(HTTPViolation) -> HTTPClientEvent? {
        flags.insert(.isHungry)
        if flags.contains(.peerHasEnded) { try fail(.ended) }
        return nil
    }

    /// Both directions have ended: the next request, or the end.
    private mutating func conclude() {
        guard phase == .ended else { return }
        guard flags.contains(.keepsAlive) else { return close() }
        guard !outgoing.isUnderWay else { return }
        flags.formIntersection([.peerHasEnded])
        phase = .idle
    }

    /// There is no farewell: a client can only go.
    private mutating func fail(_ violation: HTTPViolation) throws(HTTPViolation) {
        close()
        throw violation
    }

    private mutating func close() {
        phase = .closed
        flags = []
        outgoing = HTTPOutgoingContent()
    }

    // MARK: The request

    /// Begins a request. `target` is a path with its query, or what else the method has (RFC 9112 section 3.2); `host` is the URI's host and port.
    /// `fields` are whole lines, `Name: value` and CRLF each, and none of those that the machine writes itself. An Upgrade among them asks for 101.
    public mutating func begin(
        _ method: HTTPMethod, target: Span<UInt8>, host: Span<UInt8>, fields: Span<UInt8> = Span(), content: HTTPContentLength = .none,
        into output: inout ByteBuffer
    ) throws(HTTPMisuse) {
        try begin(method: method.name.bytes, target: target, host: host, fields: fields, content: content, into: &output)
    }

    /// As `begin(_:)`, for a method that `HTTPMethod` does not list too.
    public mutating func begin(
        method: Span<UInt8>, target: Span<UInt8>, host: Span<UInt8>, fields: Span<UInt8> = Span(), content: HTTPContentLength = .none,
        into output: inout ByteBuffer
    ) throws(HTTPMisuse) {
        guard phase == .idle, !flags.contains(.peerHasEnded) else { throw .outOfTurn }
        guard HTTPWire.isToken(method) else { throw .methodInvalid }
        let known = HTTPMethod(name: method)
        guard Self.isTarget(target, of: known), HTTPWire.isAuthority(host) else { throw .targetInvalid }
        guard HTTPField.areLines(fields), !Self.has(fields, "host") else { throw .fieldsInvalid }
        if known == .connect, content != .none { throw .contentTooLong }
        flags = flags.intersection(.isLast)
        if known == .head { flags.insert(.isHEAD) }
        if known == .connect { flags.insert(.isCONNECT) }
        if Self.has(fields, "upgrade") { flags.insert(.asksUpgrade) }
        output.append(method)
        output.append(HTTPWire.blank)
        output.append(target)
        output.append(literal: " HTTP/1.1\r\nHost: ")
        output.append(host)
        output.append(HTTPWire.lineEnd)
        output.append(fields)
        beginContent(known, content, into: &output)
        switch (flags.contains(.isLast), flags.contains(.asksUpgrade)) {
        case (false, false): output.append(HTTPWire.lineEnd)
        case (true, false): output.append(literal: "Connection: close\r\n\r\n")
        case (false, true): output.append(literal: "Connection: Upgrade\r\n\r\n")
        case (true, true): output.append(literal: "Connection: close, Upgrade\r\n\r\n")
        }
        phase = .head
        scan = HTTPScan()
        informationCount = 0
    }

    private mutating func beginContent(_ method: HTTPMethod, _ content: HTTPContentLength, into output: inout ByteBuffer) {
        switch content {
        case .none:
            // RFC 9110 section 8.6: where content is expected, none is said.
            if method == .post || method == .put || method == .patch { HTTPOutgoingContent.appendLength(0, into: &output) }
            outgoing = HTTPOutgoingContent(.counted)
        case .exactly(let count):
            HTTPOutgoingContent.appendLength(count, into: &output)
            outgoing = HTTPOutgoingContent(.counted, count: count)
        case .unknown:
            output.append(literal: "Transfer-Encoding: chunked\r\n")
            outgoing = HTTPOutgoingContent(.chunked)
        }
    }

    private static func has(_ fields: Span<UInt8>, _ name: StaticString) -> Bool {
        var cursor = HTTPFieldCursor(fields)
        return cursor.find(name) != nil
    }

    /// RFC 9112 section 3.2: a path, a URI for a proxy, a host and port for CONNECT, an asterisk for OPTIONS.
    private static func isTarget(_ target: Span<UInt8>, of method: HTTPMethod) -> Bool {
        if method == .connect { return HTTPWire.isAuthority(target, needsPort: true) }
        guard target.count > 0 else { return false }
        for at in 0..<target.count where target[at] &- 0x21 >= 0x5E || target[at] == UInt8(ascii: "#") { return false }
        if target[0] == UInt8(ascii: "/") { return true }
        if target.count == 1, target[0] == UInt8(ascii: "*") { return method == .options }
        return target.count > 7 && HTTPWire.equals(target.at(ByteRange(0, 7)), StaticString("http://").bytes)
            || target.count > 8 && HTTPWire.equals(target.at(ByteRange(0, 8)), StaticString("https://").bytes)
    }

    /// Some of the request's content.
    public mutating func append(_ content: Span<UInt8>, into output: inout ByteBuffer) throws(HTTPMisuse) { try outgoing.append(content, into: &output) }

    /// The request is whole. Trailers are field lines, written behind chunks and left out otherwise.
    public mutating func end(trailers: Span<UInt8> = Span(), into output: inout ByteBuffer) throws(HTTPMisuse) {
        try outgoing.end(trailers: trailers, into: &output)
        conclude()
    }

    /// A request that is on its way already, as `begin` and `end` write it: its response comes next. For who sends the same bytes again and again, also
    /// several requests before the first response. Without Upgrade, and not CONNECT.
    public mutating func expectResponse(to method: HTTPMethod) throws(HTTPMisuse) {
        guard phase == .idle, method != .connect else { throw .outOfTurn }
        flags.formIntersection([.isLast, .peerHasEnded])
        if method == .head { flags.insert(.isHEAD) }
        outgoing = HTTPOutgoingContent()
        phase = .head
        scan = HTTPScan()
    }

    /// The next request, or the one that has begun, is the last on this connection; one that begins says so.
    public mutating func sendNoMore() {
        flags.insert(.isLast)
        flags.remove(.keepsAlive)
    }

    public mutating func send(_ message: HTTPClientOutgoing, into output: inout ByteBuffer) throws(HTTPMisuse) {
        switch message {
        case .begin(let method, let target, let host, let fields, let content):
            try begin(method: method.span, target: target.span, host: host.span, fields: fields.span, content: content, into: &output)
        case .append(let content): try append(content.span, into: &output)
        case .end(let trailers): try end(trailers: trailers.span, into: &output)
        }
    }

    // MARK: Time

    public mutating func wake(at now: Instant, into output: inout ByteBuffer) throws(HTTPViolation) {
        self.now = now
        guard now >= deadline else { return }
        try fail(phase == .body ? .bodyTooSlow : .headTimedOut)
    }

    /// This side did not read for a while, by its own will: what the server did not bring meanwhile is not held against it.
    public mutating func excuse(at now: Instant) {
        self.now = now
        guard phase == .body, bounds.bodyRateMin > 0 else { return }
        since = Instant(nanoseconds: now.nanoseconds &- HTTPBounds.nanoseconds(for: incoming.received, rate: bounds.bodyRateMin))
    }

    /// The server will send no more. In the middle of a response that breaks it, unless its content ends that way: then `.end` is the next event.
    public mutating func receiveEnd(at now: Instant, into output: inout ByteBuffer) throws(HTTPViolation) {
        self.now = now
        flags.insert(.peerHasEnded)
        switch phase {
        case .idle: close()
        case .head: try fail(flags.contains(.isHungry) ? .ended : .endedUnanswered)
        case .body: if flags.contains(.isHungry), incoming.framing != .untilEnd { try fail(.ended) }
        case .ended, .tunnel, .closed: break
        }
    }

    /// When the head's time is over, or the content's average falls below the rate. None while no byte of a response has come.
    public var deadline: Instant {
        switch phase {
        case .head where flags.contains(.isHungry): return Instant(nanoseconds: since.nanoseconds &+ Int64(bounds.headTimeout) &* 1_000_000)
        case .body where bounds.bodyRateMin > 0 && !incoming.isComplete:
            let brought = HTTPBounds.nanoseconds(for: incoming.received, rate: bounds.bodyRateMin)
            return Instant(nanoseconds: since.nanoseconds &+ Int64(bounds.bodyRateGrace) &* 1_000_000 &+ brought)
        default: return .never
        }
    }
}
