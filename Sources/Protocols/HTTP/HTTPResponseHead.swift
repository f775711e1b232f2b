public import MartletBytes

/// A response without its content. Ranges speak of the machine's input.
public struct HTTPResponseHead: Equatable, Sendable, BitwiseCopyable {
    /// For people who read along; empty with some servers.
    public internal(set) var reason = ByteRange.empty
    /// All field lines as they were sent, without the empty line; `HTTPFieldCursor` walks them.
    public internal(set) var fields = ByteRange.empty
    /// What Content-Length says, also where no content comes (the answer to HEAD, 304); `nil` without the field.
    public internal(set) var contentLength: UInt64?
    /// 100 to 999.
    public internal(set) var status: UInt16 = 0
    /// 1 for HTTP/1.1 and later minor versions, 0 for HTTP/1.0.
    public internal(set) var minorVersion: UInt8 = 1
    /// The connection may be used again when the exchange is over.
    public internal(set) var keepAlive = false
    /// Content will come, or may.
    public internal(set) var hasBody = false
    public internal(set) var isChunked = false

    init() {}

    public struct Owned: Equatable, Sendable {
        public var status: UInt16
        public var reason: [UInt8]
        public var fields: [UInt8]
        public var contentLength: UInt64?
        public var minorVersion: UInt8
        public var keepAlive: Bool
        public var hasBody: Bool
        public var isChunked: Bool
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        Owned(
            status: status, reason: bytes.at(reason).array, fields: bytes.at(fields).array, contentLength: contentLength, minorVersion: minorVersion,
            keepAlive: keepAlive, hasBody: hasBody, isChunked: isChunked)
    }
}

extension HTTPResponseHead {
    /// The head that begins at `start`; `nil` when more bytes are needed. It ends two bytes behind its fields. `isHEAD`: the answer to one.
    static func read(
        _ bytes: Span<UInt8>, from start: Int, isHEAD: Bool, _ bounds: HTTPBounds, _ scan: inout HTTPScan
    ) throws(HTTPViolation) -> HTTPResponseHead? {
        var head = HTTPResponseHead()
        guard let lines = try head.readLine(bytes, from: start, bounds) else { return nil }
        scan.startLineEnds(at: lines - start)
        var framing = HTTPFraming()
        guard let end = try framing.read(bytes, from: lines, .response, bounds) else { return nil }
        head.fields = ByteRange(lines, end - 2 - lines)
        try head.conclude(framing, isHEAD: isHEAD, bounds)
        return head
    }

    /// RFC 9112 section 4. Answers where the field lines begin.
    private mutating func readLine(_ bytes: Span<UInt8>, from start: Int, _ bounds: HTTPBounds) throws(HTTPViolation) -> Int? {
        let limit = start + Int(bounds.startLineMax) + 2
        let bound = min(bytes.count, limit)
        guard let version = try HTTPVersion.read(bytes, at: start, bound, orElse: .statusLine) else { return nil }
        minorVersion = version
        var at = start + 8
        guard at < bound else { return try Self.needMore(bound == limit) }
        guard bytes[at] == HTTPWire.blank else { throw bytes[at] == HTTPWire.lineFeed ? .bareLineFeed : .statusLine }
        at += 1
        for _ in 0..<3 {
            guard at < bound else { return try Self.needMore(bound == limit) }
            guard HTTPWire.isDigit(bytes[at]) else { throw bytes[at] == HTTPWire.lineFeed ? .bareLineFeed : .statusLine }
            status = status * 10 + UInt16(bytes[at] & 15)
            at += 1
        }
        guard status >= 100 else { throw .statusLine }
        guard at < bound else { return try Self.needMore(bound == limit) }
        // Some servers leave out the blank together with the reason.
        let reasonStart = bytes[at] == HTTPWire.blank ? at + 1 : at
        if reasonStart > at { at = HTTPWire.firstControl(in: bytes, from: reasonStart, to: bound) }
        guard at < bound else { return try Self.needMore(bound == limit) }
        guard bytes[at] == HTTPWire.carriageReturn else { throw bytes[at] == HTTPWire.lineFeed ? .bareLineFeed : .statusLine }
        guard at + 1 < bound else { return try Self.needMore(bound == limit) }
        guard bytes[at + 1] == HTTPWire.lineFeed else { throw .bareCarriageReturn }
        reason = ByteRange(reasonStart, at - reasonStart)
        return at + 2
    }

    private static func needMore(_ isOver: Bool) throws(HTTPViolation) -> Int? {
        if isOver { throw .statusLineTooLong }
        return nil
    }

    private mutating func conclude(_ framing: HTTPFraming, isHEAD: Bool, _ bounds: HTTPBounds) throws(HTTPViolation) {
        if framing.isChunked {
            if minorVersion == 0 { throw .transferEncodingInOldVersion }
            if framing.hasContentLength { throw .contentLengthAndTransferEncoding }
        }
        if framing.hasContentLength { contentLength = framing.contentLength }
        isChunked = framing.isChunked
        keepAlive = !framing.closes && (minorVersion > 0 || framing.keepsAlive)
        guard !isHEAD, !HTTPStatus.hasNoContent(status) else { return }
        if framing.contentLength > bounds.bodyMax { throw .bodyTooLong }
        hasBody = isChunked || contentLength != 0
        if hasBody, !isChunked, contentLength == nil { keepAlive = false }
    }
}
