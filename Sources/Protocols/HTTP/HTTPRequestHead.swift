public import MartletBytes

/// A request without its content. Ranges speak of the machine's input.
public struct HTTPRequestHead: Equatable, Sendable, BitwiseCopyable {
    public internal(set) var methodName = ByteRange.empty
    /// As it was sent (RFC 9112 section 3.2).
    public internal(set) var target = ByteRange.empty
    /// The target's path, still percent-encoded: empty stands for `/`, or for the whole server in `OPTIONS`; of `*` and of CONNECT's target there is none.
    public internal(set) var path = ByteRange.empty
    /// Behind the target's `?`.
    public internal(set) var query = ByteRange.empty
    /// Host and port as the request says them, in the target or in Host; empty in HTTP/1.0 without Host.
    public internal(set) var host = ByteRange.empty
    /// All field lines as they were sent, without the empty line; `HTTPFieldCursor` walks them.
    public internal(set) var fields = ByteRange.empty
    /// Bytes of content; 0 also where nobody knows yet (`isChunked`).
    public internal(set) var contentLength: UInt64 = 0
    public internal(set) var method = HTTPMethod.other
    /// 1 for HTTP/1.1 and later minor versions, 0 for HTTP/1.0.
    public internal(set) var minorVersion: UInt8 = 1
    /// The client wants to go on with this connection (RFC 9112 section 9.3).
    public internal(set) var keepAlive = false
    /// Content will come, or may.
    public internal(set) var hasBody = false
    public internal(set) var isChunked = false
    /// The client waits for `inform(100)` before it sends the content (RFC 9110 section 10.1.1).
    public internal(set) var expectsContinue = false
    /// Upgrade names protocols to go on with (RFC 9110 section 7.8).
    public internal(set) var wantsUpgrade = false

    init() {}

    public struct Owned: Equatable, Sendable {
        public var method: [UInt8]
        public var target: [UInt8]
        public var path: [UInt8]
        public var query: [UInt8]
        public var host: [UInt8]
        public var fields: [UInt8]
        public var contentLength: UInt64
        public var minorVersion: UInt8
        public var keepAlive: Bool
        public var hasBody: Bool
        public var isChunked: Bool
        public var expectsContinue: Bool
        public var wantsUpgrade: Bool
    }

    public func owned(in bytes: Span<UInt8>) -> Owned {
        Owned(
            method: bytes.at(methodName).array, target: bytes.at(target).array, path: bytes.at(path).array, query: bytes.at(query).array,
            host: bytes.at(host).array, fields: bytes.at(fields).array, contentLength: contentLength, minorVersion: minorVersion, keepAlive: keepAlive,
            hasBody: hasBody, isChunked: isChunked, expectsContinue: expectsContinue, wantsUpgrade: wantsUpgrade)
    }
}

extension HTTPRequestHead {
    /// The head that begins at `start`; `nil` when more bytes are needed. It ends two bytes behind its fields.
    @inline(__always)
    static func read(_ bytes: Span<UInt8>, from start: Int, _ bounds: HTTPBounds, _ scan: inout HTTPScan) throws(HTTPViolation) -> HTTPRequestHead? {
        var head = HTTPRequestHead()
        guard let lines = try head.readLine(bytes, from: start, bounds) else { return nil }
        scan.startLineEnds(at: lines &- start)
        var framing = HTTPFraming()
        guard let end = try framing.read(bytes, from: lines, .request, bounds) else { return nil }
        head.fields = ByteRange(lines, end &- 2 &- lines)
        try head.conclude(framing, bytes, bounds)
        return head
    }

    /// RFC 9112 section 3. Answers where the field lines begin.
    @inline(__always)
    private mutating func readLine(_ bytes: Span<UInt8>, from start: Int, _ bounds: HTTPBounds) throws(HTTPViolation) -> Int? {
        if bytes[start] == HTTPWire.carriageReturn, start &+ 1 == bytes.count { return nil }
        let first = start &+ HTTPScan.leadingLine(bytes, at: start)
        let limit = first &+ Int(bounds.startLineMax) &+ 2
        let bound = min(bytes.count, limit)
        var at = first
        var code: UInt64 = 0
        while at < bound, HTTPWire.isToken(bytes[at]) {
            code = code << 8 | UInt64(bytes[at])
            at &+= 1
        }
        guard at < bound else { return try Self.needMore(bound == limit) }
        guard bytes[at] == HTTPWire.blank, at > first else { throw Self.lineViolation(bytes[at], isFirst: at == first, .method) }
        methodName = ByteRange(first, at &- first)
        method = at &- first < 8 ? HTTPMethod(code: code) : .other

        let targetStart = at &+ 1
        var pathEnd = -1
        at = targetStart
        while at < bound {
            let byte = bytes[at]
            if byte &- 0x21 >= 0x5E || byte == UInt8(ascii: "#") { break }
            if byte == UInt8(ascii: "?"), pathEnd < 0 { pathEnd = at }
            at &+= 1
        }
        guard at < bound else { return try Self.needMore(bound == limit) }
        guard bytes[at] == HTTPWire.blank, at > targetStart else { throw Self.lineViolation(bytes[at], isFirst: at == targetStart, .target) }
        target = ByteRange(targetStart, at &- targetStart)
        path = ByteRange(targetStart, (pathEnd < 0 ? at : pathEnd) &- targetStart)
        if pathEnd >= 0 { query = ByteRange(pathEnd &+ 1, at &- pathEnd &- 1) }

        at &+= 1
        guard let end = try readVersion(bytes, at: at, bound) else { return try Self.needMore(bound == limit) }
        if bytes[targetStart] != UInt8(ascii: "/") || method == .connect { try readOtherForm(bytes) }
        return end
    }

    private static func needMore(_ isOver: Bool) throws(HTTPViolation) -> Int? {
        if isOver { throw .targetTooLong }
        return nil
    }

    private static func lineViolation(_ byte: UInt8, isFirst: Bool, _ part: HTTPViolation) -> HTTPViolation {
        switch byte {
        case HTTPWire.lineFeed: .bareLineFeed
        case HTTPWire.blank, HTTPWire.carriageReturn: .requestLine
        case UInt8(ascii: "#") where part == .target: .fragment
        default: part
        }
    }

    /// `HTTP/1.1` and the line's end; answers where the next line begins.
    @inline(__always)
    private mutating func readVersion(_ bytes: Span<UInt8>, at start: Int, _ bound: Int) throws(HTTPViolation) -> Int? {
        if start &+ 10 <= bound, bytes.word(at: start) == 0x312E_312F_5054_5448, bytes.uint16(at: start &+ 8) == HTTPWire.lineEnd { return start &+ 10 }
        guard let version = try HTTPVersion.read(bytes, at: start, bound, orElse: .requestLine) else { return nil }
        minorVersion = version
        guard start &+ 8 < bound else { return nil }
        guard bytes[start &+ 8] == HTTPWire.carriageReturn else { throw bytes[start &+ 8] == HTTPWire.lineFeed ? .bareLineFeed : .requestLine }
        guard start &+ 9 < bound else { return nil }
        guard bytes[start &+ 9] == HTTPWire.lineFeed else { throw .bareCarriageReturn }
        return start &+ 10
    }

    /// RFC 9112 sections 3.2.2 to 3.2.4: a URI, an authority or an asterisk instead of a path. `host` is then the target's.
    @inline(never)
    private mutating func readOtherForm(_ bytes: Span<UInt8>) throws(HTTPViolation) {
        let start = Int(target.start), end = target.end
        if method == .connect {
            guard HTTPWire.isAuthority(bytes.at(target), needsPort: true) else { throw .targetForm }
            host = target
            path = .empty
            query = .empty
            return
        }
        if target.count == 1, bytes[start] == UInt8(ascii: "*") {
            guard method == .options else { throw .targetForm }
            path = .empty
            return
        }
        let isPlain = target.count >= 7 && HTTPWire.equals(bytes.at(ByteRange(start, 7)), StaticString("http://").bytes)
        let isSecure = target.count >= 8 && HTTPWire.equals(bytes.at(ByteRange(start, 8)), StaticString("https://").bytes)
        guard isPlain || isSecure else { throw .targetForm }
        let authority = start + (isPlain ? 7 : 8)
        var at = authority
        while at < end, bytes[at] != UInt8(ascii: "/"), bytes[at] != UInt8(ascii: "?") { at += 1 }
        host = ByteRange(authority, at - authority)
        guard !host.isEmpty, HTTPWire.isAuthority(bytes.at(host)) else { throw .targetAuthority }
        path = ByteRange(at, path.end - at)
    }

    @inline(__always)
    private mutating func conclude(_ framing: HTTPFraming, _ bytes: Span<UInt8>, _ bounds: HTTPBounds) throws(HTTPViolation) {
        if framing.isChunked {
            if minorVersion == 0 { throw .transferEncodingInOldVersion }
            if framing.hasContentLength { throw .contentLengthAndTransferEncoding }
        }
        if !framing.hasHost, minorVersion > 0 { throw .hostMissing }
        if method == .connect, framing.isChunked || framing.hasContentLength { throw .connectContent }
        if host.isEmpty {
            host = framing.host
        } else if framing.hasHost, !HTTPWire.equals(bytes.at(host), bytes.at(framing.host)) {
            throw .hostDiffers
        }
        if framing.contentLength > bounds.bodyMax { throw .bodyTooLong }
        contentLength = framing.contentLength
        isChunked = framing.isChunked
        hasBody = isChunked || contentLength > 0
        keepAlive = !framing.closes && (minorVersion > 0 || framing.keepsAlive)
        guard minorVersion > 0 else { return }
        if framing.expectation == .unknown { throw .expectation }
        expectsContinue = framing.expectation == .goAhead && hasBody
        wantsUpgrade = framing.hasUpgrade && framing.namesUpgrade
    }
}

/// RFC 9112 section 2.3.
enum HTTPVersion {
    /// The minor version at `start`, at most 1; `nil` when more bytes are needed.
    static func read(_ bytes: Span<UInt8>, at start: Int, _ bound: Int, orElse malformed: HTTPViolation) throws(HTTPViolation) -> UInt8? {
        let name = StaticString("HTTP/").bytes
        for index in 0..<8 {
            guard start + index < bound else { return nil }
            let byte = bytes[start + index]
            switch index {
            case 0..<5: if byte != name[index] { throw byte == HTTPWire.lineFeed ? .bareLineFeed : malformed }
            case 6: if byte != UInt8(ascii: ".") { throw byte == HTTPWire.lineFeed ? .bareLineFeed : malformed }
            default: if !HTTPWire.isDigit(byte) { throw byte == HTTPWire.lineFeed ? .bareLineFeed : malformed }
            }
        }
        if bytes[start + 5] != UInt8(ascii: "1") { throw .version }
        return bytes[start + 7] == UInt8(ascii: "0") ? 0 : 1
    }
}
